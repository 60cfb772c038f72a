"""Direct connections of coordinator and actors: who is let in, what a reader who has stopped can't do, what happens when one breaks."""

from __future__ import annotations

import dataclasses
import os
import socket
import time

import pytest

from harness.engines import make_engine, switchboard
from harness.engines.switchboard import Number, Switchboard, dial
from harness.engines.wire import Line, wait
from harness.progress_events import TrialFinished
from tests.harness.test_scheduler import Bench
from tests.harness.toys import toy_plan, toys


@pytest.fixture
def board(tmp_path):
    board = Switchboard(tmp_path / "line", "here", "127.0.0.1")
    yield board
    board.close()


def arrivals(board: Switchboard, count: int) -> list[tuple[bytes, Line]]:
    found: list[tuple[bytes, Line]] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        wait(board.filenos(), 0.2)
        found += board.arrivals()
    return found


@pytest.mark.parametrize("node", ["here", "elsewhere"])
def test_an_actor_is_known_by_its_token_on_the_same_node_and_from_another(board, node):
    number = board.number()
    theirs = dial(number, node, lambda: True)
    [(token, ours)] = arrivals(board, 1)
    assert token == number.token
    theirs.send({"answer": 42})
    wait([ours.fileno()], 10)
    assert list(ours.messages()) == [{"answer": 42}]
    assert theirs._sock.family == (socket.AF_UNIX if node == "here" else socket.AF_INET)


def test_nobody_dials_where_nobody_listens(board):
    number = dataclasses.replace(board.number(), port=0)
    assert dial(number, "elsewhere", lambda: True) is None
    board.close()
    assert dial(Number(b"", "here", "/nonexistent", "127.0.0.1", 1), "here", lambda: False) is None


def test_strangers_are_hung_up_on_without_a_byte_of_theirs_being_unpickled(board, monkeypatch):
    monkeypatch.setattr(switchboard, "STRANGER_SECONDS", 0.2)
    number = board.number()
    silent, short = (socket.create_connection((number.host, number.port)) for _ in range(2))
    short.sendall(b"GET / HTTP/1.1\r\n")
    deadline = time.monotonic() + 10
    while len(board.filenos()) < 4 and time.monotonic() < deadline:
        assert board.arrivals() == []
    assert not wait(board.filenos(), 0.3), "half a token keeps nobody busy"
    assert board.arrivals() == []
    assert len(board.filenos()) == 2
    for stranger in (silent, short):
        stranger.settimeout(10)
        assert stranger.recv(1) == b""


def test_a_reader_that_has_stopped_never_blocks_the_writer():
    ours, theirs = map(Line, socket.socketpair())
    messages = [os.urandom(200_000) for _ in range(20)]
    for message in messages:
        ours.send(message)
    assert ours.unsent
    got: list[bytes] = []
    while len(got) < len(messages):
        got += theirs.messages()
        ours.flush()
    assert got == messages
    assert not ours.unsent
    theirs.close()
    wait([ours.fileno()], 10)
    assert list(ours.messages()) == []
    assert ours.closed
    ours.send("to nobody")  # no error: `closed` says it


@pytest.fixture
def bench(tmp_path, local_ray):
    bench = Bench(tmp_path, "ray")
    yield bench
    bench.ledger.close()


def test_a_line_that_breaks_costs_no_trial_and_is_replaced(bench):
    engine = make_engine("ray")
    cuts: list[int] = []

    def cut(event):
        if isinstance(event, TrialFinished) and len(bench.heard(TrialFinished)) in (20, 100):
            lines = [actor.line for actor in engine._pools.actors if actor.line is not None]
            cuts.append(len(lines))
            for line in lines:
                line._sock.shutdown(socket.SHUT_RDWR)

    plan = toy_plan(toys("ok", range(150), seconds=0.05, expect=0.05), toys("bad", how="exits"))
    summary = bench.run(plan, engine=engine, on_event=cut)
    assert (summary.done, summary.failed, summary.left) == (150, 1, 0)
    assert len(cuts) == 2, "there were lines to cut"
    assert min(cuts) >= 1
    rows = bench.rows("SELECT trial, SUM(accepted) AS accepted FROM attempts WHERE outcome = 'ok' GROUP BY trial")
    assert [row["accepted"] for row in rows] == [1] * 150
    assert dict(summary.attempts)["worker_lost"] == 2, "nobody but the culprit was blamed"


def test_without_lines_calls_go_through_ray(bench, monkeypatch):
    number = Switchboard.number
    monkeypatch.setattr(Switchboard, "number", lambda board: dataclasses.replace(number(board), node="another", port=0))
    engine, lines = make_engine("ray"), []
    plan = toy_plan(toys("ok", range(100), seconds=0.01, expect=0.01), toys("bad", how="hangs", timeout=0.5), toys("bad", how="exits"))

    def look(event):
        if isinstance(event, TrialFinished):
            lines.extend(actor.line for actor in engine._pools.actors if actor.line is not None)

    summary = bench.run(plan, engine=engine, on_event=look)
    assert (summary.done, summary.failed, summary.left) == (100, 2, 0)
    assert dict(summary.attempts) == {"ok": 100, "timeout": 1, "worker_lost": 2}
    assert not lines


def test_a_local_ray_of_our_own_opens_no_port(tmp_path, monkeypatch):
    engine = make_engine("ray")
    monkeypatch.setattr(engine, "_connection", object())
    assert engine._network_address() is None
    board = Switchboard(tmp_path / "line", "here", engine._network_address())
    assert (board.number().host, len(board.filenos())) == ("", 1)
    board.close()
