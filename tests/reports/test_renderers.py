"""Every format from the same documents, with hostile names in all of them."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sample_ledger import Result, fill, method, metric, task

from db.ledger import Ledger
from db.records import Catalogue, Curve
from reports.boards import Question, load_boards
from reports.curves import load_curves
from reports.document import Cell, Code, Column, Document, Row, Section, Table
from reports.files import write
from reports.html import render as render_html
from reports.leaderboard import leaderboard
from reports.numbers import formatter
from reports.plots.build import apart, family_palette, figures
from reports.plots.figure import Axis, Figure, Panel, Point, Series
from reports.plots.scales import linear_ticks, log_ticks, scale, tick_text
from reports.plots.svg import COLORS, shape, spread, svg
from reports.render import data, latex, markdown, terminal
from reports.report import report
from reports.standings import standing

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(2)>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "| a | b |\n\n# heading",
    "\x1b[31mred\x1b[0m\x07",
    "\u202egnp.exe",
    r"\input{/etc/passwd} $x$ 100% & #1 _y_ ^z^ ~",
    "[click](javascript:alert(3))",
    "[bold]markup[/bold]",
    "'; DROP TABLE trials; --",
    "x" * 10_000,
]


@pytest.fixture
def hostile(empty_ledger: Ledger) -> Document:
    name = "evil/" + HOSTILE[0]
    metrics = [metric(name, "m|<b>", "lower", "<i>", primary=True), metric(name, "c", "lower", curve=HOSTILE[1])]
    catalogue = Catalogue(
        tasks=[task(name, HOSTILE[1], metrics)], methods=[method(f"evil/{at}{text}", text) for at, text in enumerate(HOSTILE)]
    )
    results = [
        Result(
            name,
            f"evil/{at}{text}",
            seed,
            {"m|<b>": at + seed / 10},
            [Curve("c", [1.0, 2.0], [0.1, 0.2])],
            method_params={HOSTILE[0]: text, "s": seed % 1},
        )
        for at, text in enumerate(HOSTILE)
        for seed in range(3)
    ]
    fill(empty_ledger, catalogue, results)
    return report(empty_ledger)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_html_keeps_hostile_names_as_text(hostile: Document) -> None:
    page = render_html(hostile)
    parser = Tags()
    parser.feed(page)
    assert parser.tags.count("script") == 1 + page.count('<script type="application/json" ') == 3
    assert "img" not in parser.tags
    assert not [name for name, _ in parser.attributes if name.startswith("on")]
    assert not [value for name, value in parser.attributes if name in ("href", "src") and value and not re.match(r"#|data:", value)]
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "alert(1)" in page


def test_markdown_is_one_table_per_board_with_equal_cell_counts(hostile: Document, ledger: Ledger) -> None:
    for document in (hostile, leaderboard("pruning", load_boards(ledger, Question("pruning")))):
        text = markdown.render(document)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not re.search(r"(?<!\\)<", text)
        runs = re.split(r"\n(?!\|)", text)
        tables = [[line for line in run.splitlines() if line.startswith("|")] for run in runs if "\n| " in f"\n{run}"]
        assert tables
        for lines in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_csv_has_no_cell_that_a_spreadsheet_would_run(hostile: Document) -> None:
    for row in csv.reader(io.StringIO(data.render_csv(hostile.tables()))):
        for cell in row:
            assert not re.match(r"[=+@\t\r]|-(?![\d.])", cell), cell
    for plot in hostile.plots():
        for row in csv.reader(io.StringIO(plot.figure.csv())):
            assert not any(re.match(r"[=+@\t\r]|-(?![\d.])", cell) for cell in row)


def test_terminal_prints_no_control_characters_and_no_markup(hostile: Document) -> None:
    out = io.StringIO()
    terminal.render(hostile, Console(file=out, width=200, color_system=None))
    text = out.getvalue()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert "[bold]markup[/bold]" in text
    assert max(map(len, re.findall("x+", text))) <= 400


def test_json_is_valid_and_holds_full_precision(ledger: Ledger) -> None:
    document = leaderboard("pruning", load_boards(ledger, Question("pruning")), all_metrics=True)
    found = json.loads(data.render_json(document))
    table = found["sections"][0]["blocks"][0]
    assert table["kind"] == "table"
    keys = [column["key"] for column in table["columns"]]
    best = dict(zip(keys, table["rows"][0]["cells"], strict=True))
    assert best["method"]["value"] == "m-fac"
    assert best["mean"]["low"] < best["mean"]["value"] < best["mean"]["high"]
    assert len(table["rows"][0]["trials"]) == 5


def test_every_json_document_fits_the_published_schema(ledger: Ledger, hostile: Document) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from importlib.resources import files

    schema = json.loads((files("reports.render") / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    documents = [report(ledger), hostile, leaderboard("pruning", load_boards(ledger, Question("pruning")))]
    for document in documents:
        assert [error.message for error in validator.iter_errors(json.loads(data.render_json(document)))][:3] == []
    broken = json.loads(data.render_json(documents[2]))
    del broken["sections"][0]["blocks"][0]["rows"][0]["cells"][0]["text"]
    assert list(validator.iter_errors(broken))


def test_csv_round_trips_values(ledger: Ledger) -> None:
    document = leaderboard("robust_training", load_boards(ledger, Question("robust_training")))
    rows = list(csv.DictReader(io.StringIO(data.render_csv(document.tables()))))
    table = document.tables()[0]
    at = [column.key for column in table.columns].index("mean")
    assert [float(row["mean"]) for row in rows] == [row.cells[at].value for row in table.rows]
    assert [float(row["mean low"]) for row in rows] == [row.cells[at].low for row in table.rows]


def test_numbers_of_numpy_are_numbers_in_json() -> None:
    cell = Cell("1", np.float64(1.0), np.float64(0.5), np.float64("nan"))
    table = Table("t", "t", (Column("a", "a"),), (Row((cell,)),))
    [section] = json.loads(data.render_json(Document("d", (Section("s", "s", (table,)),))))["sections"]
    assert section["blocks"][0]["rows"][0]["cells"] == [{"text": "1", "value": 1.0, "low": 0.5, "tone": "plain"}]


def test_non_finite_numbers_become_null_in_json() -> None:
    table = Table("t", "T", (Column("a", "a"),), (Row((Cell("∞", float("inf")),)),))
    text = data.render_json(Document("d", (Section("s", "s", (table,)),)))
    assert json.loads(text)["sections"][0]["blocks"][0]["rows"][0]["cells"][0]["value"] is None


def test_files_are_written_whole_and_complete(ledger: Ledger, tmp_path: Path) -> None:
    document = report(ledger)
    written = list(write(document, tmp_path / "out"))
    assert written[0].name == "index.html"
    assert {path.name for path in written[2:]} == {f"{one.id}.csv" for one in (*document.tables(), *document.plots())}
    assert not list((tmp_path / "out").rglob("*.part"))


def test_html_of_every_family_has_its_own_plots(ledger: Ledger) -> None:
    titles = [plot.figure.title.partition(":")[0] for plot in report(ledger).plots()]
    assert {
        "Loss against size",
        "Accuracy over sparsity",
        "Reliability",
        "ece with intervals",
        "Robust against clean accuracy",
        "Regret over rounds",
    } <= set(titles)


def test_unknown_families_get_an_interval_plot(hostile: Document) -> None:
    assert [plot.figure.title.partition(":")[0] for plot in hostile.plots()] == ["m|<b> with intervals"]


def test_numbers_of_a_column_show_two_digits_of_their_uncertainty() -> None:
    write_number = formatter([0.12345, 2.0], [0.011, 0.013])
    assert [write_number(0.12345), write_number(2.0), write_number(-0.0001), write_number(None)] == ["0.123", "2.000", "0.000", "–"]
    assert formatter([3.0, 12345.0])(12345.0) == "12,345"
    assert formatter([1e-9, 3e-9])(2.5e-9) == "2.5e-09"
    assert formatter([1.0, float("inf")])(float("-inf")) == "−∞"


def test_ticks_are_round_and_inside() -> None:
    assert linear_ticks(0, 1, 6) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert linear_ticks(0.913, 0.987, 6) == [0.92, 0.94, 0.96, 0.98]
    assert log_ticks(0.03, 40, 6) == [0.1, 1, 10]
    assert [tick_text(v) for v in (0.0, 1e-5, 2.5e7, 20_000, -0.5)] == ["0", "10⁻⁵", "2.5·10⁷", "20k", "−0.5"]


def test_a_log_axis_keeps_values_that_it_cannot_show_on_its_edge() -> None:
    axis = scale(Axis("x", scale="log"), [0.0, 1.0, 100.0], 0, 100)
    assert axis.log
    assert axis(0.0) == axis(axis.low) == 0


def test_labels_are_spread_without_overlap_and_stay_inside() -> None:
    placed = spread([50, 51, 52, 300, 10], 14, 0, 310)
    ordered = sorted(placed)
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(ordered))
    assert ordered[0] >= 0
    assert ordered[-1] <= 310


def test_names_of_a_family_get_distinct_colour_indices_and_series_of_a_plot_distinct_looks(ledger: Ledger) -> None:
    """Methods with params and methods without share one palette; every line drawn loud differs from the others in colour and marker."""
    standings = [standing(board) for family in ("quantization", "pruning") for board in load_boards(ledger, Question(family))]
    palette = family_palette(standings)
    assert len(set(palette.values())) == len(palette)
    assert apart([3, 3, 11, 0]) == [3, 4, 11 + 2, 0]
    chosen = apart([0] * 20)
    looks = {(color % COLORS, shape(color, 0, 0, 4)) for color in chosen}
    assert len({color % COLORS for color in chosen[:COLORS]}) == COLORS
    assert len(looks) == 20
    for plot in report(ledger).plots():
        for panel in plot.figure.panels:
            loud = [series for series in panel.series if series.kind in ("line", "scatter") and not series.quiet]
            drawn = {(series.color % COLORS, shape(series.color, 0, 0, 4)) for series in loud}
            assert len(drawn) == len(loud), plot.figure.title


def test_long_lines_have_markers_and_the_legend_shows_line_and_marker() -> None:
    series = tuple(Series(f"s{at}", tuple(Point(float(x), x * (at + 1.0)) for x in range(100)), "line", 8 * at) for at in range(2))
    drawn = svg(Figure("t", "d", Axis("x"), Axis("y"), (Panel("", series),)), "i")
    first, second = (re.search(rf'<g class="series [^"]*" data-series="s{at}">(.*?)</g>', drawn) for at in range(2))
    assert first
    assert second
    assert 10 <= first[1].count('class="marker"') <= 24
    legend = re.findall(r'<g class="label [^"]*" data-series="s\d">(.*?)</g>', drawn)
    assert all('class="line"' in one and 'class="marker"' in one for one in legend)
    assert shape(0, 0, 0, 4) != shape(8, 0, 0, 4)


def test_an_axis_ends_where_values_cannot_go_though_an_interval_does() -> None:
    free = scale(Axis("accuracy"), [-0.2, 0.5, 1.4], 0, 100)
    bounded = scale(Axis("accuracy", within=(0.0, 1.0)), [-0.2, 0.5, 1.4], 0, 100)
    narrow = scale(Axis("accuracy", within=(0.0, 1.0)), [0.4, 0.6], 0, 100)
    assert (free.low < -0.2, free.high > 1.4) == (True, True)
    assert (bounded.low, bounded.high) == (0.0, 1.0)
    assert 0.3 < narrow.low < 0.4 < 0.6 < narrow.high < 0.7


def test_regret_that_ends_below_zero_is_drawn_on_a_linear_axis(empty_ledger: Ledger) -> None:
    """Against a fixed comparator regret may be negative: a logarithmic axis would lay the best line along its edge."""
    name = "bandit_regret/toy"
    metrics = [metric(name, "regret", "lower", primary=True), metric(name, "regret_curve", "lower", curve="round")]
    catalogue = Catalogue(tasks=[task(name, "Toy", metrics)], methods=[method(f"bandit_regret/{one}", one) for one in "ab"])
    for kind, last in (("log", 3.0), ("linear", -3.0)):
        results = [
            Result(
                name, f"bandit_regret/{one}", seed, {"regret": end}, [Curve("regret_curve", [1, 10, 100], [1.0, 2.0, end])], {"end": last}
            )
            for one, end in (("a", last), ("b", 9.0))
            for seed in range(3)
        ]
        fill(empty_ledger, catalogue, results, run=f"run {kind}")
        [board] = [one for one in load_boards(empty_ledger, Question("bandit_regret")) if json.loads(one.task_params)["end"] == last]
        [figure] = figures(standing(board), load_curves(empty_ledger, [board], ["regret_curve"])[board.anchor])
        assert figure.y.scale == kind


def test_measured_against_predicted_has_the_line_where_both_are_equal(empty_ledger: Ledger) -> None:
    name = "quantization/toy"
    metrics = [metric(name, "error", "lower", primary=True)]
    metrics += [metric(name, one, "none") for one in ("predicted_increase", "bits_per_byte_increase")]
    catalogue = Catalogue(tasks=[task(name, "Toy", metrics)], methods=[method(f"quantization/{one}", one) for one in "ab"])
    pairs = {"a": (0.1, 0.2), "b": (0.4, 0.3)}
    fill(
        empty_ledger,
        catalogue,
        [
            Result(name, f"quantization/{one}", seed, {"error": 1.0, "predicted_increase": x, "bits_per_byte_increase": y})
            for one, (x, y) in pairs.items()
            for seed in range(3)
        ],
    )
    [board] = load_boards(empty_ledger, Question("quantization"))
    [figure] = figures(standing(board), {})
    [line] = [series for series in figure.panels[0].series if series.kind == "reference"]
    assert [(point.x, point.y) for point in line.points] == [pytest.approx((0.1, 0.1)), pytest.approx((0.4, 0.4))]
    assert "joins" not in figure.caption
    assert "both are equal" in figure.caption


def test_the_overview_names_the_front_that_pairwise_comparison_gives(ledger: Ledger) -> None:
    [leaders] = [table for table in report(ledger).tables() if table.id == "leaders"]
    fronts = {row.cells[0].text: row.cells[-1].text for row in leaders.rows}
    [board] = load_boards(ledger, Question("quantization"))
    loss, size = (np.nanmean(board.values[name], axis=1) for name in ("bits_per_byte_increase", "bits_per_weight"))
    count = len(board.entries)
    beaten = [any(loss[b] <= loss[a] and size[b] <= size[a] and b != a for b in range(count)) for a in range(count)]
    names = [board.entries[at].name for at in np.argsort(size) if not beaten[at]]
    assert fronts["Language-model weights"].startswith(f"{len(names)} against bits_per_weight: {', '.join(names[:6])}")
    assert "against clean_accuracy" in fronts["L-inf digits"]
    assert fronts["One-shot pruning on digits"] == ""


def test_latex_sets_sentences_whole_in_tables_that_fit_the_page() -> None:
    sentence = "A statement of a paper that has far more than sixty characters and must be read whole, down to its last word."
    columns = (Column("name", "name"), Column("text", "statement", wrap=True))
    rows = tuple(Row((Cell(f"n{at}"), Cell(sentence))) for at in range(20))
    text = "\n".join(latex.table(Table("t", "Long", columns, rows)))
    assert text.count(sentence) == 20
    assert text.count(r"\begin{tabular}{lp{5cm}}") == 2


def test_the_terminal_never_cuts_sql() -> None:
    sql = "SELECT " + ", ".join(f"column_{at}" for at in range(60)) + " FROM scores"
    out = Console(file=io.StringIO(), width=80)
    terminal.render(Document("t", (Section("s", "s", (Code(sql, "SQL"),)),)), out)
    assert sql in out.file.getvalue()  # type: ignore[attr-defined]
