"""The command line `assay`. One module per command group; each registers its commands and imports heavy things inside them."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from harness.cli import (
    board,
    cancel,
    catalogue,
    claims,
    compare,
    doctor,
    leaderboard,
    logs,
    plan,
    pull,
    report,
    reproduce,
    run,
    serve,
    show,
    sql,
    status,
    submit,
    transfer,
    why,
)
from harness.cli import db as db_commands
from harness.cli.common import exit_code_of
from harness.errors import EXIT_PIPE, EXIT_UNAVAILABLE
from harness.pipes import abandoned, silence


class Commands(TyperGroup):
    """The commands; one whose reader has left (`assay sql ... | head`, `assay --help | head`) ends without a word, as if SIGPIPE had ended
    it."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # --help is printed here, and by `invoke` for the help of a command
        with _readers_may_leave():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> object:
        with _readers_may_leave():
            return super().invoke(ctx)


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not (left := abandoned()):
            raise  # another pipe
        silence(left)
        raise typer.Exit(EXIT_PIPE) from None
    except SystemExit as end:  # rich, which prints the help, silences stdout itself and then ends with 1
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        raise typer.Exit(EXIT_PIPE) from None


app = typer.Typer(
    name="assay",
    cls=Commands,
    help="Benchmark published machine-learning methods: run suites on Ray, keep every result in SQL, publish leaderboards and verdicts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
modules = (
    run,
    plan,
    status,
    show,
    reproduce,
    leaderboard,
    report,
    serve,
    claims,
    why,
    compare,
    board,
    catalogue,
    doctor,
    sql,
    db_commands,
    transfer,
    submit,
    logs,
    cancel,
    pull,
)
for module in modules:
    module.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script: runs the command (None: the process's own arguments) and turns expected errors into one sentence
    and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 shows ? for an arrow, instead of ending the command
            stream.reconfigure(errors="replace")
    try:
        app(arguments)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        silence([1])  # what is left in the buffer can't be written either
        print(f"assay: the output can't be written: {error.strerror}.", file=sys.stderr)
        sys.exit(EXIT_UNAVAILABLE)
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        print(f"assay: {error}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    main()
