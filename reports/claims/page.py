"""Verdicts as documents: the table of a family, and the full explanation of one claim."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from db.ledger import Ledger
from reports.anchors import anchor
from reports.claims.verdicts import Decision
from reports.document import Block, Cell, Code, Column, Document, Facts, Row, Section, Table, Text, Tone
from reports.errors import BadQuestion
from reports.numbers import formatter, p_text, p_value
from reports.provenance import literal
from reports.stats.caveats import few_pairs, few_t

TONES: Mapping[str, Tone] = {
    "supported": "good",
    "refuted": "bad",
    "not reproduced here": "bad",
    "inconclusive": "warn",
    "not testable here": "muted",
    "not attempted": "muted",
}

_HEADS = (
    Column("claim", "claim", spare=0),
    Column("paper", "paper", "right", doc="Number in the list of papers (assay papers).", spare=4),
    Column("statement", "statement", wrap=True),
    Column(
        "verdict",
        "verdict",
        doc="Supporting asks for 5 % one-sided evidence, refuting for 1 %, both after correction and with sign flips.",
        spare=0,
    ),
    Column("effect", "effect", "right", doc="In the claim's own terms: difference A - B, ratio A / B, slope or value.", spare=0),
    Column("interval", "95 % interval", "right", spare=2),
    Column("n", "n", "right", doc="Seeds with a finite result of every arm.", spare=4),
    Column(
        "p",
        "p",
        "right",
        doc="One-sided, corrected over the family's claims (Holm); of support, or of refutation where refuted.",
        spare=3,
    ),
    Column("test", "test", wrap=True, doc="What was tested, over how many seeds.", spare=6),
    Column("why", "why", wrap=True, spare=5),
)


def verdict_table(decisions: Sequence[Decision], ident: str = "claims", caption: str = "Claims", linked: Collection[str] = ()) -> Table:
    """One row per claim, those decided first and those nobody has tried folded; those in `linked` have an explanation in the document."""
    rows = []
    ordered = sorted(decisions, key=lambda one: list(TONES).index(one.status))
    for one in ordered:
        claim, outcome = one.definition, one.outcome
        interval, effect, p = Cell("–"), Cell("–"), Cell("–")
        if outcome is not None:
            low, high = _value(outcome.low), _value(outcome.high)
            effect = Cell(_text(outcome.effect), _value(outcome.effect), low, high)
            interval = Cell(f"[{_text(outcome.low)}, {_text(outcome.high)}]", None if low is None or high is None else high - low)
            level = one.p_refute if one.verdict == "refuted" else one.p_support
            if "violations" in outcome.detail:
                level = math.nan  # a check of every seed, not a test
            p = Cell(p_value(level), _value(level), note=outcome.test)
        label = one.status + (" (control)" if claim.control else "")
        tone = TONES[one.status]
        if claim.control:
            tone = "bad" if one.surprising else "plain"
        rows.append(
            Row(
                (
                    Cell(claim.id, claim.id, href=f"#{anchor('claim', claim.id)}" if claim.id in linked else ""),
                    Cell(str(claim.paper), claim.paper, tone="muted"),
                    Cell(claim.statement, claim.statement),
                    Cell(label, label, tone=tone),
                    effect,
                    interval,
                    Cell(str(outcome.n) if outcome else "–", outcome.n if outcome else None, tone="muted"),
                    p,
                    Cell("–" if outcome is None else outcome.test, None if outcome is None else outcome.test, tone="muted"),
                    Cell(" ".join([one.reason, *(edit.text for edit in one.edits if edit.deviation)]), tone="muted"),
                ),
                one.trials,
            )
        )
    counts = {status: sum(one.status == status for one in decisions) for status in TONES}
    notes = [", ".join(f"{count} {status}" for status, count in counts.items() if count) + "."]
    if any(one.definition.control for one in decisions):
        notes.append("A control is a statement expected not to hold; a supported control casts doubt on the task.")
    if deviating := sum(any(edit.deviation for edit in one.edits) for one in decisions):
        notes.append(f"Edited after results of their task were there: {deviating} (Deviation, in the column why).")
    if few := _few_seeds(decisions):
        notes.append(few)
    idle = counts["not attempted"]
    folded = f"{idle} claims are not attempted" if idle > 1 else "1 claim is not attempted" if idle else ""
    return Table(ident, caption, _HEADS, tuple(rows), tuple(notes), folded=folded, unfolded=len(rows) - idle)


def _few_seeds(decisions: Sequence[Decision]) -> str:
    """What the sign flips behind the verdicts with the fewest seeds can reach at all."""
    sizes = [one.outcome.n for one in decisions if one.outcome is not None]
    return few_pairs(min(sizes)) if sizes else ""


def claims_document(family: str, decisions: Sequence[Decision]) -> Document:
    """The verdicts of a family."""
    return Document(f"Claims: {family}", (Section(family, "claims", (verdict_table(decisions, caption=family),)),))


def explanation(decision: Decision, paper: str = "") -> Section:
    """Everything behind one verdict: statement, arms, test, numbers, notes, SQL and trials."""
    claim, outcome = decision.definition, decision.outcome
    source = f"{claim.paper}{f', {paper}' if paper else ''}"
    facts = [
        ("verdict", decision.status + (" (negative control)" if claim.control else "")),
        ("paper", source),
        ("kind", f"{claim.kind}, {claim.effect}, margin {claim.margin:g}, at least {claim.min_seeds} seeds"),
        ("metric", claim.metric),
        ("task", claim.protocol),
        *([("the paper", claim.setting)] if claim.setting else []),
        *((name, arm.text) for name, arm in zip(_names(len(claim.arms)), claim.arms, strict=True)),
    ]
    if outcome is not None:
        facts += [
            ("test", outcome.test),
            ("effect", f"{_text(outcome.effect)}, 95 % interval [{_text(outcome.low)}, {_text(outcome.high)}]"),
        ]
    if outcome is not None and "violations" not in outcome.detail:
        facts += [
            (
                "in favour",
                f"{p_text(outcome.p_support)} (sign flips {p_text(outcome.robust_support)}), corrected {p_text(decision.p_support)}",
            ),
            ("against", f"{p_text(outcome.p_refute)} (sign flips {p_text(outcome.robust_refute)}), corrected {p_text(decision.p_refute)}"),
        ]
        if caveat := " ".join(filter(None, (few_t(outcome.n), few_pairs(outcome.n)))):
            facts.append(("few seeds", caveat))
        detectable = outcome.detail.get("detectable")
        if isinstance(detectable, float) and math.isfinite(detectable):
            facts.append(("power", f"{outcome.n} seeds find an effect of {_text(detectable)} beyond the margin four times out of five"))
    if outcome is not None:
        shown = {name: value for name, value in outcome.detail.items() if name not in ("detectable", "sd", "margin")}
        facts += [(name.replace("_", " "), _plain(value)) for name, value in shown.items() if value is not None]
    facts += [("hash", claim.hash), ("trials", str(len(set(decision.trials))))]
    blocks: list[Block] = [Text(claim.statement), Facts(tuple(facts)), Text(decision.reason, TONES[decision.status])]
    blocks += [Text(note, "muted") for note in (*decision.notes, *([claim.note] if claim.note else []))]
    if decision.data:
        blocks.append(_data(decision))
    if decision.boards:
        blocks.append(Code(sql(decision), "SQL"))
    return Section(claim.id, anchor("claim", claim.id), tuple(blocks), kind="Claims")


def _data(decision: Decision) -> Table:
    """The numbers that were tested, one row per seed."""
    write = [formatter(values.values()) for _, values, _ in decision.data]
    heads = (Column("seed", "seed", "right"), *(Column(f"v{at}", name, "right") for at, (name, _, _) in enumerate(decision.data)))
    rows = []
    for seed in decision.data[0][1]:
        cells = [Cell(str(seed), seed)]
        cells += [Cell(one(values[seed]), values[seed]) for one, (_, values, _) in zip(write, decision.data, strict=True)]
        rows.append(Row(tuple(cells), tuple(dict.fromkeys(key for _, _, keys in decision.data for key in keys[seed].split()))))
    return Table(anchor("data", decision.definition.id), "Data", heads, tuple(rows))


def sql(decision: Decision) -> str:
    """The SELECT whose rows the verdict was made from."""
    claim = decision.definition
    methods = ", ".join(sorted({literal(arm.method) for arm in claim.arms}))
    metrics = [
        claim.metric,
        *(str(claim.options[name]) for name in ("quality", "x", "predicted") if isinstance(claim.options.get(name), str)),
    ]
    where = " OR ".join(f"({board})" for board in decision.boards)
    view, extra = ("curves", ", step") if claim.kind == "slope" and claim.options.get("x", "step") == "step" else ("scores", "")
    return (
        f"SELECT method, method_params, seed, metric{extra}, value, trial FROM {view} WHERE ({where}) AND method IN ({methods}) "
        f"AND metric IN ({', '.join(literal(name) for name in metrics)}) ORDER BY method, method_params, seed"
    )


def find(decisions: Sequence[Decision], claim: str) -> Decision:
    """The decision about that claim; raises BadQuestion naming the ones there are."""
    for one in decisions:
        if one.definition.id == claim:
            return one
    known = ", ".join(one.definition.id for one in decisions)
    raise BadQuestion(f"No claim is called {claim!r}; claims here: {known}.")


def paper_titles(ledger: Ledger) -> dict[int, str]:
    return {int(row["paper"]): str(row["title"]) for row in ledger.query("SELECT paper, title FROM papers").to_pylist()}


def _names(count: int) -> list[str]:
    return ["A", "B"][:count] if count <= 2 else [f"arm {at}" for at in range(1, count + 1)]


def _value(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "∞" if value == math.inf else "−∞" if value == -math.inf else f"{value:.4g}".replace("-", "−")


def _plain(value: object) -> str:
    if isinstance(value, float):
        return _text(value)
    if isinstance(value, list):
        return "; ".join(_plain(one) for one in value)
    if isinstance(value, dict):
        return " ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return str(value)
