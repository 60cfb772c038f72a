"""The pages besides families, LaTeX, and reports of 500 methods on 50 tasks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sample_ledger import CLAIM, Result, claim_row, fill, method, metric, sample, task

from db import open_ledger
from db.ledger import Ledger
from db.records import Attempt, Catalogue, Run
from reports.boards import Board, Entry, Metric, Question, load_boards
from reports.document import Document, Section, walk
from reports.errors import BadQuestion, NothingToReport
from reports.html import render as render_html
from reports.leaderboard import board_table, leaderboard
from reports.questions import Filter
from reports.render import latex
from reports.report import report
from reports.standings import standing


def part(document: Document, anchor: str) -> Section:
    return next(section for section in walk(document.sections) if section.anchor == anchor)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    ledger = sample(tmp_path_factory.mktemp("pages") / "pages.db")
    ledger.write_catalogue(Catalogue(claims=[claim_row(CLAIM, "robust_training")]))
    made = report(ledger)
    ledger.close()
    return made


def test_every_link_inside_the_page_has_a_target_and_ids_are_unique(document: Document) -> None:
    page = render_html(document)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert len(links) > 30
    assert links <= set(ids)


def test_method_pages_hold_params_paper_and_results_on_every_task(document: Document) -> None:
    section = part(document, "method-quantization-2f-higgs")
    tables = [block for block in section.blocks if hasattr(block, "rows")]
    assert [row.cells[1].text for row in tables[-1].rows] == ["bits=4", "bits=3", "bits=2"]
    facts = dict(section.blocks[0].items)  # type: ignore[union-attr]
    assert facts["paper"] == "6, Pushing the limits of LLM quantization"


def test_task_pages_list_metrics_with_units_and_directions(document: Document) -> None:
    table = part(document, "task-calibration-2f-digits-noisy").blocks[-1]
    assert [row.cells[0].text for row in table.rows][0] == "ece"  # type: ignore[union-attr] # noqa: RUF015
    assert "bin" in {row.cells[3].text for row in table.rows}  # type: ignore[union-attr]


def test_failures_page_groups_trials_and_shows_a_traceback(document: Document) -> None:
    section = part(document, "failures-page")
    [row] = section.blocks[0].rows  # type: ignore[union-attr]
    assert [cell.text for cell in row.cells][2:6] == ["error", "1", "1", "ValueError: it broke"]
    assert "Traceback" in section.blocks[1].text  # type: ignore[union-attr]


def test_runs_page_shows_status_and_cost(document: Document) -> None:
    rows = part(document, "runs").blocks[0].rows  # type: ignore[union-attr]
    assert len(rows) == 5
    assert {row.cells[4].text for row in rows} == {"complete"}
    assert sum(row.cells[7].value for row in rows) == 1  # type: ignore[misc]


def test_claims_page_links_to_the_explanation_with_data_and_sql(document: Document, tmp_path: Path) -> None:
    page = part(document, "claims")
    [family] = page.sections
    [row] = family.blocks[0].rows  # type: ignore[union-attr]
    assert row.cells[3].text == "supported"
    assert row.cells[0].href == "#claim-trades-beats-standard"
    blocks = family.sections[0].blocks
    sql, data = blocks[-1].text, blocks[-2]  # type: ignore[union-attr]
    with sample(tmp_path / "again.db") as ledger:
        found = {r["trial"] for r in ledger.query(sql).to_pylist()}
    assert found == {key for one in data.rows for key in one.trials}  # type: ignore[union-attr]


def test_a_condition_on_a_param_of_one_family_narrows_the_report_to_it(ledger: Ledger) -> None:
    found = report(ledger, narrow=Filter(where=("bits=4",)))
    assert [one.title for one in found.sections if one.kind == "Families"] == ["Quantization"]
    with pytest.raises(BadQuestion, match="no param is called 'bitz'"):
        report(ledger, narrow=Filter(where=("bitz=4",)))
    with pytest.raises(NothingToReport, match="fulfils bits=99"):
        report(ledger, narrow=Filter(where=("bits=99",)))


def test_the_overview_counts_verdicts_without_controls(tmp_path: Path) -> None:
    with sample(tmp_path / "claims.db") as filled:
        control = {**CLAIM, "id": "control", "a": CLAIM["b"], "b": CLAIM["a"], "control": True}
        filled.write_catalogue(Catalogue(claims=[claim_row(one, "robust_training") for one in (CLAIM, control)]))
        [table] = [one for one in report(filled).tables() if one.id == "verdict-counts"]
    assert {column.key: cell.text for column, cell in zip(table.columns, table.rows[0].cells, strict=True)} == {
        "family": "Robust training",
        "supported": "1",
        "controls": "1",
    }


def test_values_that_did_not_repeat_are_reported(empty_ledger: Ledger) -> None:
    from sample_ledger import ENVIRONMENT, NOW, trial_of

    name = "toy/t"
    results = [Result(name, "toy/a", seed, {"loss": 1.0, "seconds": 1.0}) for seed in range(2)]
    metrics = [metric(name, "loss", "lower", primary=True), metric(name, "seconds", "lower", "s")]
    fill(empty_ledger, Catalogue(tasks=[task(name, "Toy", metrics)], methods=[method("toy/a", "A")]), results)
    empty_ledger.start_run(Run("again", "s", "", "inline", [], 2), ENVIRONMENT)
    again = [{"loss": 1.0, "seconds": 3.0}, {"loss": 1.25, "seconds": 3.0}]
    empty_ledger.record(
        [
            Attempt(f"again{r.seed}", trial_of(r).key, "again", "ok", NOW, NOW, 1, 1, "w", ENVIRONMENT.hash, values)
            for r, values in zip(results, again, strict=True)
        ]
    )
    section = part(report(empty_ledger), "failures-page")
    [row] = section.blocks[0].rows  # type: ignore[union-attr]
    assert [cell.text for cell in row.cells] == ["toy/t", "toy/a", "loss", "1", "1", "1.25"]


def test_a_report_of_an_empty_ledger_says_what_to_do(empty_ledger: Ledger) -> None:
    assert "assay run quickstart" in render_html(report(empty_ledger))


def test_a_policy_changes_the_report(empty_ledger: Ledger) -> None:
    name = "toy/t"
    fill(
        empty_ledger,
        Catalogue(tasks=[task(name, "Toy", [metric(name, "loss", "lower", primary=True)])]),
        [Result(name, "toy/a", seed, {} if seed == 0 else {"loss": 1.0}) for seed in range(3)]
        + [Result(name, "toy/b", seed, {"loss": 2.0}) for seed in range(3)],
    )
    texts = [render_html(report(empty_ledger, policy=policy)) for policy in ("drop", "worst")]
    assert "1.3333" not in texts[0]
    assert "1.33" in texts[1]


def big(methods: int, tasks: int, seeds: int = 5) -> list[Board]:
    """Boards in memory, as `load_boards` makes them."""
    rng = np.random.default_rng(0)
    entries = [
        Entry(f"fam/method-{at:03d}", 1, json.dumps({"alpha": 0.1, "bits": at % 4}), f"Method {at}", "", None, ()) for at in range(methods)
    ]
    out = []
    for number in range(tasks):
        values = rng.normal(size=(methods, seeds)) + np.arange(methods)[:, None] / 50
        keys = np.array(
            [[f"{number:02d}{at:04d}{seed:02d}".ljust(64, "0") for seed in range(seeds)] for at in range(methods)], dtype=object
        )
        one = Metric("loss", "", "lower", "Loss.", True, None)
        states, odd = np.full(keys.shape, "done", dtype=object), np.zeros(keys.shape, dtype=bool)
        out.append(
            Board(
                "fam",
                f"fam/task{number}",
                1,
                "{}",
                f"Task {number}",
                "",
                "",
                {"loss": one},
                entries,
                list(range(seeds)),
                keys,
                states,
                {"loss": values},
                {"loss": odd},
            )
        )
    return out


def test_html_of_500_methods_on_50_tasks_stays_below_5_mb_and_loses_no_row() -> None:
    boards = big(500, 50)
    sections = tuple(Section(board.name, f"b{number}", (board_table(standing(board)),)) for number, board in enumerate(boards))
    page = render_html(Document("big", (Section("fam", "fam", (), sections),)))
    assert len(page.encode()) < 5_000_000
    rest = [json.loads(text)["rows"] for text in re.findall(r'<script type="application/json" class="rest"[^>]*>(.*?)</script>', page)]
    assert [len(rows) for rows in rest] == [480] * 50
    assert page.count('<button type="button" data-id=') == 50 * 20
    conditions = json.loads(re.search(r'id="conditions">(.*?)</script>', page)[1])  # type: ignore[index]
    best, condition, bar, cells = rest[0][0]
    assert conditions[condition].startswith("method = 'fam/method-")
    assert len(bar) == 3
    assert len(cells[2]) == 2
    assert best in (0, 1)


def test_terminal_leaderboard_computes_cells_of_shown_rows_only() -> None:
    boards = big(200, 2)
    found = leaderboard("fam", boards, top=10)
    assert [len(table.rows) for table in found.tables()] == [10, 10]
    assert "190 more methods" in found.tables()[0].notes[-1]


def test_latex_escapes_specials_and_knows_greek() -> None:
    assert latex.escape(r"50% & $x_1$ \input{a} #1 ~^") == (
        r"50\% \& \$x\_1\$ \textbackslash{}input\{a\} \#1 \textasciitilde{}\textasciicircum{}"
    )
    assert latex.escape("ε-greedy λ ≤ 中") == r"$\epsilon${-}greedy $\lambda$ $\le$ U+4E2D"


def booktabs() -> bool:
    """Whether LaTeX with booktabs is installed."""
    found = shutil.which("pdflatex") and shutil.which("kpsewhich")
    return bool(found) and subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not booktabs(), reason="LaTeX with booktabs is not installed (apt-get install texlive-latex-recommended)")
def test_latex_compiles_with_hostile_names(tmp_path: Path) -> None:
    from test_renderers import HOSTILE

    name = "evil/" + HOSTILE[0]
    with open_ledger(str(tmp_path / "evil.db"), create=True) as ledger:
        labels = [*HOSTILE, "ε–λ 中 é", "a'b\"c`d"]
        catalogue = Catalogue(
            tasks=[task(name, HOSTILE[7], [metric(name, "m|<b>", "lower", "%", primary=True)])],
            methods=[method(f"evil/{at}", text) for at, text in enumerate(labels)],
        )
        fill(
            ledger,
            catalogue,
            [Result(name, f"evil/{at}", seed, {"m|<b>": at + seed / 7}) for at in range(len(labels)) for seed in range(3)],
        )
        text = latex.render(report(ledger))
    compiled(text, tmp_path)
    assert (tmp_path / "t.pdf").stat().st_size > 10_000


@pytest.mark.skipif(not booktabs(), reason="LaTeX with booktabs is not installed (apt-get install texlive-latex-recommended)")
def test_latex_tables_are_no_wider_than_the_line_and_no_longer_than_the_page(ledger: Ledger, tmp_path: Path) -> None:
    text = latex.render(leaderboard("quantization", load_boards(ledger, Question("quantization")), all_metrics=True))
    long = latex.render(leaderboard("fam", big(90, 1)))
    assert long.count(r"\begin{tabular}") == 3
    log = compiled(text + long, tmp_path)
    assert "Overfull" not in log
    assert "Float too large" not in log


def compiled(text: str, folder: Path) -> str:
    """What pdflatex says about a document of this text."""
    packages = r"\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}"
    (folder / "t.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}" + f"\n{text}\n" + r"\end{document}")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "t.tex"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    return run.stdout
