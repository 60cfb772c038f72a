"""The fixture store: made once, content-addressed, verified when read, mended when damaged."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.errors import FixtureError
from harness.fixtures import MANIFEST, FixtureStore
from tasks.api import Context, Fixture


class Slow(Fixture, name="test-slow", seconds=0.1):
    """Writes one file per build beside the value, so that builds can be counted."""

    value: int = 1
    log: str = ""
    nap: ClassVar[float] = 0.0  # not a field: it must not change the key

    def build(self, folder: Path, context: Context) -> None:
        with open(self.log, "a") as log:
            log.write("built\n")
        time.sleep(Slow.nap)  # widens the window in which two builders could collide
        (folder / "sub").mkdir()
        (folder / "sub" / "value.txt").write_text(str(self.value))

    def load(self, folder: Path) -> int:
        return int((folder / "sub" / "value.txt").read_text())


class Above(Slow, name="test-above"):
    """Built from another fixture."""

    def needs(self) -> tuple[Fixture, ...]:
        return (Slow(value=self.value),)


class Empty(Slow, name="test-empty"):
    """Writes nothing."""

    def build(self, folder: Path, context: Context) -> None:
        pass


@pytest.fixture
def fixture(tmp_path: Path) -> Slow:
    return Slow(value=7, log=str(tmp_path / "log"))


def builds(fixture: Slow) -> int:
    return len(Path(fixture.log).read_text().splitlines())


CONTEXT: Any = None


def test_built_once_then_read_from_the_cache(tmp_path: Path, fixture: Slow) -> None:
    assert FixtureStore(tmp_path).get(fixture, CONTEXT) == 7
    assert FixtureStore(tmp_path).get(fixture, CONTEXT) == 7
    assert builds(fixture) == 1


def test_the_key_covers_recipe_and_needs(fixture: Slow) -> None:
    assert fixture.key() == Slow(value=7, log=fixture.log).key()
    assert fixture.key() != Slow(value=8, log=fixture.log).key()
    assert Above(value=1).key() != Above(value=2).key()


def _get(root: Path, fixture: Slow) -> None:
    assert FixtureStore(root).get(fixture, CONTEXT) == 7


def test_many_processes_at_once_build_it_once(tmp_path: Path, fixture: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "nap", 0.3)
    processes = [multiprocessing.get_context("fork").Process(target=_get, args=(tmp_path, fixture)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert builds(fixture) == 1


def test_a_killed_builder_leaves_nothing_half_made(tmp_path: Path, fixture: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "nap", 60.0)
    process = multiprocessing.get_context("fork").Process(target=_get, args=(tmp_path, fixture))
    process.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = FixtureStore(tmp_path)
    assert not store.present(fixture)
    assert list(store.root.glob(".*.build-*"))
    monkeypatch.setattr(Slow, "nap", 0.0)
    assert store.get(fixture, CONTEXT) == 7
    assert not list(store.root.glob(".*.build-*"))


@pytest.mark.parametrize("harm", ["change", "remove", "manifest"])
def test_damage_is_named_set_aside_and_mended(tmp_path: Path, fixture: Slow, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = FixtureStore(tmp_path)
    store.get(fixture, CONTEXT)
    folder = store.folder(fixture)
    if harm == "change":
        (folder / "sub" / "value.txt").write_text("8")
    elif harm == "remove":
        (folder / "sub" / "value.txt").unlink()
    else:
        (folder / MANIFEST).write_text("{")
    assert "is damaged" in str(store.damage(fixture))
    assert FixtureStore(tmp_path).get(fixture, CONTEXT) == 7
    assert "It was moved to" in capsys.readouterr().err
    assert builds(fixture) == 2
    assert list((tmp_path / "fixtures").glob("*.damaged-*"))


def test_a_fixture_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixtureError, match="test-empty wrote no file"):
        FixtureStore(tmp_path).get(Empty(), CONTEXT)


def test_an_unwritable_cache_is_named(tmp_path: Path, fixture: Slow) -> None:
    (tmp_path / "fixtures").write_text("a file where the folder should be")
    with pytest.raises(FixtureError, match="can't be stored under"):
        FixtureStore(tmp_path).get(fixture, CONTEXT)
