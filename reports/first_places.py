"""Who shares the first place on each board, and which entries lie on its front."""

from __future__ import annotations

from collections.abc import Sequence

from reports.document import Cell, Column, Row, Table
from reports.plots.build import undominated
from reports.plots.specs import FAMILY_PLOTS, TradeOff
from reports.standings import Standing


def first_places(standings: Sequence[Standing], ident: str = "leaders", caption: str = "First places") -> Table:
    """One row per board; `ident` is the table's in the document. The column of fronts is left out where no board has one."""
    heads: tuple[Column, ...] = (
        Column("task", "task"),
        Column("metric", "ranked by"),
        Column("first", "first place", doc="Methods that can't be told apart from the best mean.", wrap=True),
        Column("of", "of", "right", doc="Methods with a result."),
        Column(
            "front",
            "front",
            doc="Where entries also differ in another metric (size, clean accuracy): those that no other beats in the means of both.",
            wrap=True,
        ),
    )
    rows = []
    for ranked in standings:
        board = ranked.board
        trade = front(ranked)
        rows.append(
            Row(
                (
                    Cell(board.name, board.name, href=f"#board-{board.anchor}"),
                    Cell(f"{ranked.metric.id} {ranked.metric.arrow}".strip(), ranked.metric.id, tone="muted"),
                    Cell(leaders(ranked) or ("–" if ranked.ranked else "no result yet"), tone="plain" if ranked.best else "muted"),
                    Cell(str(len(ranked.ranked)), len(ranked.ranked), tone="muted"),
                    Cell(trade, trade or None, tone="muted"),
                )
            )
        )
    notes = ["Several names: the tests can't tell them apart."]
    if any(row.cells[-1].text for row in rows):
        notes.append("The front names the entries that no other beats in both metrics: where it has several, the first place has a price.")
    else:
        heads, rows = heads[:-1], [Row(row.cells[:-1]) for row in rows]
    return Table(ident, caption, heads, tuple(rows), tuple(notes))


def leaders(ranked: Standing) -> str:
    """The methods that share the first place, in words."""
    names = [ranked.board.entries[at].name for at in ranked.ranked if at in ranked.best]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def front(ranked: Standing) -> str:
    """The front of the metric ranked by and the one that the family trades it against, in words; empty where it has none."""
    for spec in FAMILY_PLOTS.get(ranked.board.family, ()):
        if isinstance(spec, TradeOff) and ranked.metric.id in spec.needs and (found := undominated(ranked, spec)):
            other = spec.x if spec.y == ranked.metric.id else spec.y
            names = [ranked.board.entries[at].name for at in found]
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            return f"{len(names)} against {other}: {', '.join(names[:6])}{more}"
    return ""
