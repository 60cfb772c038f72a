"""`assay why CELL-ID`: the number behind a cell, resolved from its id alone."""

from __future__ import annotations

import numpy as np

from db.ledger import Ledger
from reports.boards import Catalogue
from reports.document import Cell, Code, Column, Document, Facts, Row, Section, Table
from reports.errors import BadQuestion
from reports.numbers import formatter
from reports.provenance import Coordinates
from reports.stats.intervals import FREE, median_interval, t_interval


def find(ledger: Ledger, cell: str) -> Coordinates:
    """The coordinates of the cell with that id (a unique beginning of six or more digits will do); raises BadQuestion otherwise."""
    wanted = cell.strip().lower()
    if len(wanted) < 6 or any(character not in "0123456789abcdef" for character in wanted):
        raise BadQuestion(f"{cell!r} is not a cell id: ids are twelve hexadecimal digits, shown when a cell of the HTML report is opened.")
    rows = ledger.query(
        "SELECT DISTINCT family, task, task_version, task_params, method, method_version, method_params, metric FROM leaderboard"
    ).to_pylist()
    found = [place for row in rows if (place := Coordinates(**row)).short_id().startswith(wanted)]
    if len(found) != 1:
        how = "No cell of this ledger has" if not found else f"{len(found)} cells of this ledger have"
        raise BadQuestion(f"{how} the id {wanted}: is it from a report on another ledger?")
    return found[0]


def why(ledger: Ledger, cell: str) -> Document:
    """What the cell is, the SQL that selects its values, and the values with their trials."""
    place = find(ledger, cell)
    rows = ledger.query(place.sql()).to_pylist()
    declared = Catalogue.read(ledger, place.family).metrics.get(place.task, {}).get(place.metric)
    values = np.array([np.nan if row["value"] is None else row["value"] for row in rows], dtype=np.float64)
    estimate = t_interval(values, bounds=declared.bounds if declared else FREE)
    write = formatter([row["value"] for row in rows])
    facts: tuple[tuple[str, str], ...] = (
        ("task", f"{place.task} version {place.task_version} {place.task_params}"),
        ("method", f"{place.method} version {place.method_version} {place.method_params}"),
        ("metric", place.metric),
        ("mean", f"{estimate.value:.6g}, 95 % interval [{estimate.low:.6g}, {estimate.high:.6g}], {estimate.n} seeds ({estimate.method})"),
    )
    finite = values[~np.isnan(values)]
    if len(finite):
        middle = median_interval(finite)
        ends = "no interval below six seeds" if np.isnan(middle.low) else f"95 % interval [{middle.low:.6g}, {middle.high:.6g}]"
        facts += (("median", f"{middle.value:.6g}, {ends}"), ("range", f"{finite.min():.6g} to {finite.max():.6g}"))
    table = Table(
        "values",
        "Values",
        (Column("seed", "seed", "right"), Column("value", place.metric, "right"), Column("trial", "trial")),
        tuple(
            Row(
                (
                    Cell(str(row["seed"]), row["seed"]),
                    Cell(write(row["value"]) if row["kind"] == "finite" else row["kind"], row["value"]),
                    Cell(row["trial"]),
                ),
                (row["trial"],),
            )
            for row in rows
        ),
        ("`assay show TRIAL` prints everything about a trial, `assay reproduce TRIAL` runs it again.",),
    )
    return Document(f"Cell {place.short_id()}", (Section(place.metric, "why", (Facts(facts), Code(place.sql(), "SQL"), table)),))
