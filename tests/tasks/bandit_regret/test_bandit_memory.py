"""A trial's peak memory does not grow with its horizon, for every compiled policy but those that need all past rounds by definition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.registry import REGISTRY, resolve
from tasks.testing import LocalContext

LONG = 300_000
BYTES = 1_000_000  #: one number per round would be 2.4 million
PROBLEMS = {
    "stochastic": {},
    "linear": {"d": 4, "arms": 5},
    "heteroscedastic": {"d": 3, "arms": 4},
    "heavy-tailed-glm": {"d": 3, "arms": 4, "hold": 11},
    "online-regression": {"d": 3},
}
#: Medians of block means, maximum likelihood and scores of truncated rows judge all past rounds again; kernel regression keeps rows.
KEEP_ALL = {"mom-ucb", "glm-ucb", "ucb-glm", "menu", "tofu", "kernel-ogd", "aogd-ald", "nons-ald", "budgeted-perceptron"}


def _kilobytes(name: str) -> int:
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def _growth(task: str, method: str, folder: Path) -> int:
    """Bytes by which a long trial's peak lies above what the process held before it."""
    short, long = (resolve(REGISTRY.task(f"bandit_regret/{task}"), {**PROBLEMS[task], "horizon": h}, task) for h in (1000, LONG))
    policy, context = resolve(REGISTRY.method(method, "bandit_regret"), {}, method), LocalContext(folder)
    short.run(policy, 0, context)  # compiles
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    except OSError as error:
        pytest.skip(f"no peak memory here: {error}")
    before = _kilobytes("VmRSS")
    long.run(policy, 0, context)
    return 1024 * (_kilobytes("VmHWM") - before)


def _compiled(task: str) -> list[str]:
    one = resolve(REGISTRY.task(f"bandit_regret/{task}"), {**PROBLEMS[task], "horizon": 1000}, task)
    names = (method.name for method in REGISTRY.methods_for(type(one)))
    return [name for name in names if one.infeasible(resolve(REGISTRY.method(name, "bandit_regret"), {}, name)) is None]


@pytest.mark.parametrize("task", PROBLEMS)
def test_memory_does_not_grow_with_the_horizon(task, tmp_path):
    names = _compiled(task)
    assert len(names) > 3
    growth = {name: _growth(task, name, tmp_path) for name in names if name not in KEEP_ALL}
    assert max(growth.values()) < BYTES, growth


def test_a_policy_that_keeps_its_rewards_is_seen_to_grow(tmp_path):
    assert _growth("stochastic", "mom-ucb", tmp_path) > 8 * LONG
