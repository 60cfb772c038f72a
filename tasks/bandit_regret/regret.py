"""What every regret task measures, and how a finished play becomes measurements."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping

import numpy as np

from tasks.api import Measured, Method, Metric
from tasks.bandit_regret.referee import Play

REGRET_METRICS = (
    Metric(
        "regret",
        "reward",
        "lower",
        "pseudo-regret after the last round: sum of best mean minus mean of the arm played",
        primary=True,
        low=0.0,
    ),
    Metric("last_decade_growth", "reward", "lower", "regret of rounds T/10+1 to T; 0 where regret has stopped growing", low=0.0),
    Metric("last_tenth_regret", "reward", "lower", "regret of the last T/10 rounds", low=0.0),
    Metric(
        "selected_fraction",
        "fraction",
        "none",
        "rounds whose reward entered an estimate, over T; as the policy counts, NaN where it doesn't say",
        low=0.0,
        high=1.0,
        finite=False,
    ),
    Metric("regret_curve", "reward", "lower", "pseudo-regret after this round", curve="round", low=0.0),
)


def told(method: Method, facts: Mapping[str, float]) -> dict[str, float]:
    """The facts that the method's `knowledge` declares; anything else stays unknown to it."""
    return {name: float(facts[name]) for name in method.knowledge if name in facts}


def digest(text: str) -> str:
    """Fingerprint of a generator, by its name and version."""
    return hashlib.sha256(text.encode()).hexdigest()


def measured(rounds: np.ndarray, run: Callable[[], Play]) -> Measured:
    """Run a play and turn its curve into measurements; CPU time per round goes to the note, since no two runs agree on it."""
    start = time.thread_time_ns()
    result = run()
    elapsed = time.thread_time_ns() - start
    curve, horizon = result.curve, int(rounds[-1])
    at = {int(t): float(value) for t, value in zip(rounds, curve, strict=True)}
    metrics = {
        "regret": at[horizon],
        "last_decade_growth": at[horizon] - at[horizon // 10],
        "last_tenth_regret": at[horizon] - at[horizon - horizon // 10],
        "selected_fraction": math.nan if result.used is None else result.used / horizon,
    }
    info = {"ns_per_round": round(elapsed / horizon), "played": "round by round" if result.trace.size else "compiled"}
    return Measured(metrics, {"regret_curve": (rounds.tolist(), curve.tolist())}, info)
