"""Bundles: what leaves one ledger arrives in another, on both databases, whatever is in it and whoever is killed."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db import open_ledger
from db.bundle import export_bundle, import_bundle, verify_bundle
from db.bundle.layout import FILES, FORMAT, MANIFEST, path_of, sha256
from db.errors import LedgerError
from db.records import Curve, Run
from db.testing import ENVIRONMENT, ODD_VALUES, RUN, attempt, audit, catalogue, submission, trial, verdict
from db.views import VIEWS
from tests.db.freeze import ASSETS, content
from tests.db.workers import export_peaks

ROOT = Path(__file__).parents[2]


def fill(ledger: Any) -> None:
    """A ledger with every kind of row: replicates, failures, curves, odd numbers, odd texts, verdicts."""
    ledger.write_catalogue(catalogue())
    ledger.start_run(RUN, ENVIRONMENT)
    trials = [trial(seed, method, bits=bits) for seed in range(6) for method in ("demo/a", "demo/b") for bits in (2, 3)]
    ledger.submit(RUN.id, trials)
    ledger.claim("somebody", [trials[-1].key], 600)
    odd = {f"odd{index}": value for index, value in enumerate(ODD_VALUES)}
    path = Curve("path", [float(step) for step in range(1, 11)], list(ODD_VALUES))
    ok = [
        attempt(item, {"loss": math.sqrt(2 + index), **(odd if index < 3 else {})}, curves=[path]) for index, item in enumerate(trials[:18])
    ]
    ledger.record(ok, [ENVIRONMENT])
    ledger.record(
        [attempt(trials[0], {"loss": 7.0}, number=2, block=3), attempt(trials[1], number=2, outcome="timeout", next_state="failed")]
    )
    texts = {"error": "Böse € 𝛼.", "traceback": "x" * 2**20, "stdout": 'a\tb\r\n"q",\'', "stderr": "\\N \\. \u2028"}
    ledger.record(
        [
            attempt(trials[18], outcome="error", next_state="failed", info={"n": float("nan")}, **texts),
            attempt(trials[19], outcome="worker_lost", next_state="quarantined", environment=None),
            attempt(trials[20], outcome="oom", next_state="pending"),
        ]
    )
    ledger.record_verdicts([verdict("inconclusive"), verdict()])
    ledger.record_audits([replace(audit(trials[0], 2), deviation=math.inf), replace(audit(trials[1], 2), deviation=None, metric=None)])
    for name, board in (("s1", "guarded"), ("s2", "other"), ("s3", "guarded")):
        ledger.record_submission(submission(name, board, displayed=None if name == "s3" else 0.5))
    ledger.finish_run(RUN.id, "complete")


def shown(ledger: Any, but: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Every view's rows as text, sorted; times in one form."""

    def text(value: Any) -> Any:
        return value.isoformat(timespec="microseconds") if hasattr(value, "isoformat") else value

    rows = {name: ledger.surface.rows(f"SELECT * FROM {name}", None, 120)[1] for name in VIEWS if name not in but}
    return {name: sorted(repr([text(value) for value in row]) for row in found) for name, found in rows.items()}


@pytest.fixture
def bundle(tmp_path: Path, sqlite_template: Path) -> Path:
    """Exported from a SQLite ledger with everything in it."""
    source = shutil.copy(sqlite_template, tmp_path / "source.db")
    with open_ledger(source) as ledger:
        fill(ledger)
        export_bundle(ledger, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_round_trip(new_url: Callable[[], str], tmp_path: Path) -> None:
    """SQLite to SQLite, and PostgreSQL to PostgreSQL: all views equal; leases stay where they are."""
    with open_ledger(new_url()) as source, open_ledger(new_url()) as target:
        fill(source)
        export_bundle(source, tmp_path / "bundle")
        done = import_bundle(target, tmp_path / "bundle")
        assert (done.trials, done.attempts, done.replicates) == (24, 23, 1)
        source.release("somebody")
        assert shown(target, but=("leaderboard",)) == shown(source, but=("leaderboard",))
        same_boards(source, target)
        assert import_bundle(target, tmp_path / "bundle") == replace(
            done, trials=0, attempts=0, replicates=0, measurements=0, curve_points=0
        )
        assert shown(target, but=("leaderboard",)) == shown(source, but=("leaderboard",))
        same_boards(source, target)
    assert verify_bundle(tmp_path / "bundle").differences == []


def same_boards(one: Any, other: Any) -> None:
    """Equal but for the last bits of mean and sd: groups of another size add in another order."""
    order = "ORDER BY task, method, method_params, metric"
    left, right = (ledger.surface.rows(f"SELECT * FROM leaderboard {order}", None, 60) for ledger in (one, other))
    assert left[0] == right[0]
    assert len(left[1]) == len(right[1])
    for a, b in zip(left[1], right[1], strict=True):
        assert all(x == (pytest.approx(y, rel=1e-12) if isinstance(y, float) else y) for x, y in zip(a, b, strict=True)), (a, b)


def test_from_sqlite_through_postgresql_and_back(bundle: Path, postgres: Any, tmp_path: Path, sqlite_template: Path) -> None:
    with open_ledger(postgres.new_database("assay_template")) as middle:
        import_bundle(middle, bundle)
        export_bundle(middle, tmp_path / "second")
    with open_ledger(tmp_path / "source.db") as source, open_ledger(shutil.copy(sqlite_template, tmp_path / "end.db")) as target:
        import_bundle(target, tmp_path / "second")
        source.release("somebody")
        assert shown(target, but=("leaderboard",)) == shown(source, but=("leaderboard",))
        same_boards(source, target)


def test_a_bundle_of_the_first_format_is_still_read(new_url: Callable[[], str]) -> None:
    """tests/assets/ledger/bundle-1 was exported by revision 0001 from its frozen ledger, whose content is in 0001.json."""
    assert verify_bundle(ASSETS / "bundle-1").differences == []
    with open_ledger(new_url()) as ledger:
        done = import_bundle(ledger, ASSETS / "bundle-1")
        assert (done.trials, done.attempts, done.measurements) == (8, 8, 56)
        frozen, found = json.loads((ASSETS / "0001.json").read_text()), json.loads(json.dumps(content(ledger)))
        for board in (frozen, found):  # mean and sd may differ in their last bits: groups of another size add in another order
            board["leaderboard"] = [row[:5] + row[7:] for row in board["leaderboard"]]
        assert len(frozen) == 12
        for name in frozen.keys() - {"trials"}:  # leases stayed where they were
            assert found[name] == frozen[name], name
        assert ledger.query("SELECT low, high FROM metrics WHERE low IS NOT NULL OR high IS NOT NULL").num_rows == 0


def test_merging_keeps_disagreements_as_replicates(new_url: Callable[[], str], bundle: Path) -> None:
    with open_ledger(new_url()) as ledger:
        other = trial(0, "demo/a", bits=2)
        ledger.start_run(Run("mine", "suite", "", "inline", [], 1), ENVIRONMENT)
        ledger.submit("mine", [other])
        ledger.record([attempt(other, {"loss": -1.0}, number=9, run="mine")], [ENVIRONMENT])
        done = import_bundle(ledger, bundle)
        assert (done.trials, done.attempts, done.replicates) == (23, 23, 2)
        mine = {"key": other.key}
        assert ledger.query("SELECT value FROM scores WHERE trial = :key AND metric = 'loss'", mine).to_pylist() == [{"value": -1.0}]
        found = ledger.query("SELECT value, accepted_value FROM replicates WHERE trial = :key AND metric = 'loss' ORDER BY value", mine)
        assert found.to_pylist() == [{"value": math.sqrt(2), "accepted_value": -1.0}, {"value": 7.0, "accepted_value": -1.0}]
        failed = ledger.query("SELECT state, count(*) AS n FROM trials GROUP BY state ORDER BY state").to_pylist()
        assert failed == [{"state": s, "n": n} for s, n in (("done", 18), ("failed", 1), ("pending", 4), ("quarantined", 1))]


@pytest.mark.parametrize("name", list(FILES))
def test_one_flipped_byte_is_found(bundle: Path, sqlite_template: Path, tmp_path: Path, name: str) -> None:
    path = path_of(bundle, name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=f"{name}.parquet is damaged"):
        verify_bundle(bundle)
    with open_ledger(shutil.copy(sqlite_template, tmp_path / "target.db")) as ledger:
        with pytest.raises(LedgerError, match=f"{name}.parquet is damaged"):
            import_bundle(ledger, bundle)
        assert ledger.query("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 0}]


NO_MANIFESTS = ["", "[]", "{}", '{"format": "assay-bundle-99", "files": {}}', '{"format": ["x"], "files": {}}']
NO_MANIFESTS += [
    json.dumps({"format": FORMAT, "files": files}) for files in (list(FILES), {name: {} for name in FILES}, dict.fromkeys(FILES))
]


@pytest.mark.parametrize("content", NO_MANIFESTS)
def test_a_manifest_that_is_none(bundle: Path, content: str) -> None:
    (bundle / MANIFEST).write_text(content)
    with pytest.raises(LedgerError, match="damaged or belongs to another version"):
        verify_bundle(bundle)


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="is not a bundle"):
        verify_bundle(tmp_path)


def tamper(bundle: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file and make the manifest agree with it, as a careful liar would."""
    path = path_of(bundle, name)
    pq.write_table(change(pq.read_table(path)), path)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][name] |= {"sha256": sha256(path), "rows": pq.read_metadata(path).num_rows}
    (bundle / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.unlink(), "lacks trials.parquet"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "trials.parquet is damaged"),
        (lambda path: path.write_bytes(b""), "trials.parquet is damaged"),
    ],
)
def test_a_damaged_bundle_makes_no_ledger(bundle: Path, tmp_path: Path, damage: Callable[[Path], None], complaint: str) -> None:
    damage(path_of(bundle, "trials"))
    for command in (["verify"], ["import", "--db", str(tmp_path / "new.db")]):
        done = subprocess.run([sys.executable, "-m", "harness.cli", *command, str(bundle)], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (3, "")
        assert complaint in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("*new.db*"))


def lie(bundle: Path, **entry: Any) -> None:
    """Make the manifest's entry of the trials agree with the file, but for `entry`."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"]["trials"] |= {"sha256": sha256(path_of(bundle, "trials")), **entry}
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def test_a_file_that_is_not_what_the_manifest_says(bundle: Path) -> None:
    lie(bundle, rows=1)
    with pytest.raises(LedgerError, match=r"trials.parquet has 24 rows, but the manifest says 1"):
        verify_bundle(bundle)
    tamper(bundle, "trials", lambda table: table.rename_columns(["key", *table.column_names[1:]]))
    with pytest.raises(LedgerError, match=r"trials.parquet has other columns"):
        verify_bundle(bundle)
    path_of(bundle, "trials").write_bytes(b"PAR1 and no more")
    lie(bundle)
    with pytest.raises(LedgerError, match=r"trials.parquet can't be read as Parquet"):
        verify_bundle(bundle)


def test_a_leaderboard_that_the_measurements_do_not_confirm(bundle: Path) -> None:
    def better(table: pa.Table) -> pa.Table:
        means = table.column("mean").to_pylist()
        at = next(index for index, row in enumerate(table.to_pylist()) if row["metric"] == "loss" and row["n"])
        means[at] *= 0.999
        return table.set_column(table.column_names.index("mean"), "mean", pa.array(means))

    tamper(bundle, "leaderboard", better)
    (sentence,) = verify_bundle(bundle).differences
    assert "mean" in sentence
    assert "loss" in sentence


def test_measurements_that_are_not_in_the_leaderboard(bundle: Path) -> None:
    tamper(bundle, "leaderboard", lambda table: table.slice(1))
    assert len(verify_bundle(bundle).differences) == 1


def test_a_missing_measurement_shows(bundle: Path) -> None:
    tamper(bundle, "measurements", lambda table: table.slice(1))
    assert verify_bundle(bundle).differences


def test_a_reference_into_nothing(bundle: Path) -> None:
    tamper(bundle, "attempts", lambda table: table.slice(1))
    with pytest.raises(LedgerError, match="refers to attempt_id"):
        verify_bundle(bundle)


def test_two_values_of_one_metric_are_refused(new_url: Callable[[], str], bundle: Path) -> None:
    tamper(bundle, "measurements", lambda table: pa.concat_tables([table.slice(0, 1), table]))
    with (
        open_ledger(new_url(), create=True) as ledger,
        pytest.raises(LedgerError, match=r"two values of one metric|refuses what it was given"),
    ):
        import_bundle(ledger, bundle)  # type: ignore[arg-type]


def test_export_does_not_overwrite(bundle: Path, tmp_path: Path) -> None:
    with open_ledger(tmp_path / "source.db") as ledger, pytest.raises(LedgerError, match="not empty"):
        export_bundle(ledger, bundle)


def test_export_into_the_working_folder(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is empty, and stays the same folder: a shell may stand in it, or a disk be mounted there."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with open_ledger(tmp_path / "source.db") as ledger:
        export_bundle(ledger, Path("."))  # type: ignore[arg-type]
    assert {path.name for path in Path.cwd().iterdir()} == {path.name for path in bundle.iterdir()}
    assert verify_bundle(Path(".")).differences == []


def test_all_files_of_an_export_show_one_moment(new_url: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run records a trial before each file is written; the bundle knows of none but the first."""
    from db.bundle import exporting

    url, write, seeds = new_url(), exporting._write, iter(range(1, 100))
    with open_ledger(url) as run, open_ledger(url) as ledger:

        def record() -> None:
            one = trial(next(seeds))
            run.submit(RUN.id, [one])
            run.record([attempt(one)], [ENVIRONMENT])

        def while_recording(*arguments: Any) -> int:
            count = write(*arguments)
            record()
            return count

        run.start_run(RUN, ENVIRONMENT)
        record()
        monkeypatch.setattr(exporting, "_write", while_recording)
        rows = export_bundle(ledger, tmp_path / "bundle")  # type: ignore[arg-type]
        assert len(ledger.query("SELECT trial FROM trials")) == 1 + len(FILES)
    names = ("trials", "run_trials", "attempts", "measurements", "leaderboard")
    assert {name: rows[name] for name in names} == dict.fromkeys(names, 1)
    assert verify_bundle(tmp_path / "bundle").differences == []


def test_an_interrupted_import_is_completed_by_the_next(new_url: Callable[[], str], bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed (SIGKILL) after some groups; then run again."""
    url = new_url()
    program = f"""
import os, signal, sys
import db.bundle.importing as importing
from db import open_ledger
from pathlib import Path
importing.ATTEMPTS = 4
def progress(done, total):
    if done >= 8:
        os.kill(os.getpid(), signal.SIGKILL)
with open_ledger({url!r}) as ledger:
    importing.import_bundle(ledger, Path({str(bundle)!r}), progress)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == -signal.SIGKILL
    with open_ledger(url) as ledger:
        assert ledger.query("SELECT count(*) AS n FROM attempts").to_pylist() == [{"n": 8}]
        rest = import_bundle(ledger, bundle)
        assert (rest.trials, rest.attempts) == (0, 15)
        with open_ledger(bundle.parent / "source.db") as source:
            source.release("somebody")
            assert [len(rows) for rows in shown(ledger).values()] == [len(rows) for rows in shown(source).values()]
            same_boards(source, ledger)


def test_two_partial_ledgers_merge_into_the_whole(tmp_path: Path, sqlite_template: Path) -> None:
    """Machines that ran different seeds of one suite."""
    trials = [trial(seed) for seed in range(10)]
    for name, part in (("one", trials[:6]), ("two", trials[4:])):
        with open_ledger(shutil.copy(sqlite_template, tmp_path / f"{name}.db")) as ledger:
            ledger.start_run(Run(name, "suite", "", "inline", [], 1), ENVIRONMENT)
            ledger.submit(name, part)
            ledger.record(
                [attempt(item, {"loss": float(item.seed)}, run=name, number=len(name + item.key)) for item in part[:5]], [ENVIRONMENT]
            )
            export_bundle(ledger, tmp_path / name)
    with open_ledger(shutil.copy(sqlite_template, tmp_path / "whole.db")) as whole:
        import_bundle(whole, tmp_path / "one")
        import_bundle(whole, tmp_path / "two")
        assert whole.query("SELECT n, mean FROM leaderboard").to_pylist() == [{"n": 9, "mean": 4.0}]
        assert whole.query("SELECT count(*) AS n FROM run_trials").to_pylist() == [{"n": 12}]


def test_an_export_stops_growing(new_url: Callable[[], str], tmp_path: Path) -> None:
    """300 MB of error texts; over the last 200 of them the exporting process grows by less than a tenth of that."""
    url = new_url()
    with open_ledger(url) as ledger:
        ledger.start_run(RUN, ENVIRONMENT)
        for first in range(0, 300, 20):
            group = [trial(seed) for seed in range(first, first + 20)]
            ledger.submit(RUN.id, group)
            ledger.record(
                [attempt(item, outcome="error", next_state="failed", stderr=f"{item.seed}" + "x" * 10**6) for item in group], [ENVIRONMENT]
            )
    peaks = export_peaks(url, tmp_path / "out", "attempts")
    assert peaks[-1][0] == 300
    assert peaks[-1][1] - next(peak for rows, peak in peaks if rows >= 100) < 20_000, "kB"
    lengths = [len(text) for text in pq.read_table(path_of(tmp_path / "out", "attempts"), columns=["stderr"]).column(0).to_pylist()]
    assert sum(lengths) == sum(10**6 + len(str(seed)) for seed in range(300))
