"""What the scheduler makes of workers that go away, told by an engine that says exactly when; and how Ray's engine tells of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from harness.engines import make_engine
from harness.engines.base import Call, CallEnded, EngineSettings, FixtureUnit, Shape, TrialResult, UnitDone
from harness.errors import EngineError
from harness.progress_events import FixtureBuilt
from harness.scheduler import BARREN_LOSSES
from harness.testing import trial_unit
from tests.harness.test_scheduler import Bench, LateEngine
from tests.harness.toys import PLUGIN, toy_plan, toys


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, "scripted")
    yield bench
    bench.ledger.close()


class Scripted(LateEngine):
    """Answers each call with what `script` says, as soon as it is submitted."""

    def __init__(self, script, width: int = 1) -> None:
        super().__init__()
        self.script, self.width = script, width

    def slots(self, shape):
        return self.width

    def submit(self, call):
        self.calls.append(call)
        self.events += self.script(self.calls)


def done(call, *outcomes: str):
    """Events of a call whose units end so ("ok" where nothing is said), and its end."""
    now = datetime.now(UTC)
    events: list = []
    for index, unit in enumerate(call.units):
        outcome = outcomes[index] if index < len(outcomes) else "ok"
        keys = (unit.key,) if isinstance(unit, FixtureUnit) else unit.keys
        results = tuple(TrialResult(key, outcome, {"score": 1.0} if outcome == "ok" else {}, error=outcome) for key in keys)
        events.append(UnitDone(call.id, index, results, now, now, 0.1, 0.1, "near:1", {"python": "3"}))
    return [*events, CallEnded(call.id, "near:1")]


def lost(call, unit: int | None, **fields):
    return CallEnded(call.id, "far:1", "worker_lost", unit, "It went away.", **fields)


def test_a_node_with_dozens_of_workers_that_goes_away_does_not_end_the_run(bench):
    """Each of its calls ends without anybody knowing what had begun: that is no engine whose workers can't live."""
    width = 2 * BARREN_LOSSES

    def script(calls):
        return (
            [lost(call, None, external=True, unwatched=True) for call in calls]
            if len(calls) == width
            else (done(calls[-1]) if len(calls) > width else [])
        )

    summary = bench.run(toy_plan(toys("ok", range(4 * width), expect=0.4)), engine=Scripted(script, width))
    assert (summary.done, summary.failed, summary.left) == (4 * width, 0, 0)
    assert summary.attempts == {"ok": 4 * width}


def test_workers_that_die_before_they_begin_anything_end_the_run_with_a_sentence(bench):
    with pytest.raises(EngineError, match="die before they begin"):
        bench.run(toy_plan(toys("ok", range(2))), engine=Scripted(lambda calls: [lost(calls[-1], None)]))
    assert bench.states(toy_plan(toys("ok", range(2)))) == {"pending": 2}, "what was leased is given back"


def test_results_are_in_the_ledger_before_workers_are_ended(bench):
    """Which takes seconds, in which the coordinator may be killed, and may fail."""
    engine, seen = Scripted(lambda calls: done(calls[-1])), []

    def stop():
        seen.append(bench.states(plan))
        raise RuntimeError("the cluster does not let us go")

    engine.stop = stop  # type: ignore[method-assign]
    plan = toy_plan(toys("ok", range(5)))
    with pytest.raises(RuntimeError, match="does not let us go"):
        bench.run(plan, engine=engine)
    assert seen == [{"done": 5}]


@pytest.mark.parametrize("second", ["ok", "error"])
@pytest.mark.parametrize("first", ["ok", "error"])
def test_a_fixture_that_two_workers_build_is_there_when_one_of_them_succeeds(bench, first, second):
    """The first is believed dead and answers late; only its success counts, and then nobody asks how the second one ended."""
    fixtures: dict = {}
    needy = toys("ok", range(3), task_params={"fixture": "plain"}, store=bench.store, fixtures=fixtures)

    def script(calls):
        if len(calls) == 1:
            return [lost(calls[0], 0, external=True, unwatched=True)]
        if len(calls) == 2:
            return [*done(calls[0], first)[:1], *done(calls[1], second)]
        return done(calls[-1])

    engine = Scripted(script)
    summary = bench.run(toy_plan(needy, fixtures=fixtures.values()), engine=engine)
    assert (summary.done, summary.failed, summary.left) == (3, 0, 0)
    assert [event.error for event in bench.heard(FixtureBuilt)] == [""] * (1 + (first == second == "ok"))
    builds = sum(isinstance(call.units[0], FixtureUnit) for call in engine.calls)
    assert builds == (3 if first == second == "error" else 2), "an error is tried once more"


def test_calls_of_a_lost_actor_say_that_nobody_watched(local_ray, tmp_path):
    engine = make_engine("ray")
    try:
        engine.start(EngineSettings(str(tmp_path / "cache"), workers=1), [Shape()])
        for number in range(3):
            engine.submit(Call(number, (trial_unit("ok", (number,), seconds=60.0),) * 2, plugins=(PLUGIN,)))
        deadline = time.monotonic() + 60
        while not any(len(actor.calls) == 3 for actor in engine._pools.actors):  # type: ignore[attr-defined]
            assert time.monotonic() < deadline
            engine.poll(0.1)
        import ray

        ray.kill(engine._pools.actors[0].handle)  # type: ignore[attr-defined]
        ended: list = []
        while len(ended) < 3:
            assert time.monotonic() < deadline
            ended += [event for event in engine.poll(0.1) if isinstance(event, CallEnded)]
        assert {(event.lost, event.unit, event.external, event.unwatched) for event in ended} == {("worker_lost", None, True, True)}
    finally:
        engine.stop()
