"""Writing a report to disk: index.html and the data of every table and plot beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reports.document import Document
from reports.errors import ReportError
from reports.html import render
from reports.render.data import render_csv, render_json


def write(document: Document, folder: Path) -> Iterator[Path]:
    """Write `index.html`, `report.json` and `data/*.csv`; yields each path once it is complete. Existing files are replaced."""
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        yield _put(folder / "index.html", render(document))
        yield _put(folder / "report.json", render_json(document))
        for table in document.tables():
            yield _put(folder / "data" / f"{table.id}.csv", render_csv([table]))
        for plot in document.plots():
            yield _put(folder / "data" / f"{plot.id}.csv", plot.figure.csv())
    except OSError as error:
        raise ReportError(f"The report can't be written to {folder}: {error.strerror or error}; name another folder with --out.") from error


def _put(path: Path, text: str) -> Path:
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path
