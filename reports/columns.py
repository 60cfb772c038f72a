"""The columns of a leaderboard: small declared objects that third parties can add to (`add_column`, `reports.plugins`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.column_statistics import front_cells, hypervolume_cells, iqm_cells, median_cells, sd_cells, time_cells, worst_cells
from reports.document import Align, Cell, Tone
from reports.errors import BadQuestion
from reports.numbers import formatter
from reports.params import fulfils
from reports.standings import Standing
from reports.stats.caveats import few_pairs, few_t
from reports.stats.multiplicity import CORRECTION_TEXT, CORRECTIONS, Correction
from reports.stats.paired import TEST_TEXT, TESTS, PairedTest
from reports.stats.profiles import FEWEST_FOR_IQM


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """`compute` gives one cell per entry asked for (indices into the board's entries).

    The column is left out unless the board has all metrics it `needs` and `when` holds. `title` may contain {metric}, {arrow} and {worst}
    (max or min, by the metric's direction). `shown`: part of the default selection; asked for by name, `when` does not matter.
    `spare`: how readily a narrow terminal goes without it (`reports.document.Column`).
    """

    key: str
    title: str
    compute: Callable[[Standing, Sequence[int]], Sequence[Cell]]
    align: Align = "left"
    doc: str = ""
    needs: tuple[str, ...] = ()
    shown: bool = True
    when: Callable[[Standing], bool] = field(default=lambda standing: True)
    spare: int = 1
    measures: bool = False  #: shows the mean of the metric called `key`
    note: str = ""  #: a sentence under the table: what the column can't say


#: Metrics shown beside the one ranked by, per family: entries that differ in them are not compared on equal terms. Of several in one place
#: the first that a board has.
BESIDE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "quantization": (("linear_cost", "compressed_share", "bits_per_dimension", "bits_per_frame", "saved_share", "bits_per_weight"),),
    "calibration": (("ece_null95",), ("nll",)),
    "pruning": (("accuracy_at_90",),),
    "robust_training": (("clean_accuracy",),),
    "bandit_regret": (("last_decade_growth",),),
}


#: Families whose values over seeds have tails that a mean hides: the median and the worst seed stand beside it.
HEAVY_TAILED = frozenset({"bandit_regret"})


def _heavy(standing: Standing) -> bool:
    return standing.board.family in HEAVY_TAILED


def beside(standing: Standing) -> list[str]:
    """The metrics of `BESIDE` that the board has any result of, without the one ranked by."""
    board = standing.board
    places = ([name for name in place if name in board.metrics] for place in BESIDE.get(board.family, ()))
    chosen = [known[0] for known in places if known]
    return [name for name in chosen if name != standing.metric.id and np.isfinite(board.values[name]).any()]


def traded(standing: Standing) -> list[str]:
    """The metric ranked by and those beside it, as far as they have a direction: what a front is made over."""
    names = [standing.metric.id, *beside(standing)]
    return [name for name in names if standing.board.metrics[name].direction != "none"]


def _front(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return front_cells(standing, entries, traded(standing))


def _hypervolume(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return hypervolume_cells(standing, entries, traded(standing)[:2])


def _method(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [
        Cell(
            entry.label,
            entry.label,
            tone="best" if at in standing.best else "plain",
            note=f"{entry.method} v{entry.version} {entry.params}",
        )
        for at in entries
        for entry in (standing.board.entries[at],)
    ]


def _params(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    chosen = (standing.board.entries[at] for at in entries)
    return [Cell(entry.short, entry.short, note=entry.params) for entry in chosen]


def _mean(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return metric_cells(standing, standing.metric.id, entries)


def metric_cells(standing: Standing, metric: str, entries: Sequence[int], spelled: bool = False) -> list[Cell]:
    """Mean of a metric per entry, with interval, cell id and SQL. `spelled`: the interval stands in the text too."""
    table = standing.table if metric == standing.metric.id else standing.secondary(metric)
    write = formatter(table.mean, (table.high - table.low) / 2)
    odd = standing.board.nonfinite[metric].sum(axis=1)
    cells = []
    for at in entries:
        mean, low, high = (float(x) if np.isfinite(x) else None for x in (table.mean[at], table.low[at], table.high[at]))
        tone: Tone = (
            "best" if metric == standing.metric.id and at in standing.best else "plain" if metric == standing.metric.id else "muted"
        )
        text = write(mean) if mean is not None or not odd[at] else "not finite"
        if spelled and low is not None and high is not None and low < high:
            text += f" [{write(low)}, {write(high)}]"
        cells.append(Cell(text, mean, low, high, tone=tone, id=standing.cell(at, metric).short_id(), metric=metric))
    return cells


def _interval(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    table = standing.table
    write = formatter(table.mean, (table.high - table.low) / 2)
    cells = []
    for low, high in zip(table.low[list(entries)], table.high[list(entries)], strict=True):
        known = np.isfinite(low) and np.isfinite(high)
        cells.append(Cell(f"[{write(low)}, {write(high)}]", float(high - low)) if known else Cell("–", None))
    return cells


def _n(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [Cell(str(int(n)), int(n), tone="muted") for n in standing.table.n[list(entries)]]


def _group(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [
        Cell(letters, letters, tone="best" if at in standing.best else "plain") for at in entries for letters in (standing.letters[at],)
    ]


def _rank(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    low, high = standing.ranks
    cells = []
    for at in entries:
        a, b = low[at], high[at]
        text = "–" if a == 0 else str(a) if a == b else f"{a}–{b}"
        cells.append(Cell(text, (a + b) / 2 if a else None, a or None, b or None))
    return cells


def _failed(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [Cell(str(count) if count else "", count, tone="bad" if count else "plain") for count in (standing.failed[at] for at in entries)]


def _unfinished(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [
        Cell(str(count) if count else "", count, tone="warn" if count else "plain") for count in (standing.unfinished[at] for at in entries)
    ]


def _knowledge(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [Cell(", ".join(standing.board.entries[at].knowledge), tone="muted") for at in entries]


def _settings(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    chosen = (standing.board.entries[at] for at in entries)
    return [Cell(", ".join(entry.settings) or ("none to set" if entry.params == "{}" else ""), tone="muted") for entry in chosen]


def _paper(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    papers = (standing.board.entries[at].paper for at in entries)
    return [Cell("" if paper is None else str(paper), paper, tone="muted") for paper in papers]


COLUMNS: dict[str, BoardColumn] = {
    column.key: column
    for column in (
        BoardColumn("rank", "rank", _rank, "right", "Interval that holds the method's true rank, simultaneously for all methods.", spare=4),
        BoardColumn("method", "method", _method, spare=0),
        BoardColumn(
            "params",
            "params",
            _params,
            doc="Only the params that differ between entries of the same method.",
            when=lambda standing: any(entry.short for entry in standing.board.entries),
            spare=0,
        ),
        BoardColumn(
            "settings",
            "constants",
            _settings,
            doc="theory: the params are the constants of the paper's theory; tuned: chosen on other seeds under a fixed budget.",
            when=lambda standing: any(entry.settings for entry in standing.board.entries),
            spare=2,
        ),
        BoardColumn("mean", "{metric} {arrow}", _mean, "right", "Mean over seeds.", spare=0),
        BoardColumn("interval", "95 % interval", _interval, "right", "Student's t interval of the mean over seeds.", spare=3),
        BoardColumn(
            "median",
            "median",
            median_cells,
            "right",
            "Median over seeds; its interval (order statistics, from six seeds on) shows when pointed at.",
            when=_heavy,
            spare=4,
        ),
        BoardColumn(
            "worst",
            "{worst}",
            worst_cells,
            "right",
            "Value of the worst seed; it has no interval.",
            when=_heavy,
            spare=5,
            note="The worst seed has no interval.",
        ),
        BoardColumn(
            "iqm",
            "IQM",
            iqm_cells,
            "right",
            "Mean of the middle half of the seeds' values, with its percentile bootstrap interval.",
            shown=False,
            note=f"IQM has 95 % bootstrap intervals from {FEWEST_FOR_IQM} seeds on; with five they would cover 89 %.",
        ),
        BoardColumn(
            "sd",
            "sd",
            sd_cells,
            "right",
            "Standard deviation over seeds; it has no interval.",
            shown=False,
            note="sd has no interval: with 5 to 30 seeds the bootstrap's cover 30 to 90 % instead of 95 %.",
        ),
        BoardColumn("n", "n", _n, "right", "Seeds with a finite result.", spare=5),
        BoardColumn(
            "group",
            "group",
            _group,
            doc="Methods that share a letter can't be told apart.",
            when=lambda standing: any(standing.letters),
            spare=0,
        ),
        BoardColumn(
            "front",
            "front",
            _front,
            "center",
            "◆: no other entry is better in the means of all metrics that are traded off here; not a test.",
            when=lambda standing: len(traded(standing)) > 1,
            spare=2,
        ),
        BoardColumn(
            "hypervolume",
            "front area",
            _hypervolume,
            "right",
            "Area that the method's configurations dominate in the means of the two metrics traded off, as a share of what all entries "
            "dominate; up to the worst mean of either metric.",
            shown=False,
            note="Front areas are those of the means and have no interval.",
        ),
        BoardColumn(
            "failed",
            "failed",
            _failed,
            "right",
            "Trials without a finite result that have no attempts left.",
            when=lambda standing: any(standing.failed),
        ),
        BoardColumn("unfinished", "open", _unfinished, "right", "Trials not finished yet.", when=lambda standing: any(standing.unfinished)),
        BoardColumn(
            "knowledge",
            "told",
            _knowledge,
            doc="What the method is told beyond its inputs.",
            when=lambda standing: any(entry.knowledge for entry in standing.board.entries),
            spare=3,
        ),
        BoardColumn(
            "time",
            "s/trial",
            time_cells,
            "right",
            "Mean wall time of a trial in seconds, the task's own work included; machines and their load may differ.",
            shown=False,
            spare=6,
        ),
        BoardColumn("paper", "paper", _paper, "right", doc="Number in the list of papers (assay papers).", shown=False),
    )
}


def versus(baseline: str, test: PairedTest = "t", correction: Correction = "holm") -> BoardColumn:
    """A column of paired differences from one method: its id or name within the family, optionally with `:param=value,...`.

    `test`: which paired test and effect (`reports.stats.paired.TESTS`). `correction`: for how many rows are compared. Boards without
    the baseline, or with several of its configurations, raise BadQuestion.
    """

    def compute(standing: Standing, entries: Sequence[int]) -> list[Cell]:
        base = baseline_entry(standing, baseline)
        others = [at for at in standing.ranked if at != base]
        rows = {at: standing.matrix[at] - standing.matrix[base] for at in others}
        tests = {at: TESTS[test](row[~np.isnan(row)]) for at, row in rows.items()}
        adjusted = dict(zip(others, CORRECTIONS[correction](np.array([tests[at].p for at in others])), strict=True))
        write = formatter([one.effect for one in tests.values()], [(one.high - one.low) / 2 for one in tests.values()])
        few = (few_t if test == "t" else few_pairs)(min((one.n for one in tests.values()), default=0))
        cells = []
        for at in entries:
            if at == base:
                cells.append(Cell("baseline", tone="muted"))
                continue
            if at not in tests or tests[at].n < 2:
                cells.append(Cell("–"))
                continue
            one, sure = tests[at], adjusted[at] < 1 - standing.level
            good = (one.effect < 0) == standing.lower_is_better
            tone: Tone = "plain" if not sure or standing.metric.direction == "none" else "good" if good else "bad"
            text = f"{write(one.effect)} [{write(one.low)}, {write(one.high)}]{'*' if sure else ''}"
            cells.append(Cell(text, one.effect, one.low, one.high, tone=tone, note=f"{one.test}, {one.n} seeds. {few}".strip()))
        return cells

    doc = (
        f"{TEST_TEXT[test]} with 95 % interval, paired by seed; * where it is not zero ({CORRECTION_TEXT[correction]}, over the rows, 5 %)."
    )
    return BoardColumn("versus", f"against {baseline}", compute, "right", doc)


def baseline_entry(standing: Standing, wanted: str) -> int:
    """The one entry that `wanted` names (see `versus`); raises BadQuestion for none and for several."""
    name, _, params = wanted.partition(":")
    found = [
        at
        for at, entry in enumerate(standing.board.entries)
        if name in (entry.method, entry.method.rpartition("/")[2]) and fulfils(entry.params, params)
    ]
    if len(found) != 1:
        names = "; ".join(standing.board.entries[at].name for at in found[:6])
        several = f"has {len(found)} configurations ({names}): pick one with {name}:NAME=VALUE" if found else "has no result"
        raise BadQuestion(f"The baseline {wanted!r} {several} on {standing.board.name}.")
    return found[0]


def add_column(column: BoardColumn) -> None:
    """Make a column known; raises BadQuestion when its key is taken."""
    if column.key in COLUMNS:
        raise BadQuestion(f"A column {column.key!r} exists already; choose another key.")
    COLUMNS[column.key] = column


def select(keys: Sequence[str] | None = None, metrics: Collection[str] = ()) -> list[BoardColumn]:
    """The columns of those keys in that order, or the default ones. A key may also be one of `metrics`: its mean, with interval.

    Raises BadQuestion naming the valid keys.
    """
    if keys is None:
        return [column for column in COLUMNS.values() if column.shown]
    for key in keys:
        if key not in COLUMNS and key not in metrics:
            raise BadQuestion(f"No column is called {key!r}; columns: {', '.join(COLUMNS)}; metrics: {', '.join(metrics) or 'none'}.")
    return [COLUMNS[key] if key in COLUMNS else metric_column(key) for key in keys]


def metric_column(metric: str) -> BoardColumn:
    """The mean of a metric of the board that it is not ranked by."""

    def compute(standing: Standing, entries: Sequence[int]) -> list[Cell]:
        return metric_cells(standing, metric, entries, spelled=True)

    return BoardColumn(metric, metric, compute, "right", needs=(metric,), measures=True)
