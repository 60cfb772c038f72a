"""Executing one unit: validation against the declaration, outcomes of exceptions, scratch folders, fixtures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from harness.engines.base import TrialUnit
from harness.testing import trial_unit
from harness.worker import Executor, describe
from tasks.api import Measured, Metric
from tasks.errors import InvalidResult
from tasks.validation import check
from tests.harness.toys import PLUGIN, toys


@pytest.fixture
def task():
    toys("ok")  # loads the plugin
    from tasks.registry import REGISTRY

    return REGISTRY.task("toy/group")()


@pytest.fixture
def executor(tmp_path):
    (tmp_path / "scratch").mkdir()
    return Executor(str(tmp_path / "cache"), "cpu", 1, tmp_path / "scratch")


GOOD: dict[str, Any] = {"metrics": {"score": 1.0, "size": 2.0}, "curves": {"path": ([1, 2], [0.1, 0.2])}}


def test_a_legal_result_passes_unchanged(task):
    checked = check(task, "toy/ok", Measured(**GOOD))
    assert (checked.complaint, checked.metrics, checked.curves) == ("", {"score": 1.0, "size": 2.0}, {"path": ([1.0, 2.0], [0.1, 0.2])})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrics": {"score": 1.0}}, "Metric 'size' is missing"),
        (
            {"metrics": {"score": 1.0, "size": 2.0, "more": 1.0}},
            "Metric 'more' is not a scalar that toy/group declares (it has: score, size)",
        ),
        ({"metrics": {"score": 1.0, "size": True}}, "Metric 'size' is a bool, not a number"),
        ({"metrics": {"score": torch.tensor(1.0), "size": 1.0}}, "Metric 'score' is a torch.Tensor, not a number"),
        ({"metrics": {"score": 1e7, "size": 1.0}}, "Metric 'score' is 1e+07, outside [-1e+06, 1e+06]"),
        ({"metrics": {"score": -math.inf, "size": 1.0}}, "Metric 'score' is -inf although it must be finite"),
        ({"curves": {}}, "Curve 'path' is missing"),
        ({"curves": {"path": ([1, 2], [0.1])}}, "Curve 'path' has 2 steps but 1 values"),
        ({"curves": {"path": ([2, 1], [0.1, 0.2])}}, "Curve 'path' has steps (round) that do not strictly increase"),
        ({"curves": {"path": ([1, 1], [0.1, 0.2])}}, "do not strictly increase"),
        ({"curves": {"path": ([1, math.inf], [0.1, 0.2])}}, "do not strictly increase"),
        ({"curves": {"path": ([1, 2], [0.1, math.nan])}}, "Curve 'path' is nan although it must be finite"),
        ({"curves": {"path": [1, 2, 3]}}, "is not a pair (steps, values)"),
        ({"curves": {"path": ([1], [0.1]), "score": ([1], [1.0])}}, "Curve 'score' is not one that toy/group declares (it has: path)"),
        ({"info": {"x": object()}}, "The note `info` is not a JSON object"),
    ],
)
def test_every_breach_is_one_sentence_with_metric_task_and_method(task, change, words):
    checked = check(task, "toy/ok", Measured(**{**GOOD, **change}))
    assert words in checked.complaint
    assert checked.complaint.endswith("(toy/group with toy/ok).")
    assert "\n" not in checked.complaint


def test_numpy_numbers_become_floats(task):
    checked = check(task, "toy/ok", Measured({"score": np.float32(0.5), "size": np.int64(3)}, {"path": (np.arange(1, 3), torch.ones(2))}))
    assert checked.complaint == ""
    assert [type(value) for value in checked.metrics.values()] == [float, float]
    assert checked.curves == {"path": ([1.0, 2.0], [1.0, 1.0])}


def test_nan_is_legal_where_the_metric_says_so(task):
    class Lax(type(task), family="toy", name="lax"):
        metrics = (Metric("score", "1", "higher", "May be anything.", primary=True, finite=False, low=0.0),)

    for value, legal in ((math.nan, True), (math.inf, True), (-math.inf, False)):
        assert (check(Lax(), "m", Measured({"score": value})).complaint == "") == legal


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidResult("Three bits were declared."), "invalid"),
        (MemoryError(), "oom"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory."), "oom"),
        (ValueError("first line\nsecond line"), "error"),
    ],
)
def test_exceptions_have_outcomes(error, outcome):
    found, sentence, trace = describe(error)
    assert found == outcome
    assert "\n" not in sentence
    assert type(error).__name__ in trace


def test_torch_running_out_of_memory_for_real_is_oom():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert describe(caught.value)[0] == "oom"


def test_scratch_folders_are_removed(executor, tmp_path):
    assert executor.execute(trial_unit("ok"), (PLUGIN,)).results[0].outcome == "ok"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_unknown_task_is_an_error_of_its_trial(executor):
    unit = TrialUnit("toy/nothing", {}, "toy/ok", {}, (0,), ("key",), 1.0)
    (result,) = executor.execute(unit, (PLUGIN,)).results
    assert result.outcome == "error"
    assert result.error.startswith("Unknown task 'toy/nothing'; did you mean")


def test_a_group_that_forgets_a_seed_is_invalid(executor, task, monkeypatch):
    monkeypatch.setattr(type(task), "run_seeds", lambda self, method, seeds, context: {})
    (result,) = executor.execute(trial_unit("ok", (4,), task="group"), (PLUGIN,)).results
    assert result.outcome == "invalid"
    assert "instead of the seeds [4]" in result.error
