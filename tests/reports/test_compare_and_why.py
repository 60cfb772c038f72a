"""Comparisons of methods, commits, machines and ledgers with known changes; the gate's exit codes; cells resolved from ids."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats as ss
from sample_ledger import ENVIRONMENT, NOW, Result, fill, method, metric, task, trial_of
from typer.testing import CliRunner

from db import open_ledger
from db.ledger import Ledger
from db.records import Attempt, Catalogue, Environment, Run
from reports.boards import Question, load_boards
from reports.compare import compare, comparison_document, regressions
from reports.document import Document
from reports.errors import BadQuestion, NothingToReport, NotPaired
from reports.leaderboard import leaderboard
from reports.questions import Filter
from reports.standings import Policy, standing
from reports.why import find, why

TASK = "toy/t"
CATALOGUE = Catalogue(
    tasks=[task(TASK, "Toy", [metric(TASK, "loss", "lower", primary=True), metric(TASK, "seconds", "lower", "s")])],
    methods=[method(f"toy/{name}", name) for name in "ab"],
)
RNG = np.random.default_rng(5)
LOSS = {name: RNG.normal(1.0, 0.1, 10) for name in "ab"}


def results(shift: float = 0.0, slower: float = 1.0, session: float = 1.0) -> list[Result]:
    return [
        Result(
            TASK,
            f"toy/{name}",
            seed,
            {"loss": float(LOSS[name][seed] + shift * (name == "b")), "seconds": slower * session * (1 + 0.001 * seed)},
        )
        for name in "ab"
        for seed in range(10)
    ]


def rerun(ledger: Ledger, run: str, commit: str, host: str, of: list[Result]) -> None:
    """Record the same trials again, as another commit on another machine would: replicates."""
    content = {**ENVIRONMENT.content, "git": {"commit": commit, "dirty": False}, "hostname": host}
    environment = Environment(hashlib.sha256((commit + host).encode()).hexdigest(), content)
    ledger.write_catalogue(CATALOGUE)
    ledger.start_run(Run(run, "s", "", "inline", [], len(of)), environment)
    trials = [trial_of(result) for result in of]
    ledger.submit(run, trials)
    ledger.record(
        [
            Attempt(f"{run}-{trial.key[:20]}", trial.key, run, "ok", NOW, NOW, 1.0, 1.0, "w", environment.hash, result.metrics)
            for trial, result in zip(trials, of, strict=True)
        ],
        [environment],
    )


def test_two_methods_are_compared_by_a_paired_t_test_like_scipy(empty_ledger: Ledger) -> None:
    fill(empty_ledger, CATALOGUE, results(shift=0.2))
    found = compare(empty_ledger, "a", "toy/b", metric="loss")
    [change] = found.changes
    want = ss.ttest_rel(LOSS["b"] + 0.2, LOSS["a"])
    assert (change.p, change.n) == (pytest.approx(want.pvalue, rel=1e-9), 10)
    assert change.effect == pytest.approx(float(np.mean(LOSS["b"] + 0.2 - LOSS["a"])))


def test_only_what_changed_between_commits_is_shown_and_worse_is_told_from_better(empty_ledger: Ledger) -> None:
    rerun(empty_ledger, "one", "aaaa1111", "north", results())
    rerun(empty_ledger, "two", "bbbb2222", "south", results(shift=0.05))
    for a, b in (("aaaa", "bbbb"), ("north", "south")):
        found = compare(empty_ledger, a, b)
        assert found.by == ("commit" if a == "aaaa" else "machine")
        changed = [change for change in found.changes if change.changed]
        assert [(change.group[3], change.group[-1], change.worse) for change in changed] == [("toy/b", "loss", True)]
        [row] = comparison_document(found).tables()[0].rows
        assert row.cells[6].text == f"+{0.05 / LOSS['b'].mean():.1%}"
        assert len(row.trials) == 10
        assert not [change for change in compare(empty_ledger, b, a).changes if change.worse]


def test_times_are_judged_by_sessions_not_by_seeds(empty_ledger: Ledger) -> None:
    # Each session is 10 % off as a whole: seeds within a session would call that a change, sessions don't.
    for at, session in enumerate((1.0, 1.1, 0.9)):
        rerun(
            empty_ledger,
            f"one{at}",
            "aaaa1111",
            f"h{at}",
            [dataclasses.replace(r, method_params={"k": at}) for r in results(session=session)],
        )
    for at, session in enumerate((1.12, 1.0, 1.15)):
        rerun(
            empty_ledger,
            f"two{at}",
            "bbbb2222",
            f"h{at}",
            [dataclasses.replace(r, method_params={"k": at}) for r in results(session=session)],
        )
    found = compare(empty_ledger, "aaaa", "bbbb", metric="seconds")
    assert not found.changes
    assert len(found.too_few) == 6  # one session per side and configuration: nobody can say


def test_times_of_several_sessions_use_welch_on_logs_like_scipy(empty_ledger: Ledger, tmp_path: Path) -> None:
    paths = []
    for name, slow in (("x", 1.0), ("y", 1.5)):
        paths.append(str(tmp_path / f"{name}.db"))
        with open_ledger(paths[-1], create=True) as ledger:
            for at, session in enumerate((1.0, 1.05, 0.95)):
                seeds = [r for r in results(slower=slow, session=session) if r.seed % 3 == at]
                rerun(ledger, f"{name}{at}", "aaaa1111", "h", seeds)
    with open_ledger(paths[0], read_only=True) as ledger:
        found = compare(ledger, *paths, other=lambda url: open_ledger(url, read_only=True), metric="seconds")
    logs = [
        [
            np.mean(np.log([slow * session * (1 + 0.001 * seed) for seed in range(10) if seed % 3 == at]))
            for at, session in enumerate((1, 1.05, 0.95))
        ]
        for slow in (1.0, 1.5)
    ]
    want = ss.ttest_ind(logs[1], logs[0], equal_var=False).pvalue
    assert found.changes[0].p == pytest.approx(want, rel=1e-6)
    assert found.changes[0].worse
    assert found.changes[0].relative == pytest.approx(0.5, rel=1e-6)


def test_what_cannot_be_compared_says_so(empty_ledger: Ledger) -> None:
    fill(empty_ledger, CATALOGUE, results())
    with pytest.raises(BadQuestion, match="not both ledgers, methods, commits or machines"):
        compare(empty_ledger, "a", "nobody")
    fill(empty_ledger, Catalogue(), [Result("toy/other", "toy/lonely", 0, {"loss": 1.0})], "second")
    with pytest.raises(NotPaired, match="in common"):
        compare(empty_ledger, "a", "lonely")
    fill(empty_ledger, Catalogue(), [Result(TASK, "toy/a", 0, {"loss": 1.0}, method_params={"bits": bits}) for bits in (2, 3)], "third")
    with pytest.raises(BadQuestion, match="configurations"):
        compare(empty_ledger, "a", "b")
    assert len(compare(empty_ledger, "a:bits=2", "a:bits=3").too_few) == 1


def test_comparisons_are_narrowed_by_params_seeds_and_tags(empty_ledger: Ledger) -> None:
    rerun(empty_ledger, "one", "aaaa1111", "h", results())
    rerun(empty_ledger, "two", "bbbb2222", "h2", results(shift=0.05))
    found = compare(empty_ledger, "aaaa", "bbbb", metric="loss", only=Filter(where=("method=b", "seed<6")))
    assert [(change.group[3], change.n) for change in found.changes] == [("toy/b", 6)]
    with pytest.raises(NothingToReport, match="aaaa"):
        compare(empty_ledger, "aaaa", "bbbb", only=Filter(where=("seed>99",)))
    with pytest.raises(BadQuestion, match="No run of this ledger has the tag"):
        compare(empty_ledger, "aaaa", "bbbb", only=Filter(tags=("nobody",)))


def failing(ledger: Ledger, run: str, commit: str, of: list[Result]) -> None:
    """Record attempts of another commit that ended without a result."""
    environment = Environment(commit.encode().hex().ljust(64, "0"), {**ENVIRONMENT.content, "git": {"commit": commit, "dirty": False}})
    ledger.start_run(Run(run, "s", "", "inline", [], len(of)), environment)
    ledger.record(
        [
            Attempt(f"{run}{n}", trial_of(r).key, run, "error", NOW, NOW, 1.0, 1.0, "w", environment.hash, error="ValueError: no")
            for n, r in enumerate(of)
        ],
        [environment],
    )


def test_results_that_head_lost_are_a_regression(tmp_path: Path) -> None:
    """Head fails where base had results, or measures what is not finite: fewer pairs must not look like no regression."""
    path = str(tmp_path / "lost.db")
    with open_ledger(path, create=True) as ledger:
        rerun(ledger, "one", "aaaa1111", "h", results())
        rerun(ledger, "two", "bbbb2222", "h", [r for r in results() if r.method == "toy/a"])
        failing(ledger, "three", "bbbb2222", [r for r in results() if r.method == "toy/b"])
        odd = [dataclasses.replace(r, metrics={**r.metrics, "loss": float("nan")}) for r in results() if r.seed < 3]
        rerun(ledger, "four", "cccc3333", "h", odd)
        found = compare(ledger, "aaaa", "bbbb")
        assert [(one.method, one.metric, len(one.seeds), one.outcome) for one in found.lost] == [("toy/b", "", 10, "error")]
        assert comparison_document(found).tables()[-1].id == "lost"
        found = compare(ledger, "aaaa", "cccc")
        assert [(one.method, one.metric, one.seeds) for one in found.lost] == [("toy/a", "loss", (0, 1, 2)), ("toy/b", "loss", (0, 1, 2))]
        assert compare(ledger, "bbbb", "aaaa").lost == ()
    for head in ("bbbb", "cccc"):
        code, text = invoke("gate", "--base", "aaaa", "--head", head, "--db", path)
        assert (code, "results lost" in text) == (4, True)


def test_gate_understands_what_git_calls_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@e"]
    subprocess.run([*git, "init", "-q"], check=True)
    for text in ("one", "two"):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", text], check=True)
    hashes = subprocess.run([*git, "rev-list", "HEAD"], capture_output=True, text=True, check=True).stdout.split()
    path = str(tmp_path / "refs.db")
    with open_ledger(path, create=True) as ledger:
        rerun(ledger, "one", hashes[1], "h", results())
        rerun(ledger, "two", hashes[0], "h", results(shift=0.05))
    monkeypatch.chdir(tmp_path)
    code, text = invoke("gate", "--base", "HEAD~1", "--head", "HEAD", "--db", path)
    assert (code, f"1 regression from {hashes[1]} to {hashes[0]}" in text) == (4, True)
    assert invoke("gate", "--base", "nowhere", "--head", "HEAD", "--db", path)[0] not in (0, 4)


def test_gate_counts_pairs_of_the_metrics_it_judges(two_commits: str) -> None:
    """Twenty pairs of the loss; those of other metrics don't count towards --min-pairs."""
    gate = ("gate", "--base", "bbbb", "--head", "aaaa", "--db", two_commits)
    assert invoke(*gate, "--min-pairs", "20")[0] == 0
    assert invoke(*gate, "--min-pairs", "21")[0] == 1
    assert invoke(*gate, "--where", "seed<4", "--min-pairs", "8")[0] == 0
    assert invoke(*gate, "--by", "method")[0] != 0


def test_a_configuration_is_named_by_params_in_either_spelling(empty_ledger: Ledger) -> None:
    params = [{"exact": flag, "rate": rate} for flag in (True, False) for rate in (3.0, 0.5)]
    fill(
        empty_ledger,
        CATALOGUE,
        [Result(TASK, "toy/a", seed, {"loss": n + seed / 10}, method_params=one) for n, one in enumerate(params) for seed in range(4)],
    )
    for a in ("a:exact=true,rate=3", "a:exact=True,rate=3.0"):
        [change] = compare(empty_ledger, a, "a:exact=false,rate=0.5").changes
        assert change.effect == pytest.approx(3.0)
    with pytest.raises(BadQuestion, match=r"'a:exact=maybe' is no configuration with results here; there are exact=false rate=0.5; "):
        compare(empty_ledger, "a:exact=maybe", "a:exact=false,rate=3")


def test_regressions_respect_metrics_and_tolerance(empty_ledger: Ledger) -> None:
    rerun(empty_ledger, "one", "aaaa1111", "h", results())
    rerun(empty_ledger, "two", "bbbb2222", "h2", results(shift=0.05))
    found = compare(empty_ledger, "aaaa", "bbbb")
    assert len(regressions(found, [(TASK, "loss")], 0.0)) == 1
    assert regressions(found, [(TASK, "seconds")], 0.0) == []
    assert regressions(found, [(TASK, "loss")], 0.2) == []


@pytest.fixture
def two_commits(tmp_path: Path) -> str:
    path = str(tmp_path / "two.db")
    with open_ledger(path, create=True) as ledger:
        rerun(ledger, "one", "aaaa1111", "h", results())
        rerun(ledger, "two", "bbbb2222", "h2", results(shift=0.05))
    return path


def invoke(*args: str) -> tuple[int, str]:
    from harness.cli import app

    found = CliRunner().invoke(app, list(args))
    return found.exit_code, found.output


def test_gate_exits_4_on_a_regression_0_without_and_1_when_it_saw_too_little(two_commits: str) -> None:
    assert invoke("gate", "--base", "aaaa", "--head", "bbbb", "--db", two_commits)[0] == 4
    assert invoke("gate", "--base", "bbbb", "--head", "aaaa", "--db", two_commits)[0] == 0
    code, text = invoke("gate", "--base", "bbbb", "--head", "aaaa", "--min-pairs", "1000", "--db", two_commits)
    assert (code, "fewer than the 1000" in text) == (1, True)


def test_gate_prints_json_for_scripts(two_commits: str) -> None:
    from harness.cli import app

    found = CliRunner().invoke(app, ["gate", "--base", "aaaa", "--head", "bbbb", "--json", "--db", two_commits])
    assert found.exit_code == 4
    assert json.loads(found.stdout)["title"] == "Compare by commit"


def test_compare_command_prints_json(two_commits: str) -> None:
    code, text = invoke("compare", "aaaa", "bbbb", "--json", "--db", two_commits)
    assert code == 0
    assert "1 changed, 1 for the worse" in text


def test_why_resolves_every_cell_of_a_board_and_shows_the_same_mean(ledger: Ledger) -> None:
    [board] = load_boards(ledger, Question("robust_training"))
    table = standing(board).table
    for at in range(len(board.entries)):
        place = board.coordinates(at, "robust_accuracy")
        assert find(ledger, place.short_id()) == place
        document = why(ledger, place.short_id()[:8])
        facts = dict(document.sections[0].blocks[0].items)  # type: ignore[union-attr]
        assert facts["mean"].startswith(f"{table.mean[at]:.6g}, 95 % interval [{table.low[at]:.6g}")
        assert {row.trials[0] for row in document.tables()[0].rows} == set(board.trial_keys(at))


def printed(document: Document) -> dict[str, tuple[str, float]]:
    """Cell ids with the option string of their table and the number printed."""
    return {
        cell.id: (table.options, float(cell.value))
        for table in document.tables()
        for row in table.rows
        for cell in row.cells
        if cell.id and isinstance(cell.value, float)
    }


@pytest.mark.parametrize(
    ("only", "policy"),
    [
        (Filter(), "worst"),
        (Filter(), "impute"),
        (Filter(where=("seed<3",)), "drop"),
        (Filter(where=("seed<3", "method=a")), "impute"),
        (Filter(tags=("nightly",)), "drop"),
        (Filter(since="2026-11-23"), "worst"),
    ],
)
def test_a_cell_id_leads_to_the_number_it_was_printed_with(empty_ledger: Ledger, tmp_path: Path, only: Filter, policy: Policy) -> None:
    """Filters and policies for missing results change a number: its id is then another one, which `assay why` resolves with the same."""
    fill(empty_ledger, CATALOGUE, [r if r.seed != 2 or r.method != "toy/a" else dataclasses.replace(r, metrics={}) for r in results()])
    empty_ledger.start_run(Run("tagged", "s", "", "inline", [], 8, tags=("nightly",)), ENVIRONMENT)
    empty_ledger.submit("tagged", [trial_of(r) for r in results() if r.seed < 4])
    empty_ledger.finish_run("tagged", "complete")
    cells = printed(leaderboard("toy", load_boards(empty_ledger, Question("toy", only=only)), policy=policy, all_metrics=True))
    assert cells
    everything = printed(leaderboard("toy", load_boards(empty_ledger, Question("toy"))))
    for ident, (options, value) in cells.items():
        found = why(empty_ledger, ident, only, policy)
        mean = float(dict(found.sections[0].blocks[0].items)["mean"].split(",")[0])  # type: ignore[union-attr]
        assert mean == pytest.approx(value, rel=1e-5)
        code, text = invoke("why", ident, *shlex.split(options), "--db", str(tmp_path / "fresh.db"))
        assert (code, f"{mean:.6g}" in text) == (0, True)
        if ident in everything:
            assert everything[ident][1] == pytest.approx(value), "one id for two numbers"


def test_a_cell_of_a_narrowed_report_asks_for_its_options(empty_ledger: Ledger) -> None:
    fill(empty_ledger, CATALOGUE, results())
    [ranked] = [standing(board) for board in load_boards(empty_ledger, Question("toy", only=Filter(where=("seed<3",))))]
    with pytest.raises(BadQuestion, match="Give the same options"):
        why(empty_ledger, ranked.cell(0).short_id())


def test_why_refuses_what_is_not_an_id(ledger: Ledger) -> None:
    with pytest.raises(BadQuestion, match="hexadecimal"):
        why(ledger, "mean of rtn")
    with pytest.raises(BadQuestion, match="No cell"):
        why(ledger, "0123456789ab")


def test_commands_that_read_import_neither_torch_nor_ray(sample_path: Path) -> None:
    code = (
        "import sys; from harness.cli import app; from typer.testing import CliRunner\n"
        f"for args in (['leaderboard', 'pruning'], ['report', '--out', {str(sample_path.parent / 'r')!r}], ['why', '0123456789ab']):\n"
        f"    CliRunner().invoke(app, [*args, '--db', {str(sample_path)!r}])\n"
        "print([name for name in ('torch', 'ray', 'sklearn', 'scipy.stats') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
