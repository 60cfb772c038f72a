"""Timing-sensitive trials: alone on their machine, methods taking turns in random blocks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.blocks import interleave
from harness.engines.base import Shape
from harness.queueing import Item, group_items
from tests.harness.test_scheduler import Bench
from tests.harness.toys import toy_plan, toys

ALONE = Shape(exclusive=True)


def rivals(methods: int, seeds: int) -> list[Item]:
    """Items of `methods` configurations on two tasks, as many seeds each."""
    return group_items(
        planned
        for note in ("a", "b")
        for value in range(methods)
        for planned in toys("ok", range(seeds), task_params={"note": note}, shape=ALONE, value=float(value))
    )


def order(items: Sequence[Item]) -> list[str]:
    return [key for item in sorted(items, key=lambda item: item.turn) for key in item.keys]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.text(max_size=5))
def test_a_block_holds_each_method_once_on_one_task_and_seed_and_is_contiguous(methods, seeds, dice):
    items = rivals(methods, seeds)
    blocks = interleave(items, dice)
    numbers = [blocks[key] for key in order(items)]
    assert numbers == sorted(numbers)
    assert Counter(numbers) == dict.fromkeys(range(1, 2 * seeds + 1), methods)
    for number in set(numbers):
        inside = [item.trials[0].trial for item in items if blocks[item.keys[0]] == number]
        assert len({trial.method_params["value"] for trial in inside}) == methods
        assert len({(trial.seed, trial.task_params["note"]) for trial in inside}) == 1


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=5), st.integers(0, 100))
def test_the_order_depends_on_the_seed_alone(dice, shuffle):
    items, again = rivals(3, 4), rivals(3, 4)
    random.Random(shuffle).shuffle(again)
    interleave(items, dice)
    interleave(again, dice)
    assert order(items) == order(again)


def test_every_method_stands_at_every_place_equally_often():
    """Oracle: the chi-squared test of uniformity, 3 methods x 3 places over 600 blocks."""
    from scipy.stats import chisquare

    items = rivals(3, 300)
    blocks = interleave(items, "any")
    places: Counter[tuple[float, int]] = Counter()
    before: Counter[int] = Counter()
    for item in sorted(items, key=lambda item: item.turn):
        number = blocks[item.keys[0]]
        places[item.trials[0].trial.method_params["value"], before[number]] += 1
        before[number] += 1
    assert chisquare(list(places.values())).pvalue > 0.01
    assert interleave(items, "any") != interleave(items, "other")


def test_trials_that_share_the_machine_are_in_no_block():
    items = group_items(toys("ok", range(3)))
    assert interleave(items, "any") == {}
    assert {item.turn for item in items} == {0}


def intervals(bench: Bench) -> list[tuple[float, float, int | None]]:
    """(start, end, block) of every attempt, in order of start."""
    rows = bench.rows("SELECT started, seconds, block FROM attempts ORDER BY started")
    starts = [datetime.fromisoformat(row["started"]).timestamp() for row in rows]
    return [(start, start + row["seconds"], row["block"]) for start, row in zip(starts, rows, strict=True)]


@pytest.mark.parametrize("bench", ["inline", "process", "ray"], indirect=True)
def test_exclusive_trials_run_alone_and_in_blocks(bench, request):
    if bench.engine == "ray":
        request.getfixturevalue("local_ray")
    plan = toy_plan(
        toys("ok", range(12), seconds=0.1, expect=0.3),
        *(toys("ok", range(4), seconds=0.1, shape=ALONE, value=value) for value in (1.0, 2.0, 3.0)),
        toys("ok", range(12, 24), seconds=0.1, expect=0.3),
    )
    summary = bench.run(plan)
    assert (summary.done, summary.failed, summary.left) == (36, 0, 0)
    found = intervals(bench)
    assert [block for _, _, block in found if block is not None] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    for start, end, block in found:
        if block is not None:
            others = [other for other in found if other[:2] != (start, end)]
            assert all(other_end <= start or other_start >= end for other_start, other_end, _ in others)
    if bench.engine != "inline":
        shared = [item for item in found if item[2] is None]
        assert any(second < end for (_, end, _), (second, _, _) in pairwise(shared)), "the others did run side by side"


def test_a_trial_that_is_tried_again_keeps_its_block(bench, tmp_path):
    marker = tmp_path / "marker"
    marker.mkdir()
    stumbling = toys("bad", how="raises", marker=str(marker), times=1, shape=ALONE)
    plan = toy_plan(stumbling, *(toys("ok", range(5), shape=ALONE, value=value) for value in (1.0, 2.0)))
    assert bench.run(plan).done == 11
    rows = bench.rows("SELECT t.method, a.outcome, a.block FROM attempts a JOIN trials t ON t.trial = a.trial ORDER BY a.started")
    assert Counter(row["outcome"] for row in rows) == {"ok": 11, "error": 1}
    assert sorted(Counter(row["block"] for row in rows if row["outcome"] == "ok").values()) == [2, 2, 2, 2, 3]
    assert len({row["block"] for row in rows if row["method"] == "toy/bad"}) == 1


@pytest.fixture
def bench(tmp_path, request):
    bench = Bench(tmp_path, getattr(request, "param", "process"))
    yield bench
    bench.ledger.close()
