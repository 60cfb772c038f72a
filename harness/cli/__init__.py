"""The command line `assay`. One module per command group; each registers its commands and imports heavy things inside them."""

from __future__ import annotations

import sys

import typer

from harness.cli import catalogue, claims, compare, doctor, leaderboard, plan, report, reproduce, run, show, sql, status, transfer, why
from harness.cli import db as db_commands
from harness.cli.common import exit_code_of

app = typer.Typer(
    name="assay",
    help="Benchmark published machine-learning methods: run suites on Ray, keep every result in SQL, publish leaderboards and verdicts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
modules = (run, plan, status, show, reproduce, leaderboard, report, claims, why, compare, catalogue, doctor, sql, db_commands, transfer)
for module in modules:
    module.register(app)


def main() -> None:
    """Entry point of the console script: runs the command and turns expected errors into one sentence and an exit code."""
    try:
        app()
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        print(f"assay: {error}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    main()
