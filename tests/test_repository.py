"""Promises about the repository as a whole: start-up cost, layers, what must not be committed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ledger with results, so that reading commands have something to read."""
    folder = tmp_path_factory.mktemp("repository")
    suite = folder / "suite.yaml"
    plugin = ROOT / "tests" / "harness" / "plan_plugin.py"
    suite.write_text(f"name: tiny\nplugins: [{plugin}]\nseeds: 3\ntasks: [{{task: toy/add, methods: [one, two]}}]\n")
    done = run("-m", "harness.cli", "run", str(suite), "--engine", "inline", "--db", str(folder / "assay.db"))
    assert done.returncode == 0, done.stderr
    return folder / "assay.db"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["leaderboard", "--help"],
        ["sql", "SELECT COUNT(*) FROM trials"],
        ["leaderboard", "toy"],
        ["report", "--out", "{out}"],
        ["claims"],
        ["show", "{trial}"],
    ],
    ids=lambda arguments: arguments[0] + ("-help" if arguments[-1] == "--help" else ""),
)
def test_reading_commands_import_neither_torch_nor_ray(arguments: list[str], ledger: Path, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(ledger) as connection:
        trial = connection.execute("SELECT trial FROM trials LIMIT 1").fetchone()[0]
    filled = [argument.format(out=tmp_path / "out", trial=trial) for argument in arguments]
    code = (
        "import sys, os\n"
        f"os.environ['ASSAY_DB'] = {str(ledger)!r}\n"
        f"sys.argv = ['assay'] + {filled!r}\n"
        "from harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'ray', 'sklearn', 'numba'})\n"
        "assert not heavy, heavy\n"
    )
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_kernels_and_tasks_import_without_ray_and_sqlalchemy() -> None:
    code = (
        "import sys\n"
        "sys.modules['ray'] = sys.modules['sqlalchemy'] = sys.modules['alembic'] = None\n"
        "from tasks.registry import load\n"
        "registry = load()\n"
        "assert len(registry.tasks) >= 5 and len(registry.methods) >= 25\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_absolute_paths_secrets_or_registry_hosts_are_committed() -> None:
    hosts = ["py" + "pi.org", "files.python" + "hosted", "registry.npm" + "js", "deb.debian" + ".org", "download.py" + "torch"]
    patterns = [*map(re.escape, hosts), r"(?<![\w.])/(?:home|root|work)/[a-z]", r"(?i)(?:api[_-]?key|secret)\s*=\s*['\"]\w{16,}"]
    found = []
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".txt", ".sql", ".html", ".js", ".css", ".ini"} or path.name == "Makefile":
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(ROOT)}: {match.group()}" for pattern in patterns for match in re.finditer(pattern, text)]
    assert not found


def test_no_module_grows_into_a_god_object() -> None:
    long = {str(path.relative_to(ROOT)): lines for path in tracked() if path.suffix == ".py" and (lines := _lines(path)) > 450}
    assert not long


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_every_module_says_what_it_is_for() -> None:
    """A method's file is one class, and its docstring is the class's: the conformance checks see to that."""
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix == ".py" and path.read_text().strip() and "tests" not in path.parts and "methods" not in path.parts
        if not path.read_text().lstrip().startswith(('"""', 'r"""'))
    ]
    assert not silent


def test_every_task_and_method_has_a_docstring() -> None:
    code = (
        "from tasks.registry import load\n"
        "registry = load()\n"
        "silent = [c.id() for c in [*registry.tasks.values(), *registry.methods.values()] if '__doc__' not in vars(c) or not c.__doc__]\n"
        "assert not silent, silent\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_constraints_pin_every_requirement_exactly() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line) for line in lines)
    assert "torch==2.13.0" in lines
