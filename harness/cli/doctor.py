"""`assay doctor`: whether this machine and installation are fit to run, each complaint with its remedy."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, print_json, stdout
from harness.errors import EXIT_UNAVAILABLE

ROOMS = ("harness", "tasks", "kernels", "db", "reports")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `level` is ok, warning or error."""

    name: str
    level: str
    text: str


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """Check the installation, the cache, the ledger and the plugins."""
    checks = list(_checks(db))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "error": "[red]error[/]"}
        console = stdout()
        for check in checks:
            console.print(f"{marks[check.level]:>16}  {check.name}: ", end="")
            console.print(check.text, markup=False)
    if any(check.level == "error" for check in checks):
        raise typer.Exit(EXIT_UNAVAILABLE)


def _checks(db: str) -> Iterator[Check]:
    yield Check("python", "ok", sys.version.split()[0])
    yield from _packages()
    yield from _shadowed()
    yield _cache()
    yield _ledger(db)
    yield from _plugins()


def _packages() -> Iterator[Check]:
    for name in ("torch", "ray", "sqlalchemy", "pyarrow", "numba"):
        try:
            yield Check(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "error", "not installed; run `make install` or `pip install -c constraints.txt .`")


def _shadowed() -> Iterator[Check]:
    """Assay's packages have plain names: another distribution with the same ones would be imported instead, or by mistake."""
    home = Path(__file__).resolve().parents[2]
    owners = metadata.packages_distributions()
    for room in ROOMS:
        others = sorted(set(owners.get(room, [])) - {"assay-bench"})
        spec = util.find_spec(room)
        place = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if others:
            yield Check(room, "error", f"the distribution {', '.join(others)} also installs a package {room!r}; uninstall it.")
        elif place is None or home not in place.parents:
            yield Check(room, "error", f"`import {room}` finds {place}, not Assay's; run from another folder or fix PYTHONPATH.")


def _cache() -> Check:
    from harness.fixtures import default_cache

    cache = default_cache()
    probe = cache / ".doctor"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return Check("cache", "error", f"{cache} can't be written ({error.strerror}); set ASSAY_CACHE to a writable folder.")
    free = shutil.disk_usage(cache).free / 2**30
    return Check("cache", "ok" if free > 2 else "warning", f"{cache}, {free:.1f} GiB free")


def _ledger(db: str) -> Check:
    from db import open_ledger
    from db.errors import LedgerError

    if "://" not in db and not Path(db).exists():
        return Check("ledger", "ok", f"{db} does not exist yet; `assay run` creates it.")
    try:
        with open_ledger(db, read_only=True) as ledger:
            trials = ledger.query("SELECT COUNT(*) AS n FROM trials").to_pylist()[0]["n"]
            return Check("ledger", "ok", f"{ledger.url}, {trials} trials")
    except LedgerError as error:
        return Check("ledger", "error", str(error))


def _plugins() -> Iterator[Check]:
    from tasks.registry import REGISTRY

    REGISTRY.load_all()
    for name, problem in REGISTRY.problems.items():
        yield Check(f"plugin {name}", "warning", f"could not be loaded: {problem}")
    yield Check("registry", "ok", f"{len(REGISTRY.tasks)} tasks, {len(REGISTRY.methods)} methods, {len(REGISTRY.claims)} claims")
