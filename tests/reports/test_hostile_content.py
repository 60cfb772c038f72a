"""Names and values that nobody expects: what they must not break, hide or run."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_ledger import ENVIRONMENT, NOW, Result, fill, method, metric, task

from db.ledger import Ledger
from db.records import Attempt, Catalogue, Run
from reports.across import across_tasks, shared_out
from reports.anchors import anchor
from reports.boards import Question, load_boards, told
from reports.compare import compare
from reports.document import Cell, Column, Document, Facts, Row, Section, Table, walk
from reports.errors import BadQuestion
from reports.files import write
from reports.html import pack, render
from reports.html.tables import table_html
from reports.leaderboard import board_table
from reports.numbers import formatter, p_short, p_value
from reports.params import fulfils, natural, plain
from reports.plots.figure import Axis
from reports.plots.scales import scale
from reports.questions import Filter
from reports.render import latex
from reports.render.data import render_csv, render_json
from reports.report import report
from reports.standings import standing
from reports.why import why


def record(ledger: Ledger, values: Mapping[str, Sequence[float]], direction: str = "lower", name: str = "loss") -> None:
    """One task of the family `odd`, ranked by the metric called `name`, with these values per method, by seed."""
    results = [Result("odd/t", f"odd/{label}", seed, {name: value}) for label, row in values.items() for seed, value in enumerate(row)]
    metrics = [metric("odd/t", name, direction, primary=True)]
    fill(ledger, Catalogue(tasks=[task("odd/t", "Odd", metrics)], methods=[method(f"odd/{label}", label) for label in values]), results)


def test_digits_that_are_no_decimals_sort_as_text() -> None:
    assert sorted(["l2²", "l10²", "x½", "x1", "²"], key=natural) == sorted(["l2²", "l10²", "x1", "x½", "²"], key=natural)
    assert natural("bits=9") < natural("bits=10") < natural("bits=10²")


def test_params_that_differ_beyond_six_digits_are_told_apart() -> None:
    assert (plain(0.1234567), plain(0.1234568), plain(3.0), plain(1e-4)) == ("0.1234567", "0.1234568", "3", "0.0001")
    assert fulfils('{"lr":0.1234567}', "lr=0.1234567")
    assert not fulfils('{"lr":0.1234567}', "lr=0.123457")


def test_identifiers_are_short_and_distinct_whatever_the_names_hold() -> None:
    names = ["a/b", "a-2f-b", "x" * 1000 + "a", "x" * 1000 + "b", "\U0001f600" * 80, "\U0001f600" * 81, "A b", "m-fac"]
    made = [anchor("method", name) for name in names]
    assert len(set(made)) == len(names)
    assert all(re.fullmatch(r"[\w-]{1,130}", one, re.ASCII) for one in made)
    assert made[-1] == "method-m-fac"


@pytest.mark.parametrize("name", ['"><script>alert(9)</script>', "../../up", "\U0001f600" * 80])
def test_a_metric_s_name_is_neither_markup_nor_a_path(
    empty_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(pack, "LARGE", 10)
    monkeypatch.setattr(pack, "STATIC", 2)  # the rows of the board wait in a script element that names their table
    record(empty_ledger, {f"m{at}{name}": [at, at + 1.0] for at in range(12)}, name=name)
    page = render(report(empty_ledger))
    assert 'class="rest"' in page
    assert "<script>alert" not in page
    written = list(write(report(empty_ledger), tmp_path / "out"))
    assert {path.parent for path in written} == {tmp_path / "out", tmp_path / "out" / "data"}


def test_two_seeds_that_differ_alike_separate_nothing_on_boards_and_in_comparisons(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [0.91, 0.90], "b": [0.92, 0.91], "c": [0.90, 0.90], "d": [0.93, 0.93]}, direction="higher")
    ranked = standing(load_boards(empty_ledger, Question("odd"))[0])
    assert ranked.letters == ["a"] * 4
    table = board_table(ranked, baseline="a")
    assert not any("*" in row.cells[-1].text for row in table.rows)
    [change] = compare(empty_ledger, "a", "b").changes
    assert not change.changed


def test_rounding_noise_is_no_difference_from_the_baseline(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [0.3, 0.6, 0.9], "b": [0.1 + 0.2, 0.1 + 0.5, 0.9 + 2e-16]})
    table = board_table(standing(load_boards(empty_ledger, Question("odd"))[0]), baseline="a")
    assert [row.cells[-1].value for row in table.rows if row.cells[1].text == "b"] == [0.0]


def test_p_is_never_rounded_onto_a_level_nor_made_up() -> None:
    assert [p_value(p) for p in (float("nan"), 0.0, 0.0496, 0.0504, 0.00996, 0.029)] == [
        "–",
        "<0.0001",
        "0.0496",
        "0.0504",
        "0.00996",
        "0.029",
    ]
    assert (p_short(2.1e-6), p_short(float("nan"))) == ("2.1e-06", "unknown")


def test_no_column_of_a_csv_overwrites_another(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [1.0, 2.0, 3.0], "b": [7.0, 8.0, 9.0]}, name="rank")
    document = report(empty_ledger)
    rows = {table.id: list(csv.DictReader(io.StringIO(render_csv([table])))) for table in document.tables()}
    assert rows["families"][0]["trials 2"] == "6"
    board = board_table(standing(load_boards(empty_ledger, Question("odd"))[0]), columns=["rank", "method"], all_metrics=True)
    twice = Table(
        "t", "t", (*board.columns, Column("rank", "rank ↓", "right")), tuple(Row((*row.cells, Cell("5", 5))) for row in board.rows)
    )
    assert [(row["rank"], row["rank 2"]) for row in csv.DictReader(io.StringIO(render_csv([twice])))] == [("1.0", "5"), ("2.0", "5")]


def test_numbers_of_numpy_are_numbers_in_csv_and_json() -> None:
    cells = tuple(Cell("x", value) for value in (np.float64(0.5), np.int64(3), np.float32(0.25)))
    table = Table("t", "t", tuple(Column(name, name) for name in "abc"), (Row(cells),))
    assert render_csv([table]).splitlines()[1] == "t,0.5,3,0.25,"
    rows = json.loads(render_json(Document("d", (Section("s", "s", (table,)),))))["sections"][0]["blocks"][0]["rows"]
    assert [cell["value"] for cell in rows[0]["cells"]] == [0.5, 3, 0.25]


def test_a_document_without_sections_says_so_as_its_schema_demands() -> None:
    assert json.loads(render_json(Document("Claims", ())))["sections"] == []


def test_a_star_at_the_start_of_a_row_is_no_part_of_latex_s_line_break() -> None:
    assert r"{*}x \\" in latex.table(Table("t", "t", (Column("a", "a"),), (Row((Cell("*x"),)),)))


def test_a_baseline_may_hold_braces(empty_ledger: Ledger) -> None:
    results = [
        Result("odd/t", "odd/a", seed, {"loss": seed + size}, method_params={"cut": {"at": size}}) for seed in range(3) for size in (1, 2)
    ]
    fill(empty_ledger, Catalogue(tasks=[task("odd/t", "Odd", [metric("odd/t", "loss", "lower", primary=True)])]), results)
    table = board_table(standing(load_boards(empty_ledger, Question("odd"))[0]), baseline='a:cut={"at":1}')
    assert table.columns[-1].title == 'against a:cut={"at":1}'


def test_a_metric_without_direction_has_no_ranks_and_no_talk_of_groups(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [1.0, 1.1, 1.2], "b": [5.0, 5.3, 5.1]}, direction="none")
    table = board_table(standing(load_boards(empty_ledger, Question("odd"))[0]))
    assert [row.cells[0].text for row in table.rows] == ["–", "–"]
    assert "letter" not in table.notes[0]
    assert "there are no ranks" in table.notes[0]
    [first] = [one for one in report(empty_ledger).tables() if one.id == "leaders"]
    assert first.rows[0].cells[2].text == "–"


def test_a_board_of_failures_claims_nothing_about_groups(empty_ledger: Ledger) -> None:
    results = [Result("odd/t", f"odd/{name}", seed) for name in "ab" for seed in range(2)]
    fill(empty_ledger, Catalogue(tasks=[task("odd/t", "Odd", [metric("odd/t", "loss", "lower", primary=True)])]), results)
    assert board_table(standing(load_boards(empty_ledger, Question("odd"))[0])).notes[0] == "No method has a finite result."


def test_made_up_results_are_not_counted_as_seeds_and_said_to_be_too_sure(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [1.0, 1.1, 1.2, 1.0], "b": [5.0, float("nan"), 5.1, 5.2]})
    for policy in ("worst", "impute"):
        table = board_table(standing(load_boards(empty_ledger, Question("odd"))[0], policy=policy))
        at = [column.key for column in table.columns].index("n")
        assert [row.cells[at].text for row in table.rows] == ["4", "3"]
        assert "too sure of themselves" in table.notes[0]


def across(ledger: Ledger, tasks: Sequence[tuple[str, int]], seeds: int = 4, disjoint: bool = False) -> Table:
    """The table across tasks of three methods; `tasks`: name and a param."""
    rng = np.random.default_rng(0)
    results = [
        Result(name, f"odd/m{at}", seed + at * seeds * disjoint, {"loss": at + rng.normal()}, task_params={"size": size})
        for name, size in tasks
        for at in range(3)
        for seed in range(seeds)
    ]
    rows = [task(name, name, [metric(name, "loss", "lower", primary=True)]) for name in {name for name, _ in tasks}]
    fill(ledger, Catalogue(tasks=rows), results)
    [section] = across_tasks([standing(board) for board in load_boards(ledger, Question("odd"))], "odd")
    [table] = [block for block in section.blocks if isinstance(block, Table)]
    return table


def test_params_of_one_task_are_not_counted_as_new_tasks(empty_ledger: Ledger) -> None:
    table = across(empty_ledger, [("odd/t", size) for size in range(6)])
    at = [column.key for column in table.columns].index("next_tasks")
    assert {row.cells[at].text for row in table.rows} == {"–"}
    assert any("6 sets of params of 1 task:" in note for note in table.notes)


def test_methods_without_a_common_seed_have_no_share_of_wins(empty_ledger: Ledger) -> None:
    table = across(empty_ledger, [(f"odd/t{at}", 0) for at in range(5)], disjoint=True)
    assert not any("nan" in cell.text for row in table.rows for cell in row.cells)


def test_weights_may_name_tasks_of_several_families(ledger: Ledger) -> None:
    boards = {name: load_boards(ledger, Question(name)) for name in ("pruning", "bandit_regret")}
    found = shared_out({"linear": 2.0, "pruning/digits-one-shot": 3.0}, boards)
    assert found == {"pruning": {"pruning/digits-one-shot": 3.0}, "bandit_regret": {"linear": 2.0}}
    assert report(ledger, weights={"linear": 2.0}).sections


@pytest.mark.parametrize(
    ("values", "halves", "texts"),
    [
        ([12345678.0, 12345690.0], [10.0], ["12345678", "12345690"]),
        ([1e7 + 5, 1e7 + 12], [], ["10000005", "10000012"]),
        ([1e7 + 5, 2e7], [1e6], ["1e+07", "2e+07"]),
        ([1.2345e-5, 1.2347e-5], [1e-9], ["1.2345e-05", "1.2347e-05"]),
        ([0.5, 3.3333333e307], [1e-9], ["0.5", "3.3333333e+307"]),
        ([-1e-8, 1e-6, 0.01, 0.1], [1e-9, 1e-7, 1e-3, 0.01], ["−1e-08", "1e-06", "0.01000", "0.10000"]),
        ([0.001, 5.0], [0.1], ["0.00", "5.00"]),
    ],
)
def test_rounding_hides_no_difference_that_the_intervals_show(values: list[float], halves: list[float], texts: list[str]) -> None:
    assert [formatter(values, halves)(value) for value in values] == texts


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_axes_hold_the_largest_numbers_there_are(kind: str) -> None:
    found = scale(Axis("x", scale=kind), [1.7e308, -1.7e308, 5e-324], 0.0, 100.0)  # type: ignore[arg-type]
    assert found(1.7e308) > 90
    assert found(5e-324) <= 50


def test_failures_and_repetitions_outside_the_filter_are_not_shown(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    retry(empty_ledger, "odd/b")
    text = lambda narrow: str([block for one in walk(report(empty_ledger, narrow=narrow).sections) for block in one.blocks])  # noqa: E731
    assert "1 error (odd)" in text(Filter())
    assert "Values that did not repeat" in text(Filter())
    for where in ("method=a", "seed=0"):
        assert "Attempts that failed" not in text(Filter((where,)))
        assert "Values that did not repeat" not in text(Filter((where,)))


def retry(ledger: Ledger, name: str) -> None:
    """Seed 1 of the method failed once more, and gave another value the time after."""
    [key] = ledger.query("SELECT trial FROM trials WHERE method = :name AND seed = 1", {"name": name}).column(0).to_pylist()
    attempts = [
        Attempt(f"again-{outcome}", key, "run-1", outcome, NOW, NOW, 1.0, 1.0, "w", ENVIRONMENT.hash, metrics=values, next_state="done")
        for outcome, values in (("error", {}), ("ok", {"loss": 9.0}))
    ]
    ledger.record(attempts, [ENVIRONMENT])


def test_runs_that_are_left_out_are_counted_and_tags_choose_among_all(empty_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.ledger_pages.MOST_RUNS", 2)
    record(empty_ledger, {"a": [1.0, 2.0]})
    for at in range(3):
        empty_ledger.start_run(Run(f"later-{at}", "s", "", "inline", [], 0, ("late",) if at else ("early",)), ENVIRONMENT)
    [table] = [one for one in report(empty_ledger).tables() if one.id == "runs-table"]
    assert (len(table.rows), table.notes) == (2, ("2 older runs are not shown (view runs).",))


def test_a_cell_without_results_is_explained(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [1.0, 2.0], "b": [float("nan"), float("inf")], "c": [4.0]})
    for policy in ("drop", "worst"):
        ranked = standing(load_boards(empty_ledger, Question("odd"))[0], policy=policy)
        for at in range(3):
            [facts] = [
                one for one in why(empty_ledger, ranked.cell(at).short_id(), policy=policy).sections[0].blocks if isinstance(one, Facts)
            ]
            assert "nan" not in dict(facts.items)["mean"]


def test_why_shows_the_values_themselves(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [0.123456789, 0.12345678]})
    document = why(empty_ledger, standing(load_boards(empty_ledger, Question("odd"))[0]).cell(0).short_id())
    assert [row.cells[1].text for row in document.tables()[0].rows] == ["0.123456789", "0.12345678"]


def test_a_metric_that_neither_side_has_is_named(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises(BadQuestion, match="has a metric 'los'; metrics there: loss"):
        compare(empty_ledger, "a", "b", metric="los")


def test_a_metric_called_mean_gets_no_second_column_of_bars(empty_ledger: Ledger) -> None:
    record(empty_ledger, {"a": [1.0, 2.0, 4.0], "b": [7.0, 8.0, 9.0]})
    board = board_table(standing(load_boards(empty_ledger, Question("odd"))[0]))
    cells = [Row((*row.cells, Cell("5", 5)), where=row.where) for row in board.rows]
    page = table_html(replace(board, columns=(*board.columns, Column("mean", "mean", "right")), rows=tuple(cells)))
    assert page.count('class="range"') == 1 + len(cells)


def test_pairs_without_common_seeds_are_counted(empty_ledger: Ledger) -> None:
    nan = float("nan")
    record(empty_ledger, {"a": [1.0, 2.0, nan, nan], "b": [nan, nan, 7.0, 8.0], "c": [1.0, 2.0, 3.0, 4.0]})
    [board] = load_boards(empty_ledger, Question("odd"))
    assert "1 of the pairs have fewer than two common seeds" in standing(board).note()


def test_what_a_method_is_told_may_be_any_text() -> None:
    assert (told("no JSON"), told('"text"'), told('["a", 1]'), told(None)) == (("no JSON",), ("text",), ("a", "1"), ())
