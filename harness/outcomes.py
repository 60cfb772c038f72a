"""What becomes of a trial after an attempt: the retry policy as a table and the one function that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from db.records import Outcome, TrialState


@dataclass(frozen=True, slots=True)
class Rule:
    """Policy of one outcome. `retries` None: without limit. `backoff` seconds before the first retry, doubled for each further one."""

    retries: int | None
    final: TrialState
    backoff: float = 0.0


RULES: Mapping[Outcome, Rule] = {
    "ok": Rule(0, "done"),
    "error": Rule(1, "failed"),  # most errors repeat; one more attempt tells those that don't (a full disk, a race)
    "timeout": Rule(0, "failed"),  # it would take as long again; `assay retry --timeout 2x` is the remedy
    "oom": Rule(1, "failed", backoff=5.0),  # perhaps a neighbour took the memory
    "worker_lost": Rule(5, "quarantined", backoff=0.1),
    "infeasible": Rule(0, "failed"),
    "invalid": Rule(0, "failed"),  # it would happen again
    "cancelled": Rule(None, "pending"),
}

#: A trial that brings down this many different workers by its own doing is not given another.
KILLS_TO_QUARANTINE = 2

_LONGEST_BACKOFF = 60.0


@dataclass(slots=True)
class History:
    """What has happened to a trial so far: attempts by outcome, and the workers that died of it (see `CallEnded.external`)."""

    counts: dict[Outcome, int] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Decision:
    """The trial's next state; `delay` seconds before its next attempt when that is "pending"."""

    state: TrialState
    delay: float = 0.0


def decide(history: History, outcome: Outcome, worker: str = "", external: bool = False) -> Decision:
    """Add an attempt to `history` and say what becomes of the trial."""
    history.counts[outcome] = used = history.counts.get(outcome, 0) + 1
    rule = RULES[outcome]
    if outcome == "worker_lost" and not external:
        history.killed.add(worker)
        if len(history.killed) >= KILLS_TO_QUARANTINE:
            return Decision("quarantined")
    if rule.retries is not None and used > rule.retries:
        return Decision(rule.final)
    return Decision("pending", min(rule.backoff * 2.0 ** min(used - 1, 30), _LONGEST_BACKOFF))
