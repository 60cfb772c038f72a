"""Compiled kernels against the same loops in plain C, on one core, as ratios of CPU time in one run; both must count the same regret."""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from kernels.bandits import armed, linear
from tasks.bandit_regret.linear import Linear
from tasks.bandit_regret.stochastic import Stochastic

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the plain C loops need gcc"),
    pytest.mark.timeout(600),
]

ROUNDS = 5  #: interleaved repetitions; the median ratio counts
LEAST = 0.5  #: of C's rate
DOUBLES, NOTHING = ctypes.POINTER(ctypes.c_double), np.empty(0, np.int64)


@pytest.fixture(scope="module")
def plain_c(tmp_path_factory):
    library = tmp_path_factory.mktemp("c") / "bandits.so"
    source = Path(__file__).with_name("bandits.c")
    subprocess.run(["gcc", "-O3", "-fPIC", "-shared", "-ffp-contract=off", str(source), "-o", str(library), "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    for name in ("ucb1", "tsallis", "kl_ucb", "oful"):
        getattr(loaded, name).restype = ctypes.c_double
    return loaded


def _pointer(array):
    return array.ctypes.data_as(DOUBLES)


def _seconds(run):
    start = time.thread_time()
    return run(), time.thread_time() - start


def _compare(name, horizon, ours, theirs):
    ours(), theirs()  # compile, load, warm up
    ratios, mine, his = [], [], []
    for _ in range(ROUNDS):
        (regret, a), (expected, b) = _seconds(ours), _seconds(theirs)
        assert regret == pytest.approx(expected, rel=1e-9)
        ratios.append(b / a)
        mine.append(horizon / a)
        his.append(horizon / b)
    print(f"\n{name}: {max(mine):.3g} steps/s, plain C {max(his):.3g}, ratio {statistics.median(ratios):.2f}")
    assert statistics.median(ratios) >= LEAST


def _armed(kernel, params, seed=0, arms=10, horizon=1_000_000):
    environment = Stochastic(arms=arms, horizon=horizon).environment(seed)
    curve = np.empty(1)

    def ours():
        kernel(environment, np.array(params, dtype=float), 7, np.array([horizon]), curve, NOTHING)
        return curve[0]

    return ours, np.ascontiguousarray(environment.means[0]), environment.noise_key


def test_ucb1(plain_c):
    horizon = 1_000_000
    ours, means, key = _armed(armed.play_ucb1, (0.5,))
    arguments = (_pointer(means), 10, ctypes.c_int64(horizon), ctypes.c_double(0.5), ctypes.c_uint64(key))
    _compare("UCB1 K=10", horizon, ours, lambda: plain_c.ucb1(*arguments))


def test_tsallis_inf(plain_c):
    horizon = 500_000
    ours, means, key = _armed(armed.play_tsallis, (0.0,), horizon=horizon)
    arguments = (_pointer(means), 10, ctypes.c_int64(horizon), ctypes.c_uint64(7), ctypes.c_uint64(key))
    _compare("Tsallis-INF K=10", horizon, ours, lambda: plain_c.tsallis(*arguments))


def test_kl_ucb(plain_c):
    horizon = 100_000
    ours, means, key = _armed(armed.play_kl_ucb, (0.0,), horizon=horizon)
    arguments = (_pointer(means), 10, ctypes.c_int64(horizon), ctypes.c_uint64(key))
    _compare("KL-UCB K=10", horizon, ours, lambda: plain_c.kl_ucb(*arguments))


@pytest.mark.parametrize(("arm_set", "d", "arms", "horizon"), [("fixed", 16, 100, 100_000), ("sphere", 10, 20, 50_000)])
def test_oful(plain_c, arm_set, d, arms, horizon):
    environment = Linear(d=d, arms=arms, horizon=horizon, arm_set=arm_set, gap=None).environment(0)
    curve = np.empty(1)
    features, means = environment.features.copy(), environment.means.copy()

    def ours():
        linear.play_oful(environment, np.array([1.0, 3.0, 0, 0, 0.01, 1, 1]), 7, np.array([horizon]), curve, NOTHING)
        return curve[0]

    def theirs():
        return plain_c.oful(
            int(arm_set != "fixed"), _pointer(features), _pointer(means), _pointer(environment.theta), d, arms, ctypes.c_int64(horizon),
            ctypes.c_double(1.0), ctypes.c_double(3.0), ctypes.c_double(1.0), ctypes.c_uint64(environment.data_key),
            ctypes.c_uint64(environment.noise_key),
        )  # fmt: skip

    _compare(f"OFUL {arm_set} {arms} x {d}", horizon, ours, theirs)
