"""The conformance class of engines: every engine, also one of a third party, must pass it.

Subclass it in a test module, give it `make_engine` and the path of a plugin with the toy tasks (tests/harness/toy_plugin.py).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from db.records import Outcome
from harness.engines.base import Call, CallEnded, Engine, EngineSettings, FixtureUnit, Shape, TrialUnit, Unit, UnitDone

#: A test that waits longer than this for an event has found an engine that lost one.
PATIENCE = 120.0

_CALLS = itertools.count()


def trial_unit(method: str, seeds: Sequence[int] = (0,), *, task: str = "single", timeout: float = 60.0, **params: Any) -> TrialUnit:
    """A unit of the toy plugin; keys are readable."""
    keys = tuple(f"{task}/{method}/{params}/{seed}" for seed in seeds)
    return TrialUnit(f"toy/{task}", {}, f"toy/{method}", params, tuple(seeds), keys, timeout)


class EngineConformance:
    """What the scheduler relies on. Tests that need isolation are skipped where `engine.isolated` is false."""

    plugin: ClassVar[str]

    @classmethod
    def make_engine(cls) -> Engine:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        """One started engine for the whole class."""
        engine = cls.make_engine()
        engine.start(EngineSettings(str(tmp_path_factory.mktemp("cache")), workers=2), [Shape()])
        yield engine
        engine.stop()
        engine.stop()  # once more is no error

    # -- helpers ----------------------------------------------------------------------------------------------------------------------
    def run(self, engine: Engine, *calls: Sequence[Unit], shape: Shape = Shape()) -> list[tuple[list[UnitDone], CallEnded]]:
        """Submit calls and wait for all of them."""
        return self.wait(engine, [self.submit(engine, units, shape=shape) for units in calls])

    def submit(self, engine: Engine, units: Sequence[Unit], **fields: Any) -> int:
        call = Call(next(_CALLS), tuple(units), plugins=(self.plugin,), **fields)
        engine.submit(call)
        return call.id

    def wait(self, engine: Engine, calls: Sequence[int]) -> list[tuple[list[UnitDone], CallEnded]]:
        done: dict[int, list[UnitDone]] = {call: [] for call in calls}
        ended: dict[int, CallEnded] = {}
        deadline = time.monotonic() + PATIENCE
        while len(ended) < len(calls):
            assert time.monotonic() < deadline, f"only {sorted(ended)} of {calls} ended"
            for event in engine.poll(0.2):
                assert event.call not in ended, "an event after its call's end"
                if isinstance(event, UnitDone):
                    done[event.call].append(event)
                else:
                    ended[event.call] = event
        return [(done[call], ended[call]) for call in calls]

    def outcome(self, engine: Engine, unit: Unit) -> tuple[Outcome, str, UnitDone | CallEnded]:
        """Outcome, sentence and event of one unit."""
        units, ended = self.run(engine, [unit])[0]
        if units:
            return units[0].results[0].outcome, units[0].results[0].error, units[0]
        assert ended.lost is not None
        assert ended.unit == 0
        return ended.lost, ended.detail, ended

    def need_isolation(self, engine: Engine) -> None:
        if not engine.isolated:
            pytest.skip(f"the engine {engine.name} executes units in this process")

    # -- results ----------------------------------------------------------------------------------------------------------------------
    def test_units_of_a_call_are_reported_in_order_then_its_end(self, engine: Engine) -> None:
        results = self.run(engine, [trial_unit("ok", (seed,)) for seed in range(20)], [trial_unit("ok", (seed,)) for seed in range(20, 30)])
        for (done, ended), seeds in zip(results, (range(20), range(20, 30)), strict=True):
            assert [event.unit for event in done] == list(range(len(seeds)))
            assert [event.results[0].metrics["score"] for event in done] == [1.0 + seed for seed in seeds]
            assert ended.lost is None
            assert all(event.finished >= event.started and event.seconds >= 0 and event.worker for event in done)
            assert all(event.environment["python"] for event in done)

    def test_a_seed_group_is_one_invocation(self, engine: Engine) -> None:
        done, _ = self.run(engine, [trial_unit("ok", (3, 1, 2), task="group")])[0]
        assert [result.metrics for result in done[0].results] == [{"score": 1.0 + seed, "size": 3.0} for seed in (3, 1, 2)]
        assert done[0].results[0].curves == {"path": ([1.0, 2.0, 4.0], [3.0, 4.0, 5.0])}

    def test_one_bad_seed_does_not_take_its_group_along(self, engine: Engine) -> None:
        done, _ = self.run(engine, [trial_unit("bad", (0, 1, 2), task="group", how="raises", only_seed=1)])[0]
        assert [result.outcome for result in done[0].results] == ["ok", "error", "ok"]

    def test_global_generators_are_seeded_per_trial(self, engine: Engine) -> None:
        done, _ = self.run(engine, [trial_unit("ok", (seed,)) for seed in (5, 6, 5)])[0]
        draws = [event.results[0].metrics["draw"] for event in done]
        assert draws[0] == draws[2] != draws[1]

    def test_a_fixture_is_built_once_and_its_failure_is_an_error(self, engine: Engine, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        trace.mkdir()
        units = [FixtureUnit("toy-base", {"trace": str(trace)}, "aa", 60.0), FixtureUnit("toy-base", {"broken": True}, "bb", 60.0)]
        results = self.run(engine, [units[0]], [units[0]], [units[1]])
        assert [results[call][0][0].results[0].outcome for call in range(3)] == ["ok", "ok", "error"]
        assert "no electricity" in results[2][0][0].results[0].error
        assert len(list(trace.iterdir())) == 1

    # -- what methods do wrong --------------------------------------------------------------------------------------------------------
    @pytest.mark.parametrize(
        ("how", "outcome", "sentence"),
        [
            ("raises", "error", "ValueError: the toy is broken"),
            ("sys_exit", "error", "SystemExit: 3"),
            ("memory_error", "oom", "MemoryError"),
            ("invalid", "invalid", "The weights have the wrong shape."),
            ("nan", "invalid", "Metric 'score' is nan although it must be finite (toy/single with toy/bad)."),
            ("range", "invalid", "Metric 'score' is -1e+09, outside [-1e+06, 1e+06]"),
            ("undeclared", "invalid", "Metric 'surprise' is not a scalar that toy/single declares"),
            ("missing", "invalid", "Metric 'score' is missing"),
            ("text", "invalid", "Metric 'score' is a str, not a number"),
            ("unpicklable", "invalid", "`info` is not a JSON object"),
        ],
    )
    def test_misbehaviour_has_an_outcome_and_a_sentence(self, engine: Engine, how: str, outcome: str, sentence: str) -> None:
        results = self.run(engine, [trial_unit("ok"), trial_unit("bad", how=how), trial_unit("ok", (1,))])[0]
        (before, bad, after), ended = results
        assert (bad.results[0].outcome, ended.lost) == (outcome, None)
        assert sentence in bad.results[0].error
        assert before.results[0].outcome == after.results[0].outcome == "ok"

    def test_what_was_measured_legally_is_kept(self, engine: Engine) -> None:
        done, _ = self.run(engine, [trial_unit("bad", how="undeclared")])[0]
        assert done[0].results[0].metrics["score"] == 1.0
        assert "surprise" not in done[0].results[0].metrics

    def test_unknown_names_and_params_are_errors_in_a_sentence(self, engine: Engine) -> None:
        assert "has no parameter 'nonsense'" in self.outcome(engine, trial_unit("ok", nonsense=1))[1]

    def test_a_time_limit_ends_the_unit_and_hands_back_the_rest(self, engine: Engine) -> None:
        done, ended = self.run(engine, [trial_unit("ok"), trial_unit("bad", how="hangs", timeout=0.5), trial_unit("ok", (1,))])[0]
        outcomes = [event.results[0].outcome for event in done]
        assert outcomes[:2] == ["ok", "timeout"]
        assert "in _hangs" in done[1].results[0].traceback
        assert ended.lost is None

    def test_a_call_hands_back_what_its_budget_does_not_cover(self, engine: Engine) -> None:
        units = [trial_unit("ok", (seed,), seconds=0.2) for seed in range(50)]
        done, ended = self.wait(engine, [self.submit(engine, units, budget=0.5)])[0]
        assert 1 <= len(done) < 50
        assert ended.lost is None

    def test_a_call_that_waits_can_be_cancelled(self, engine: Engine) -> None:
        calls = [self.submit(engine, [trial_unit("ok", seconds=0.3)], seconds=10.0) for _ in range(8)]
        engine.cancel(calls[7])
        engine.cancel(10**9)
        results = self.wait(engine, calls)
        assert results[7][1].lost == "cancelled"
        assert not results[7][0]
        assert all(results[number][1].lost is None for number in range(7))

    def test_calls_that_no_worker_has_are_handed_back_and_the_others_end(self, engine: Engine) -> None:
        calls = [self.submit(engine, [trial_unit("ok", seconds=0.3)], seconds=10.0) for _ in range(8)]
        engine.hand_back()
        results = self.wait(engine, calls)
        assert all(ended.lost is None for _, ended in results)
        assert any(not units for units, _ in results)  # two workers can't have begun eight of them
        assert engine.usage().workers >= 1

    # -- isolation --------------------------------------------------------------------------------------------------------------------
    @pytest.mark.parametrize(("how", "sentence"), [("exits", "exited with code 7"), ("segfaults", "SIGSEGV"), ("kills_itself", "SIGKILL")])
    def test_only_the_culprit_of_a_lost_worker_is_named(self, engine: Engine, how: str, sentence: str) -> None:
        self.need_isolation(engine)
        units = [trial_unit("ok"), trial_unit("bad", how=how), trial_unit("ok", (1,))]
        done, ended = self.run(engine, units)[0]
        assert (ended.lost, ended.unit) == ("worker_lost", 1)
        assert sentence in ended.detail
        assert ended.external == (how == "kills_itself")
        assert all(event.unit == 0 and event.results[0].outcome == "ok" for event in done)
        assert ended.started is not None
        assert self.outcome(engine, trial_unit("ok"))[0] == "ok"

    def test_last_words_survive(self, engine: Engine) -> None:
        self.need_isolation(engine)
        assert "last words" in self.outcome(engine, trial_unit("bad", how="exits"))[2].stderr
        assert "Segmentation fault" in self.outcome(engine, trial_unit("bad", how="segfaults"))[2].stderr

    @pytest.mark.parametrize("how", ["hangs_stubbornly", "swallows"])
    def test_a_unit_that_ignores_the_polite_stop_is_killed(self, engine: Engine, how: str) -> None:
        self.need_isolation(engine)
        outcome, sentence, _ = self.outcome(engine, trial_unit("bad", how=how, timeout=0.5))
        assert outcome == "timeout"
        assert "killed" in sentence
        assert self.outcome(engine, trial_unit("ok"))[0] == "ok"

    def test_output_is_captured_per_unit_and_bounded(self, engine: Engine) -> None:
        self.need_isolation(engine)
        units = [trial_unit("bad", how="raises"), trial_unit("bad", how="prints"), trial_unit("ok")]
        (raises, prints, ok), _ = self.run(engine, units)[0]
        assert (raises.stdout, raises.stderr) == ("a line on stdout\n", "a line on stderr\n")
        assert prints.stdout.endswith("the end\n")
        assert len(prints.stdout) < 10_000
        assert (ok.stdout, ok.stderr) == ("", "")

    def test_a_running_call_can_be_cancelled(self, engine: Engine) -> None:
        self.need_isolation(engine)
        call = self.submit(engine, [trial_unit("bad", how="hangs")])
        assert not engine.poll(1.0)
        engine.cancel(call)
        _, ended = self.wait(engine, [call])[0]
        assert ended.lost == "cancelled"

    def test_a_memory_limit_ends_the_unit(self, engine: Engine) -> None:
        self.need_isolation(engine)
        results = self.run(engine, [trial_unit("bad", how="leaks")], shape=Shape(memory=1 << 30))
        done, ended = results[0]
        assert (done[0].results[0].outcome if done else ended.lost) == "oom"

    def test_what_a_unit_started_dies_with_its_worker(self, engine: Engine, tmp_path: Path) -> None:
        self.need_isolation(engine)
        units = [trial_unit("bad", how="forks", marker=str(tmp_path)), trial_unit("bad", how="hangs_stubbornly", timeout=0.5)]
        (done, ended) = self.run(engine, units)[0]
        assert [event.results[0].outcome for event in done] == ["ok"]
        assert (ended.lost, ended.unit) == ("timeout", 1)
        child = int((tmp_path / "child").read_text())
        deadline = time.monotonic() + 20
        while _alive(child) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _alive(child)

    def test_workers_use_the_threads_they_were_given(self, engine: Engine) -> None:
        done, _ = self.run(engine, [trial_unit("bad", how="environment")])[0]
        assert done[0].results[0].metrics["score"] == 1.0


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
