"""Boards and leaderboards from a real ledger, against hand computation and SQL."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats as ss
from sample_ledger import Result, fill, method, metric, task

from db.ledger import Ledger
from db.records import Catalogue, MethodRow
from reports.boards import Question, load_boards
from reports.columns import COLUMNS, BoardColumn, add_column
from reports.document import Cell
from reports.errors import BadQuestion, NothingToReport
from reports.leaderboard import board_table, leaderboard
from reports.plugins import load_file
from reports.questions import Filter
from reports.standings import standing
from reports.stats import multiplicity

TASK = "toy/t"


def toy(
    ledger: Ledger, values: dict[str, list[float | None]], direction: str = "lower", params: dict[str, list[dict]] | None = None
) -> None:
    """One board: per method its value per seed; None: the trial failed."""
    catalogue = Catalogue(
        tasks=[task(TASK, "Toy", [metric(TASK, "loss", direction, "nats", primary=True), metric(TASK, "other", "none")])],
        methods=[method(f"toy/{name}", name.upper()) for name in values],
    )
    results = [
        Result(TASK, f"toy/{name}", seed, {} if value is None else {"loss": value, "other": 1.0})
        for name, row in values.items()
        for seed, value in enumerate(row)
    ]
    fill(ledger, catalogue, results)


def test_time_is_the_mean_over_trials_with_a_result(empty_ledger: Ledger) -> None:
    name = "toy/t"
    catalogue = Catalogue(tasks=[task(name, "Toy", [metric(name, "loss", "lower", primary=True)])], methods=[method("toy/a", "A")])
    fill(
        empty_ledger,
        catalogue,
        [Result(name, "toy/a", seed, {"loss": 1.0} if seed else {}, seconds=1.0 + seed) for seed in range(3)]
        + [Result(name, "toy/b", 0, {}, seconds=9.0)],
    )
    table = board_table(standing(load_boards(empty_ledger, Question("toy"))[0]), columns=["method", "time"])
    assert {row.cells[0].text: (row.cells[1].text, row.cells[1].value) for row in table.rows} == {"A": ("2.5", 2.5), "toy/b": ("–", None)}


def test_mean_and_interval_equal_scipy_on_the_rows_that_the_cells_sql_selects(ledger: Ledger) -> None:
    for family in ("quantization", "robust_training", "bandit_regret"):
        for board in load_boards(ledger, Question(family)):
            table = board_table(standing(board), all_metrics=True)
            for row in table.rows:
                for cell in row.cells:
                    if not cell.id or (cell.metric == board.primary.id and cell.tone == "muted"):  # median and worst seed share the id
                        continue
                    found = next(at for at in range(len(board.entries)) if board.coordinates(at, cell.metric).short_id() == cell.id)
                    rows = ledger.query(board.coordinates(found, cell.metric).sql())
                    values = np.array(rows["value"].to_pylist(), dtype=float)
                    assert cell.value == pytest.approx(values.mean(), rel=1e-9)
                    if values.std() > 0:
                        want = ss.t.interval(0.95, len(values) - 1, values.mean(), ss.sem(values))
                        assert (cell.low, cell.high) == pytest.approx(want, rel=1e-6)
                    assert set(rows["trial"].to_pylist()) <= set(row.trials)


def test_only_params_that_differ_are_shown(ledger: Ledger) -> None:
    [board] = load_boards(ledger, Question("quantization"))
    assert {entry.short for entry in board.entries if entry.method.endswith("rtn")} == {"bits=2", "bits=3", "bits=4"}
    assert [entry.short for entry in board.entries if entry.method.endswith("nf4")] == [""]
    assert [board.short for board in load_boards(ledger, Question("bandit_regret"))] == ["misspecification=0", "misspecification=0.1"]


def test_direction_decides_the_order(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [1.0, 1.1], "b": [3.0, 3.2]}, direction="higher")
    [board] = load_boards(empty_ledger, Question("toy"))
    ranked = standing(board)
    assert [board.entries[at].label for at in ranked.order] == ["B", "A"]
    assert board_table(ranked).columns[2].title == "loss ↑"


def test_ties_share_letters_and_rank_intervals(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [1.0, 1.2, 0.9, 1.1, 1.0], "b": [1.1, 1.0, 1.0, 1.0, 1.05], "c": [5.0, 5.2, 4.9, 5.1, 5.0]})
    [board] = load_boards(empty_ledger, Question("toy"))
    ranked = standing(board)
    assert ranked.letters == ["a", "a", "b"]
    assert list(zip(*ranked.ranks, strict=True)) == [(1, 2), (1, 2), (3, 3)]
    assert ranked.best == {0, 1}


def test_failed_trials_are_counted_and_other_policies_show_the_ranks_that_flip(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [1.0, None, 1.0], "b": [1.5, 1.4, 1.6], "c": [9.0, 9.0, 9.0]})
    [board] = load_boards(empty_ledger, Question("toy"))
    ranked = standing(board)
    assert ranked.failed == [1, 0, 0]
    assert ranked.table.n.tolist() == [2, 3, 3]
    notes = " ".join(board_table(ranked).notes)
    assert "If missing results were treated as 'worst', A would rank 2 instead of 1." in notes
    worst = standing(board, policy="worst")
    assert worst.table.mean[0] == pytest.approx(11 / 3)
    assert [board.entries[at].label for at in worst.order] == ["B", "A", "C"]
    imputed = standing(board, policy="impute")  # seed 1 was .1 easier than b's mean and as hard as c's: -.05 on average
    assert imputed.matrix[0, 1] == pytest.approx(1.0 - 0.05)
    with pytest.raises(BadQuestion, match="drop, worst, impute"):
        standing(board, policy="forget")  # type: ignore[arg-type]


def test_methods_without_any_result_come_last_and_have_no_rank(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [None, None], "b": [1.0, 2.0]})
    table = board_table(standing(load_boards(empty_ledger, Question("toy"))[0]))
    assert [cell.text for cell in table.rows[1].cells][:3] == ["–", "A", "–"]


def test_non_finite_values_are_shown_as_such_and_counted(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [float("inf"), float("nan")], "b": [1.0, 2.0]})
    ranked = standing(load_boards(empty_ledger, Question("toy"))[0])
    assert ranked.failed == [2, 0]
    assert "not finite" in [cell.text for cell in board_table(ranked).rows[1].cells]


def test_single_seeds_have_no_interval_and_say_so(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [1.0], "b": [2.0]})
    table = board_table(standing(load_boards(empty_ledger, Question("toy"))[0]))
    assert any("single seed" in note for note in table.notes)
    assert table.rows[0].cells[0].text == "1–2"


def test_older_versions_are_hidden_and_counted(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [1.0, 2.0]})
    fill(empty_ledger, Catalogue(), [Result(TASK, "toy/a", seed, {"loss": 7.0}, method_version=2) for seed in range(2)], run="second")
    [board] = load_boards(empty_ledger, Question("toy"))
    assert [entry.version for entry in board.entries] == [2]
    assert "2 trials of older versions" in board.notes[0]
    [both] = load_boards(empty_ledger, Question("toy", old_versions=True))
    assert sorted(entry.short for entry in both.entries) == ["v1", "v2"]


def test_where_filters_and_names_what_exists(ledger: Ledger) -> None:
    [board] = load_boards(ledger, Question("quantization", only=Filter(where=("bits=4", "method=rtn"))))
    assert [entry.name for entry in board.entries] == ["RTN"]
    with pytest.raises(BadQuestion, match="no param is called 'bit'; params here: bits, group, preset"):
        load_boards(ledger, Question("quantization", only=Filter(where=("bit=4",))))
    with pytest.raises(BadQuestion, match="NAME=VALUE"):
        load_boards(ledger, Question("quantization", only=Filter(where=("bits",))))
    with pytest.raises(NothingToReport, match="bits=9"):
        load_boards(ledger, Question("quantization", only=Filter(where=("bits=9",))))


def test_unknown_family_task_metric_and_column_name_the_valid_ones(ledger: Ledger, empty_ledger: Ledger) -> None:
    with pytest.raises(BadQuestion, match="bandit_regret, calibration"):
        load_boards(ledger, Question("nope"))
    with pytest.raises(BadQuestion, match="nothing yet"):
        load_boards(empty_ledger, Question("nope"))
    with pytest.raises(NothingToReport, match="quantization/lm-weights"):
        load_boards(ledger, Question("quantization", "x"))
    boards = load_boards(ledger, Question("pruning"))
    with pytest.raises(BadQuestion, match="sparsity_auc, accuracy_at_90"):
        leaderboard("pruning", boards, metric="x")
    with pytest.raises(BadQuestion, match="rank, method, params"):
        leaderboard("pruning", boards, columns=["x"])


def test_third_parties_can_add_a_column(ledger: Ledger) -> None:
    add_column(
        BoardColumn(
            "middle",
            "middle {metric}",
            lambda s, entries: [Cell(f"{m:.3f}", float(m)) for m in np.nanmedian(s.matrix[entries], axis=1)],
            "right",
        )
    )
    try:
        with pytest.raises(BadQuestion, match="another key"):
            add_column(COLUMNS["middle"])
        [board] = load_boards(ledger, Question("pruning"))
        table = board_table(standing(board), columns=["method", "middle"])
        assert [column.title for column in table.columns] == ["method", "middle sparsity_auc"]
        assert table.rows[0].cells[1].value == pytest.approx(np.median(standing(board).matrix, axis=1).max())
    finally:
        del COLUMNS["middle"]


def test_differences_from_a_baseline_are_paired_t_tests_of_scipy_with_holm(ledger: Ledger) -> None:
    boards = load_boards(ledger, Question("robust_training"))
    table = leaderboard("robust_training", boards, baseline="pgd").tables()[0]
    matrix, names = boards[0].values["robust_accuracy"], [entry.method for entry in boards[0].entries]
    base = names.index("robust_training/pgd")
    tests = {at: ss.ttest_rel(matrix[at], matrix[base]) for at in range(len(names)) if at != base}
    p = multiplicity.holm(np.array([tests[at].pvalue for at in tests]))
    for row in table.rows:
        method_cell, cell = row.cells[1], row.cells[-1]
        at = next(number for number, entry in enumerate(boards[0].entries) if entry.label == method_cell.text)
        if at == base:
            assert cell.text == "baseline"
            continue
        interval = tests[at].confidence_interval(0.95)
        assert (cell.low, cell.high) == pytest.approx((interval.low, interval.high))
        assert cell.text.endswith("*") == (p[list(tests).index(at)] < 0.05)
    with pytest.raises(BadQuestion, match=r"3 configurations .*rtn:NAME=VALUE"):
        leaderboard("quantization", load_boards(ledger, Question("quantization")), baseline="rtn")
    assert leaderboard("quantization", load_boards(ledger, Question("quantization")), baseline="rtn:bits=4").tables()


def test_since_keeps_trials_that_finished_later(ledger: Ledger) -> None:
    assert load_boards(ledger, Question("pruning", only=Filter(since="2026-11-23")))[0].seeds == [0, 1, 2, 3, 4]
    with pytest.raises(NothingToReport, match="No trial of pruning fulfils finished since 2026-11-24"):
        load_boards(ledger, Question("pruning", only=Filter(since="2026-11-24")))
    with pytest.raises(BadQuestion, match="not a date"):
        load_boards(ledger, Question("pruning", only=Filter(since="yesterday")))


def test_cell_ids_are_stable_over_ledgers_and_differ_between_cells(ledger: Ledger) -> None:
    [board] = load_boards(ledger, Question("pruning"))
    ids = {board.coordinates(at, name).short_id() for at in range(len(board.entries)) for name in board.metrics}
    assert len(ids) == len(board.entries) * len(board.metrics)
    assert (
        board.coordinates(0, "sparsity_auc").short_id()
        == load_boards(ledger, Question("pruning"))[0].coordinates(0, "sparsity_auc").short_id()
    )


def test_two_methods_with_the_same_label_are_kept_apart(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [1.0, 2.0], "b": [1.0, 2.5]})
    empty_ledger.write_catalogue(Catalogue(methods=[method("toy/a", "Same"), method("toy/b", "Same")]))
    [board] = load_boards(empty_ledger, Question("toy"))
    assert {entry.label for entry in board.entries} == {"Same [toy/a]", "Same [toy/b]"}


def test_importing_reports_loads_neither_torch_nor_ray_nor_scipy_stats() -> None:
    import subprocess

    code = "import sys, reports.report, reports.files, reports.render.terminal; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "ray", "pandas", "scipy", "tasks", "harness", "matplotlib"} & set(json.loads(loaded.replace("'", '"')))


@pytest.mark.parametrize(("family", "near"), [("quantization", "bits_per_weight"), ("robust_training", "clean_accuracy")])
def test_the_metric_that_entries_also_differ_in_stands_beside_the_primary(ledger: Ledger, family: str, near: str) -> None:
    boards = load_boards(ledger, Question(family))
    for all_metrics in (False, True):
        keys = [column.key for column in leaderboard(family, boards, all_metrics=all_metrics).tables()[0].columns]
        assert keys.index(near) == keys.index("interval") + 1
        assert keys.count(near) == 1
    keys = [column.key for column in leaderboard(family, boards, columns=["method", "mean"]).tables()[0].columns]
    assert keys == ["method", "mean"]
    assert near not in [column.key for column in leaderboard(family, boards, metric=near).tables()[0].columns]


def test_filters_by_tag_and_comparison_give_cells_whose_sql_selects_only_what_was_used(empty_ledger: Ledger) -> None:
    """Two runs, one tagged: its leaderboard, its claims page and its SQL know nothing of the other run's seeds."""
    from dataclasses import replace

    from sample_ledger import ENVIRONMENT, trial_of

    from db.records import Run
    from reports.report import report

    toy(empty_ledger, {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    mine = [trial_of(Result(TASK, f"toy/{name}", seed)) for name in "ab" for seed in (0, 1)]
    empty_ledger.start_run(Run("tagged", "s", "", "inline", [], 4, tags=("paper",)), ENVIRONMENT)
    empty_ledger.submit("tagged", mine)
    only = Filter(tags=("paper",))
    [board] = load_boards(empty_ledger, Question("toy", only=only))
    assert board.seeds == [0, 1]
    table = board_table(standing(board))
    sql = f"SELECT value FROM scores WHERE {table.where} AND {table.rows[0].where} AND metric = 'loss' ORDER BY seed"
    assert empty_ledger.query(sql).column(0).to_pylist() == [1.0, 2.0]
    assert any("tag paper" in note for note in table.notes)
    document = report(empty_ledger, narrow=replace(only, where=("seed<1",)))
    assert dict(document.facts)["only"] == "seed<1 and tag paper"
    assert {row["run"] for row in empty_ledger.query("SELECT run FROM tags").to_pylist()} == {"tagged"}
    with pytest.raises(BadQuestion, match="tags here: paper"):
        load_boards(empty_ledger, Question("toy", only=Filter(tags=("other",))))


@pytest.mark.parametrize(("condition", "left"), [("seed>=1", [1, 2]), ("seed!=1", [0, 2]), ("seed<1", [0])])
def test_where_compares_numbers(empty_ledger: Ledger, condition: str, left: list[int]) -> None:
    toy(empty_ledger, {"a": [1.0, 2.0, 3.0]})
    assert load_boards(empty_ledger, Question("toy", only=Filter(where=(condition,))))[0].seeds == left


def test_a_column_may_be_any_metric_and_shows_its_interval(ledger: Ledger) -> None:
    boards = load_boards(ledger, Question("calibration"))
    table = leaderboard("calibration", boards, columns=["method", "nll", "median", "worst", "sd", "iqm"]).tables()[0]
    assert [column.title for column in table.columns] == ["method", "nll ↓", "median", "max", "sd", "IQM"]
    matrix = boards[0].values["ece"]
    by_label = {entry.label: at for at, entry in enumerate(boards[0].entries)}
    for row in table.rows:
        values = matrix[by_label[row.cells[0].text]]
        want = [np.median(values), values.max(), values.std(ddof=1), ss.trim_mean(np.repeat(values, 4), 0.25)]
        assert [cell.value for cell in row.cells[2:]] == pytest.approx(want)
    with pytest.raises(BadQuestion, match="metrics: ece, "):
        leaderboard("calibration", boards, columns=["nope"])


def test_columns_come_from_a_file_and_a_broken_one_is_named(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    lines = [
        "import numpy as np",
        "from reports.column_statistics import statistic_cells",
        "from reports.columns import BoardColumn",
        'RANGE = BoardColumn("range", "range", statistic_cells(np.ptp), "right", "Largest minus smallest value over seeds.")',
    ]
    path.write_text("\n".join(lines))
    assert load_file(path) == ["range"]
    try:
        boards = load_boards(ledger, Question("pruning"))
        table = leaderboard("pruning", boards, columns=["method", "range"]).tables()[0]
        assert max(row.cells[1].value for row in table.rows) == pytest.approx(np.ptp(boards[0].values["sparsity_auc"], axis=1).max())
    finally:
        del COLUMNS["range"]
    path.write_text("1 / 0")
    with pytest.raises(BadQuestion, match="ZeroDivisionError"):
        load_file(path)
    with pytest.raises(BadQuestion, match="no such Python file"):
        load_file(tmp_path / "none.py")


def test_what_methods_are_told_is_shown_in_every_format_as_soon_as_one_is_told_something(empty_ledger: Ledger) -> None:
    from reports.render import data, latex, markdown

    toy(empty_ledger, {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    [board] = load_boards(empty_ledger, Question("toy"))
    assert "knowledge" not in [column.key for column in board_table(standing(board)).columns]
    empty_ledger.write_catalogue(Catalogue(methods=[MethodRow("toy/a", "toy", 1, "A", "", None, ("horizon", "gap"), {})]))
    document = leaderboard("toy", load_boards(empty_ledger, Question("toy")))
    for text in (data.render_csv(document.tables()), data.render_json(document), markdown.render(document), latex.render(document)):
        assert "horizon, gap" in text


def test_named_settings_are_shown_where_task_and_params_are_theirs(empty_ledger: Ledger) -> None:
    toy(empty_ledger, {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    [board] = load_boards(empty_ledger, Question("toy"))
    assert "settings" not in [column.key for column in board_table(standing(board)).columns]
    own, other = json.loads(board.task_params), {"elsewhere": 1}
    settings = [
        {"name": "theory", "task": board.task, "task_params": own, "params": json.loads(board.entries[0].params)},
        {"name": "tuned", "task": board.task, "task_params": other, "params": json.loads(board.entries[0].params)},
        {"name": "tuned", "task": board.task, "task_params": own, "params": {"other": 2}},
    ]
    row = MethodRow(board.entries[0].method, "toy", 1, "A", "", None, (), {"x-settings": settings})
    empty_ledger.write_catalogue(Catalogue(methods=[row]))
    [board] = load_boards(empty_ledger, Question("toy"))
    assert [entry.settings for entry in board.entries] == [("theory",), ()]
    table = board_table(standing(board))
    at = [column.key for column in table.columns].index("settings")
    assert {row.cells[at].text for row in table.rows} == {"theory", "none to set"}


def test_the_front_marks_what_no_other_entry_beats_in_all_metrics(ledger: Ledger) -> None:
    [board] = load_boards(ledger, Question("quantization"))
    table = board_table(standing(board))
    at = [column.key for column in table.columns].index("front")
    loss, size = (np.nanmean(board.values[name], axis=1) for name in ("bits_per_byte_increase", "bits_per_weight"))
    count = range(len(board.entries))
    front = {e for e in count if not any(loss[o] <= loss[e] and size[o] <= size[e] and o != e for o in count)}
    marked = {e for e, row in zip(standing(board).order, table.rows, strict=True) if row.cells[at].text}
    assert marked == front


@pytest.mark.parametrize(
    ("known", "shown"), [(("bits_per_weight", "linear_cost"), "linear_cost"), (("compressed_share",), "compressed_share")]
)
def test_what_a_compressed_entry_costs_stands_beside_its_quality(empty_ledger: Ledger, known: tuple[str, ...], shown: str) -> None:
    """The uncompressed entry is the most accurate one; it shares the front with the cheap one, and the first place has a price."""
    name = "quantization/toy"
    metrics = [metric(name, "accuracy", "higher", primary=True), *(metric(name, one, "lower") for one in known)]
    catalogue = Catalogue(tasks=[task(name, "Toy", metrics)], methods=[method(f"quantization/{one}", one) for one in "abc"])
    values = {"a": (0.9, 16.0), "b": (0.8, 4.0), "c": (0.7, 8.0)}
    fill(
        empty_ledger,
        catalogue,
        [
            Result(name, f"quantization/{one}", seed, {"accuracy": accuracy + seed / 1000, **dict.fromkeys(known, cost)})
            for one, (accuracy, cost) in values.items()
            for seed in range(5)
        ],
    )
    [board] = load_boards(empty_ledger, Question("quantization"))
    table = board_table(standing(board))
    keys = [column.key for column in table.columns]
    assert [key for key in keys if key in ("bits_per_weight", "linear_cost", "compressed_share")] == [shown]
    at = keys.index("front")
    assert {row.cells[keys.index("method")].text for row in table.rows if row.cells[at].text} == {"a", "b"}


def test_weights_of_tasks_change_ranks_elo_and_say_so(empty_ledger: Ledger) -> None:
    """Method a wins on one task, b on two: with weight 3 on the first, a leads. The test keeps every task once."""
    names = [f"toy/t{at}" for at in range(3)]
    catalogue = Catalogue(
        tasks=[task(name, name, [metric(name, "loss", "lower", primary=True)]) for name in names],
        methods=[method(f"toy/{one}", one) for one in "abc"],
    )
    means = {"a": (1.0, 2.0, 2.0), "b": (2.0, 1.0, 1.0), "c": (3.0, 3.0, 3.0)}
    fill(
        empty_ledger,
        catalogue,
        [
            Result(name, f"toy/{one}", seed, {"loss": means[one][at] + 0.01 * seed})
            for at, name in enumerate(names)
            for one in "abc"
            for seed in range(5)
        ],
    )
    boards = load_boards(empty_ledger, Question("toy"))

    def first(weights: dict[str, float]) -> tuple[str, list[float], str]:
        table = leaderboard("toy", boards, weights=weights).tables()[-1]
        return table.rows[0].cells[0].text, [row.cells[1].value for row in table.rows], " ".join(table.notes)

    assert first({})[0] == "b"
    name, ranks, notes = first({"t0": 3.0})
    assert (name, ranks) == ("a", pytest.approx([7 / 5, 8 / 5, 3.0]))
    assert "t0 3" in notes
    assert "the test and the critical difference are not" in notes
    with pytest.raises(BadQuestion, match="no results here; tasks: t0, t1, t2"):
        first({"x": 1.0})
    with pytest.raises(BadQuestion, match="from 0 upwards"):
        first({"t0": -1.0})
