"""What the commands share: options, consoles, exit codes. stdout carries results, stderr everything meant for people."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from db.errors import LedgerError, QueryRefused
from db.formats import json_value
from harness.errors import EXIT_BAD_INPUT, EXIT_BUDGET_SPENT, EXIT_UNAVAILABLE, HarnessError
from harness.pipes import abandoned, silence

if TYPE_CHECKING:
    from rich.console import Console

    from db.ledger import Ledger
    from reports.document import Document

DbOption = Annotated[
    str,
    typer.Option("--db", envvar="ASSAY_DB", help="The ledger: a SQLite file or a postgresql:// URL.", show_envvar=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
DEFAULT_DB = "assay.db"
PIPE_WIDTH = 240

#: What documents of results are printed as.
FORMATS = ("terminal", "markdown", "latex", "json", "csv")
FormatOption = Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}.")]


def exit_code_of(error: Exception) -> int | None:
    """The exit code for an error that a person should read as one sentence; None for a defect of ours (show the traceback)."""
    if isinstance(error, HarnessError):
        return error.exit_code
    if isinstance(error, QueryRefused):
        return EXIT_BAD_INPUT
    if isinstance(error, LedgerError):
        return EXIT_UNAVAILABLE
    # tasks.errors is imported only by commands that load tasks; looking it up keeps `assay sql` free of it
    task_error = getattr(sys.modules.get("tasks.errors"), "TaskError", None)
    if task_error is not None and isinstance(error, task_error):
        return EXIT_BAD_INPUT
    report_errors = sys.modules.get("reports.errors")
    if report_errors is not None and isinstance(error, report_errors.ReportError):
        return EXIT_BUDGET_SPENT if isinstance(error, report_errors.BudgetSpent) else EXIT_BAD_INPUT
    return None


def open_ledger(db: str, *, create: bool = False, read_only: bool = True) -> Ledger:
    """The ledger behind `--db`. Reading commands open it read-only and never create one."""
    from db import open_ledger as open_

    return open_(db, create=create, read_only=read_only and not create)


def stderr() -> Console:
    """A console for people."""
    return _console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH)


def stdout() -> Console:
    """A console for results. Piped output is not folded at 80 columns: whoever reads it may search it line by line."""
    return _console(stderr=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _console(stderr: bool, width: int | None) -> Console:
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:  # rich itself would end the process with exit code 1
            if not stderr:
                raise  # a result that nobody reads
            silence(abandoned())  # a word to a person who has left

    return Patient(stderr=stderr, highlight=False, width=width)


def print_json(value: Any, indent: int | None = 2) -> None:
    """One JSON document on stdout."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    json.dump(value, sys.stdout, indent=indent, ensure_ascii=not utf8, default=json_value)
    sys.stdout.write("\n")


def check_format(output: str) -> None:
    """Raises BadQuestion for a format that is none of `FORMATS`."""
    from reports.errors import BadQuestion

    if output not in FORMATS:
        raise BadQuestion(f"Unknown format {output!r}; choose one of {', '.join(FORMATS)}.")


def print_document(document: Document, output: str = "terminal", everything: bool = False) -> None:
    """A document of results on stdout, as one of `FORMATS`; `everything`: also rows that tables fold away on a terminal."""
    if output == "terminal":
        from reports.render.terminal import render

        render(document, stdout(), everything)
    elif output in ("markdown", "latex"):
        from reports.render import latex, markdown

        sys.stdout.write((markdown if output == "markdown" else latex).render(document))
    else:
        from reports.render.data import render_csv, render_json

        sys.stdout.write(render_json(document) if output == "json" else render_csv(document.tables()))
