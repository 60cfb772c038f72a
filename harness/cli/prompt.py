"""The interactive SQL prompt: history, completion, and a few commands that start with a backslash."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.errors import LedgerError, QueryRefused
from db.formats import FORMATS, Format
from db.views import VIEWS
from harness.cli.common import stderr

if TYPE_CHECKING:
    from db.surface import Surface

HELP = r"""\d          list the views
\d VIEW     describe a view's columns
\s          list saved queries
\s NAME     run a saved query
\e QUERY    show the plan of a query
\f FORMAT   change the format
\q          leave (or Ctrl-D)
A query may span lines; it ends with a semicolon."""

KEYWORDS = (
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "OFFSET", "JOIN", "LEFT JOIN", "ON", "USING", "AND", "OR", "NOT",
    "IN", "IS NULL", "IS NOT NULL", "LIKE", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "END", "AS", "DISTINCT", "COUNT", "AVG", "SUM",
    "MIN", "MAX", "ASC", "DESC", "WITH", "UNION ALL", "EXISTS", "OVER", "PARTITION BY", "COALESCE", "CAST",
)  # fmt: skip


def history_file() -> Path:
    """Where the prompt remembers what was typed."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "assay" / "sql_history"


def complete(text: str) -> list[tuple[str, str, int]]:
    """Completions of the text before the cursor: (what to insert, what it means, how many characters it replaces).

    After FROM or JOIN: views. After an alias or a view and a dot: that view's columns. Elsewhere: columns of the views the text names (of
    all views when it names none), views and keywords.
    """
    if text.startswith("\\d "):
        word = text[3:]
        return [(name, view.doc, len(word)) for name, view in VIEWS.items() if name.startswith(word)]
    match = re.search(r"(?:(\w+)\.)?(\w*)$", text)
    assert match is not None
    qualifier, word = match[1], match[2]
    size = len(word)
    if qualifier:
        view = _aliases(text).get(qualifier.lower())
        return [(name, column.doc, size) for name, column in (view.columns if view else {}).items() if name.startswith(word.lower())]
    before = text[: len(text) - size]
    if re.search(r"\b(from|join)\s+$", before, re.IGNORECASE):
        return [(name, view.doc, size) for name, view in VIEWS.items() if name.startswith(word.lower())]
    named = {id(view): view for view in _aliases(text).values()}.values() or VIEWS.values()
    found = {name: column.doc for view in named for name, column in view.columns.items()}
    found |= {name: view.doc for name, view in VIEWS.items()}
    matching = [(name, doc, size) for name, doc in found.items() if name.startswith(word.lower())]
    return matching + [(key, "", size) for key in KEYWORDS if word and key.startswith(word.upper())]


def _aliases(text: str) -> dict[str, Any]:
    """Views that the text names, by their names and aliases."""
    found = {}
    for name, alias in re.findall(r"\b(?:from|join|,)\s+(\w+)(?:\s+(?:as\s+)?(\w+))?", text, re.IGNORECASE):
        view = VIEWS.get(name.lower())
        if view is not None:
            found[name.lower()] = view
            if alias:
                found[alias.lower()] = view
    return found


def prompt(surface: Surface, format: Format, limit: int | None, timeout: float) -> None:
    """Read and answer queries until the end of input."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.lexers import PygmentsLexer
    from pygments.lexers.sql import SqlLexer  # type: ignore[import-untyped]

    class SqlCompleter(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            for text, meta, size in complete(document.text_before_cursor):
                yield Completion(text, start_position=-size, display_meta=meta[:60])

    history: History = InMemoryHistory()
    try:
        history_file().parent.mkdir(parents=True, exist_ok=True)
        history = FileHistory(str(history_file()))
    except OSError:
        pass
    session: PromptSession[str] = PromptSession(history=history, completer=SqlCompleter(), lexer=PygmentsLexer(SqlLexer))
    console = stderr()
    console.print(f"{surface.url}, read-only. \\d lists the views, \\? helps, \\q leaves.", style="dim")
    shell = Shell(surface, format, limit, timeout)
    lines: list[str] = []
    while True:
        try:
            lines.append(session.prompt("assay> " if not lines else "  ...> "))
        except KeyboardInterrupt:
            lines = []
            continue
        except EOFError:
            return
        text = "\n".join(lines)
        if not text.strip() or (not text.startswith("\\") and not text.rstrip().endswith(";")):
            lines = lines if text.strip() else []
            continue
        lines = []
        if not shell.answer(text):
            return


class Shell:
    """What the prompt does with a complete input; separate from the terminal, so that it can be tested without one."""

    def __init__(self, surface: Surface, format: Format, limit: int | None, timeout: float) -> None:
        self.surface, self.format, self.limit, self.timeout = surface, format, limit, timeout

    def answer(self, text: str) -> bool:
        """Answer one query or command; False when it asks to leave. Errors are printed, not raised."""
        console = stderr()
        try:
            command, _, rest = text.strip().partition(" ")
            if command in ("\\q", "\\quit"):
                return False
            if command.startswith("\\"):
                self._command(command, rest.strip())
            else:
                self._run(text)
        except LedgerError as error:
            console.print(str(error), style="red", markup=False)
        except KeyboardInterrupt:
            console.print("Interrupted.", style="red")
        return True

    def _run(self, text: str) -> None:
        from harness.cli.sql import run_and_print

        run_and_print(self.surface, text, self.format, self.limit, self.timeout)

    def _command(self, command: str, argument: str) -> None:
        from db.reading import explain
        from db.saved import saved_queries, saved_query

        if command == "\\d" and argument:
            view = VIEWS.get(argument.rstrip(";"))
            if view is None:
                raise QueryRefused(f"There is no view {argument}; the views are {', '.join(VIEWS)}.")
            print(view.doc)
            for name, column in view.columns.items():
                print(f"  {name:<18}{column.type:<9}{column.doc}")
        elif command == "\\d":
            for name, view in VIEWS.items():
                print(f"{name:<18}{view.doc}")
        elif command == "\\s" and argument:
            self._run(saved_query(argument.rstrip(";")).sql)
        elif command == "\\s":
            for query in saved_queries().values():
                print(f"{query.name:<18}{query.doc}")
        elif command == "\\e" and argument:
            print("\n".join(explain(self.surface, argument, None, self.timeout)))
        elif command == "\\f" and argument in FORMATS:
            self.format = next(known for known in FORMATS if known == argument)
        else:
            print(HELP)
