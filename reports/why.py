"""`assay why CELL-ID`: the number behind a cell, resolved from its id and the options that the report was narrowed with."""

from __future__ import annotations

import numpy as np

from db.ledger import Ledger
from reports.boards import Catalogue, Question, load_boards
from reports.document import Cell, Code, Column, Document, Facts, Row, Section, Table
from reports.errors import BadQuestion
from reports.provenance import Coordinates
from reports.questions import EVERYTHING, Filter
from reports.standings import POLICIES, POLICY_TEXT, Policy, Standing, reading
from reports.stats.distributions import Floats
from reports.stats.intervals import FREE, median_interval, t_interval

_PLACE = "family, task, task_version, task_params, method, method_version, method_params"
_MEASURED = f"SELECT DISTINCT {_PLACE}, metric FROM leaderboard"
#: Cells without any finite result, which may still show what a policy puts there.
_PLANNED = (
    f"SELECT DISTINCT {', '.join(f't.{name}' for name in _PLACE.split(', '))}, m.metric "
    "FROM trials t JOIN metrics m ON m.task = t.task WHERE m.curve IS NULL"
)


def find(ledger: Ledger, cell: str, only: Filter = EVERYTHING, policy: Policy = "drop") -> Coordinates:
    """The coordinates of the cell with that id (a unique beginning of six or more digits will do); raises BadQuestion otherwise."""
    wanted = cell.strip().lower()
    if len(wanted) < 6 or any(character not in "0123456789abcdef" for character in wanted):
        raise BadQuestion(f"{cell!r} is not a cell id: ids are twelve hexadecimal digits, shown when a cell of the HTML report is opened.")
    if policy not in POLICIES:
        raise BadQuestion(f"Unknown policy for missing results {policy!r}; choose one of {', '.join(POLICIES)}.")
    only.check(ledger)
    how = reading(policy, only)
    found: list[Coordinates] = []
    for sql in (_MEASURED, _PLANNED):
        found = found or [
            place for row in ledger.query(sql).to_pylist() if (place := Coordinates(**row, reading=how)).short_id().startswith(wanted)
        ]
    if len(found) > 1:
        raise BadQuestion(f"{len(found)} cells of this ledger have ids that begin with {wanted}: give more digits.")
    if not found:
        raise BadQuestion(
            f"No cell of this ledger{f' read with {how}' if how else ''} has the id {wanted}: is it from another ledger, or from a report "
            "with other --where, --tag, --since or --missing? Give the same options here."
        )
    return found[0]


def why(ledger: Ledger, cell: str, only: Filter = EVERYTHING, policy: Policy = "drop") -> Document:
    """What the cell is, the SQL that selects its values, and the values with their trials.

    `only` and `policy` are those of the report or leaderboard that printed the cell: the mean here is the one printed there.
    """
    place = find(ledger, cell, only, policy)
    sql = place.sql(only.literal_sql())
    rows = ledger.query(sql).to_pylist()
    declared = Catalogue.read(ledger, place.family).metrics.get(place.task, {}).get(place.metric)
    values = np.array([np.nan if row["value"] is None else row["value"] for row in rows], dtype=np.float64)
    facts = [
        ("task", f"{place.task} version {place.task_version} {place.task_params}"),
        ("method", f"{place.method} version {place.method_version} {place.method_params}"),
        ("metric", place.metric),
        *([("only", only.text)] if only else []),
    ]
    if policy != "drop":
        found = int(np.isfinite(values).sum())
        values = _filled(ledger, place, only, policy)
        facts.append(("missing", f"{len(values) - found} of {len(values)} seeds, policy {policy!r}: {POLICY_TEXT[policy]}"))
    estimate = t_interval(values, bounds=declared.bounds if declared else FREE)
    interval = "no interval" if np.isnan(estimate.low) else f"95 % interval [{estimate.low:.6g}, {estimate.high:.6g}]"
    seeds = f"{estimate.n} seed{'' if estimate.n == 1 else 's'}"
    facts.append(("mean", "none" if np.isnan(estimate.value) else f"{estimate.value:.6g}, {interval}, {seeds} ({estimate.method})"))
    finite = values[~np.isnan(values)]
    if len(finite):
        middle = median_interval(finite)
        ends = "no interval below six seeds" if np.isnan(middle.low) else f"95 % interval [{middle.low:.6g}, {middle.high:.6g}]"
        facts += [("median", f"{middle.value:.6g}, {ends}"), ("range", f"{finite.min():.6g} to {finite.max():.6g}")]
    table = Table(
        "values",
        "Values",
        (Column("seed", "seed", "right"), Column("value", place.metric, "right"), Column("trial", "trial")),
        tuple(
            Row(
                (
                    Cell(str(row["seed"]), row["seed"]),
                    Cell(f"{row['value']:.10g}" if row["kind"] == "finite" else row["kind"], row["value"]),
                    Cell(row["trial"]),
                ),
                (row["trial"],),
            )
            for row in rows
        ),
        ("`assay show TRIAL` prints everything about a trial, `assay reproduce TRIAL` runs it again.",),
    )
    return Document(f"Cell {place.short_id()}", (Section(place.metric, "why", (Facts(tuple(facts)), Code(sql, "SQL"), table)),))


def _filled(ledger: Ledger, place: Coordinates, only: Filter, policy: Policy) -> Floats:
    """The values over all seeds of the cell's board, with what the policy puts where a result is missing."""
    for old in (False, True):
        for board in load_boards(ledger, Question(place.family, place.task, only, old)):
            for at in range(len(board.entries)):
                if place.metric in board.metrics and board.coordinates(at, place.metric).sql() == place.sql():
                    return np.asarray(Standing(board, board.metrics[place.metric], policy).filled(place.metric)[at], dtype=np.float64)
    raise BadQuestion(f"No board narrowed like that holds {place.method} on {place.task}.")
