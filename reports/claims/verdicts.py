"""Verdicts of a family: tests of all its claims, Holm's correction over them, and the words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from db.ledger import Ledger
from db.records import VerdictRow
from reports.boards import Question, load_boards
from reports.claims.definition import Definition, parse
from reports.claims.deviations import Edit, edits
from reports.claims.evidence import Material, Selection, Unusable, select
from reports.claims.kinds import KIND_TESTS, REFUTE_LEVEL, SUPPORT_LEVEL, noise_floor
from reports.claims.outcome import Outcome
from reports.curves import load_curves
from reports.errors import BadQuestion, ReportError
from reports.questions import EVERYTHING, Filter
from reports.stats.multiplicity import holm


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with everything behind it. `p_support` and `p_refute` are corrected over the claims of the family."""

    definition: Definition
    verdict: str
    reason: str
    outcome: Outcome | None = None
    p_support: float = math.nan
    p_refute: float = math.nan
    trials: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()  #: SQL conditions of the boards used
    extra: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[tuple[str, Mapping[int, float], Mapping[int, str]], ...] = ()  #: name, value and trials per seed

    edits: tuple[Edit, ...] = ()

    @property
    def surprising(self) -> bool:
        """A negative control that was supported."""
        return self.definition.control and self.verdict == "supported"

    @property
    def status(self) -> str:
        """The verdict as people read it: "not testable here" says that no run could decide the claim, "not reproduced here" that the
        evidence is against it under a protocol that its declaration calls another one than the paper's."""
        if self.verdict == "not attempted" and self.definition.not_testable:
            return "not testable here"
        return "not reproduced here" if self.verdict == "refuted" and self.definition.setting else self.verdict

    def row(self) -> VerdictRow:
        """The verdict as the ledger keeps it."""
        one = self.outcome
        p = None if one is None else self.p_support if self.verdict != "refuted" else self.p_refute
        detail = {
            "status": self.status,
            "reason": self.reason,
            "notes": list(self.notes),
            **dict(self.extra),
            **(dict(one.detail) if one else {}),
        }
        if one is not None:
            detail |= {
                "p_support": one.p_support,
                "p_refute": one.p_refute,
                "p_support_holm": self.p_support,
                "p_refute_holm": self.p_refute,
            }
            detail |= {"p_support_sign_flip": one.robust_support, "p_refute_sign_flip": one.robust_refute}
        return VerdictRow(
            self.definition.id,
            self.definition.hash,
            self.verdict,
            _number(one.effect) if one else None,
            _number(one.low) if one else None,
            _number(one.high) if one else None,
            one.n if one else 0,
            None if p is None or math.isnan(p) else p,
            one.test if one else "none",
            {name: _clean(value) for name, value in detail.items()},
            sorted(set(self.trials)),
        )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _clean(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _clean(one) for name, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value


def decide(ledger: Ledger, family: str, only: Filter = EVERYTHING) -> list[Decision]:
    """Decisions on every claim of the family, in order of paper and id, from the results that pass the filter.

    Raises BadQuestion when the ledger knows no claim of the family.
    """
    rows = ledger.query(
        "SELECT claim, paper, family, statement, definition, hash FROM claims WHERE family = :family ORDER BY paper, claim",
        {"family": family},
    ).to_pylist()
    if not rows:
        known = ledger.query("SELECT DISTINCT family FROM claims ORDER BY family").column(0).to_pylist()
        held = ", ".join(known) if known else "none yet (a run writes its families' claims)"
        raise BadQuestion(f"The ledger knows no claims of a family {family!r}; families with claims: {held}.")
    definitions = [parse(row) for row in rows]
    material = gather(ledger, family, definitions, only)
    tested = [_test(definition, material) for definition in definitions]
    support = holm(np.array([one.p_support if one else np.nan for _, _, one, _, _ in tested]))
    refute = holm(np.array([one.p_refute if one else np.nan for _, _, one, _, _ in tested]))
    count = int((~np.isnan(support)).sum())
    edited = edits(ledger, family)
    return [_decision(*entry, float(support[at]), float(refute[at]), count, edited.get(entry[0].id, [])) for at, entry in enumerate(tested)]


def gather(ledger: Ledger, family: str, definitions: Sequence[Definition], only: Filter = EVERYTHING) -> Material:
    """Boards, curves and defaults that the claims need. A family without trials that pass the filter gives empty boards."""
    only.check(ledger)
    boards: dict[str, Any] = {}
    try:
        for board in load_boards(ledger, Question(family, only=only)):
            boards.setdefault(board.task, []).append(board)
    except ReportError:
        if only.where:
            raise
        boards = {}
    wanted = sorted({one.metric for one in definitions if one.kind == "slope" and one.options.get("x", "step") == "step"})
    everything = [board for group in boards.values() for board in group]
    curves = load_curves(ledger, everything, wanted) if wanted and everything else {}
    defaults: dict[str, dict[str, Any]] = {}
    for view, name in (("methods", "method"), ("tasks", "task")):
        for row in ledger.query(f"SELECT {name} AS id, params_schema FROM {view} WHERE family = :family", {"family": family}).to_pylist():
            properties = json.loads(row["params_schema"] or "{}").get("properties", {})
            defaults[row["id"]] = {key: one["default"] for key, one in properties.items() if isinstance(one, dict) and "default" in one}
    return Material(boards, curves, defaults)


def _test(definition: Definition, material: Material) -> tuple[Definition, Selection | None, Outcome | None, str, bool]:
    try:
        selection = select(definition, material)
    except Unusable as reason:
        return definition, None, None, str(reason), reason.attempted
    try:
        outcome = KIND_TESTS[definition.kind](selection)
        stop = noise_floor(selection, definition.arms)
    except Unusable as reason:
        return definition, selection, None, str(reason), reason.attempted
    except KeyError as missing:
        raise ReportError(
            f"Claim {definition.id} of kind {definition.kind!r} lacks the option {missing}; add it to its declaration."
        ) from missing
    return definition, selection, outcome, stop, True


def _decision(
    definition: Definition,
    selection: Selection | None,
    outcome: Outcome | None,
    stop: str,
    attempted: bool,
    support: float,
    refute: float,
    count: int,
    edited: list[Edit],
) -> Decision:
    notes = [*(selection.notes if selection else [])]
    boards = tuple(board.where() for board in selection.boards) if selection else ()
    extra: dict[str, Any] = {"family_size": count, "control": definition.control}
    if edited:
        notes += [one.text for one in edited]
        extra["edited"] = [{"day": one.day, "changed": one.changed, "trials_before": one.trials_before} for one in edited]
    trials = tuple(selection.trials) if selection else ()
    if outcome is None:
        return Decision(
            definition,
            "inconclusive" if attempted else "not attempted",
            stop,
            None,
            trials=trials,
            notes=tuple(notes),
            extra=extra,
            edits=tuple(edited),
        )
    verdict, reason = words(definition, outcome, support, refute, stop)
    return Decision(
        definition,
        verdict,
        reason,
        outcome,
        support,
        refute,
        trials,
        tuple(notes),
        boards,
        extra,
        tuple(selection.data) if selection else (),
        tuple(edited),
    )


def words(definition: Definition, outcome: Outcome, support: float, refute: float, stop: str = "") -> tuple[str, str]:
    """The verdict and one sentence why."""
    violations = outcome.detail.get("violations")
    if outcome.n < definition.min_seeds and not violations:
        return "inconclusive", f"{outcome.n} seeds; the claim asks for at least {definition.min_seeds}."
    if stop:
        return "inconclusive", stop
    if violations is not None:
        if violations:
            return "refuted", f"{violations} of {outcome.n} seeds violate it, under {definition.protocol}; no test is needed."
        return "supported", f"All {outcome.n} seeds satisfy it; a statement about every seed has no test."
    if support <= SUPPORT_LEVEL and outcome.robust_support <= SUPPORT_LEVEL:
        return "supported", f"The evidence for it passes {SUPPORT_LEVEL:.0%} after correction (p = {support:.2g})."
    if refute <= REFUTE_LEVEL and outcome.robust_refute <= SUPPORT_LEVEL:
        return (
            "refuted",
            f"The evidence against it passes {REFUTE_LEVEL:.0%} after correction (p = {refute:.2g}), under {definition.protocol}, "
            f"{outcome.n} seeds{f'; the paper: {definition.setting}' if definition.setting else ''}.",
        )
    if support <= SUPPORT_LEVEL or refute <= REFUTE_LEVEL:
        way, p, flips = ("for", support, outcome.robust_support) if support <= SUPPORT_LEVEL else ("against", refute, outcome.robust_refute)
        return "inconclusive", (
            f"The t test alone decides {way} it after correction (p = {p:.2g}); sign flips, which must agree at {SUPPORT_LEVEL:.0%}, "
            f"give p = {flips:.2g} with {outcome.n} seeds."
        )
    needed = outcome.detail.get("seeds_needed")
    if outcome.p_support <= SUPPORT_LEVEL < support:
        return (
            "inconclusive",
            f"In favour (p = {outcome.p_support:.2g}), but not after correction over the family's claims (p = {support:.2g}).",
        )
    more = f"; about {needed} seeds would show the effect seen with power .8" if needed and needed > outcome.n else ""
    return "inconclusive", f"Neither supported (p = {support:.2g}) nor refuted (p = {refute:.2g}) after correction{more}."


def families_with_claims(ledger: Ledger) -> list[str]:
    return [str(name) for name in ledger.query("SELECT DISTINCT family FROM claims ORDER BY family").column(0).to_pylist()]
