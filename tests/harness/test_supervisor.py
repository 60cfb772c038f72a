"""An actor's supervisor with a real worker process, without Ray: calls on a line and beside it, dead workers, cancelling, cut lines."""

from __future__ import annotations

import functools
import itertools
import socket
import time

import pytest

from harness.engines.base import Call, CallEnded, EngineSettings, Shape, UnitDone
from harness.engines.crew import Crew
from harness.engines.supervisor import Supervisor
from harness.engines.switchboard import Switchboard, dial
from harness.engines.wire import Line, Load, Rows, pack_call, wait
from harness.testing import trial_unit
from tests.harness.toys import PLUGIN

NUMBERS = itertools.count()


class Coordinator:
    """The other end: its switchboard, the line and what has come on it."""

    def __init__(self, folder) -> None:
        self.board = Switchboard(folder / "line", "here", None)
        settings = EngineSettings(str(folder / "cache"), preload=("numpy",))
        self.supervisor = Supervisor(Crew(settings), Shape(), functools.partial(dial, self.board.number(), "here"))
        self.supervisor.start()
        self.line = self.accept()
        self.messages: list[Rows | CallEnded] = []

    def accept(self) -> Line:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            wait(self.board.filenos(), 0.2)
            if arrived := self.board.arrivals():
                return arrived[0][1]
        raise AssertionError("nobody has connected")

    def send(self, *units, **fields) -> int:
        call = Call(next(NUMBERS), units, plugins=(PLUGIN,), **fields)
        self.line.send(pack_call(call))
        return call.id

    def hear(self, calls, patience: float = 60.0) -> dict[int, tuple[list[UnitDone], CallEnded]]:
        """What becomes of these calls."""
        deadline = time.monotonic() + patience
        while not set(calls) <= {event.call for event in self.messages if isinstance(event, CallEnded)}:
            assert time.monotonic() < deadline, f"heard only {self.messages}"
            wait([self.line.fileno()], 0.2)
            for message in self.line.messages():
                self.messages += message
        return {call: sort([event for event in self.messages if event.call == call]) for call in calls}

    def close(self) -> None:
        self.supervisor.close()
        self.board.close()


def sort(events) -> tuple[list[UnitDone], CallEnded]:
    assert isinstance(events[-1], CallEnded)
    return [unit for rows in events[:-1] for unit in rows.events()], events[-1]


@pytest.fixture
def coordinator(tmp_path):
    coordinator = Coordinator(tmp_path)
    yield coordinator
    coordinator.close()


def test_calls_are_executed_in_order_and_the_environment_comes_once(coordinator):
    calls = [coordinator.send(*(trial_unit("ok", (10 * call + seed,)) for seed in range(5))) for call in range(4)]
    for number, (done, ended) in enumerate(coordinator.hear(calls).values()):
        assert [unit.results[0].metrics["score"] for unit in done] == [1.0 + 10 * number + seed for seed in range(5)]
        assert ended.lost is None
    assert [event.call for event in coordinator.messages if isinstance(event, CallEnded)] == calls
    environments = [event.environment for event in coordinator.messages if isinstance(event, Rows)]
    assert environments[0]
    assert environments[1:] == [None] * (len(environments) - 1)


def test_what_lay_in_the_channel_of_a_dead_worker_comes_back_without_blame_and_the_rest_is_executed(coordinator):
    first = coordinator.send(trial_unit("ok", (1,), seconds=0.3), trial_unit("bad", how="exits"), trial_unit("ok", (2,)))
    behind, later = (coordinator.send(trial_unit("ok", (seed,))) for seed in (3, 4))
    found = coordinator.hear([first, behind, later])
    assert (found[first][1].lost, found[first][1].unit, found[first][1].external) == ("worker_lost", 1, False)
    assert [unit.unit for unit in found[first][0]] == [0]
    assert found[behind][1].lost is None
    assert not found[behind][0], "it never began"
    assert [unit.results[0].outcome for unit in found[later][0]] == ["ok"]


def test_a_time_limit_counts_from_the_unit_not_from_the_call_before(coordinator):
    slow = coordinator.send(trial_unit("ok", (1,), seconds=1.0, timeout=60.0))
    calls = [coordinator.send(trial_unit("ok", (seed,), seconds=0.2, timeout=0.8)) for seed in (2, 3)]
    hangs = coordinator.send(trial_unit("bad", how="hangs", timeout=0.5))
    found = coordinator.hear([slow, *calls, hangs])
    assert [found[call][0][0].results[0].outcome for call in (slow, *calls)] == ["ok"] * 3
    assert found[hangs][0][0].results[0].outcome == "timeout"


@pytest.mark.parametrize("place", ["executes", "lies in the channel", "waits"])
def test_any_call_can_be_cancelled(coordinator, place):
    calls = [coordinator.send(trial_unit("ok", (seed,), seconds=0.5)) for seed in range(4)]
    time.sleep(0.2)
    victim = calls[("executes", "lies in the channel", "waits").index(place)]
    coordinator.supervisor.cancel(victim)
    found = coordinator.hear(calls)
    assert found[victim][1].lost == "cancelled"
    assert {call for call in calls if found[call][1].lost} == {victim}


def test_after_a_cut_everything_can_still_be_had_and_another_line_comes(coordinator):
    call = coordinator.send(*(trial_unit("ok", (seed,), seconds=0.1) for seed in range(8)))
    wait([coordinator.line.fileno()], 20)
    coordinator.line._sock.shutdown(socket.SHUT_RDWR)
    done, ended = sort(coordinator.supervisor.answer(call))
    assert ([unit.unit for unit in done], ended.lost) == (list(range(8)), None)
    assert coordinator.supervisor.answer(10**9) == []
    coordinator.line = coordinator.accept()
    another = coordinator.send(trial_unit("ok"))
    assert coordinator.hear([another])[another][1].lost is None


def test_calls_from_elsewhere_are_answered_where_they_are_asked_for(coordinator):
    call = Call(next(NUMBERS), (trial_unit("ok", (1,)),), plugins=(PLUGIN,))
    coordinator.supervisor.submit(Load(*pack_call(call)))
    done, ended = sort(coordinator.supervisor.answer(call.id))
    assert (done[0].results[0].outcome, ended.lost) == ("ok", None)
    wait([coordinator.line.fileno()], 0.2)
    assert not list(coordinator.line.messages())
