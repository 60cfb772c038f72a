"""What the test of one claim found, before the correction for asking many claims at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reports.stats.distributions import Floats
from reports.stats.paired import paired_t, sign_flip
from reports.stats.power import detectable_effect, seeds_needed


@dataclass(frozen=True, slots=True)
class Outcome:
    """`p_support`: chance of data this favourable if the claim just fails; `p_refute`: of data this unfavourable if it just holds.

    `robust_support`/`robust_refute`: the same by sign flips, which assume only symmetry; a verdict needs both to agree.
    """

    test: str
    effect: float
    low: float
    high: float
    n: int
    p_support: float
    p_refute: float
    robust_support: float
    robust_refute: float
    detail: Mapping[str, Any] = field(default_factory=dict)
    stop: str = ""  #: a reason for "inconclusive" whatever the p-values say


def one_sided(d: Floats, test: str, *, effect: float, low: float, high: float, level: float, detail: Mapping[str, Any]) -> Outcome:
    """Outcome of "mean(d) > 0" with d in units where positive means that the claim holds; effect and interval as people read them."""
    support, refute = paired_t(d, alternative="greater"), paired_t(d, alternative="less")
    return Outcome(
        test,
        effect,
        low,
        high,
        len(d),
        support.p,
        refute.p,
        sign_flip(d, alternative="greater").p,
        sign_flip(d, alternative="less").p,
        {**detail, **sensitivity(d, level)},
    )


def sensitivity(d: Floats, level: float) -> dict[str, Any]:
    """Power of the one-sided test: what it could have found, and the seeds that the effect seen would need."""
    if len(d) < 2:
        return {}
    sd = float(np.std(d, ddof=1))
    found: dict[str, Any] = {"detectable": detectable_effect(sd, len(d), level, sides=1), "sd": sd}
    mean = float(np.mean(d))
    if mean > 0 and (needed := seeds_needed(mean, sd, level, sides=1)):
        found["seeds_needed"] = needed
    return found


def combined(outcomes: list[Outcome], test: str, effect: Outcome, detail: Mapping[str, Any]) -> Outcome:
    """Several statements that must all hold (intersection-union): supported by the weakest, refuted by the worst (Bonferroni)."""
    count = len(outcomes)
    return Outcome(
        test,
        effect.effect,
        effect.low,
        effect.high,
        min(one.n for one in outcomes),
        max(one.p_support for one in outcomes),
        min(1.0, count * min(one.p_refute for one in outcomes)),
        max(one.robust_support for one in outcomes),
        min(1.0, count * min(one.robust_refute for one in outcomes)),
        detail,
    )
