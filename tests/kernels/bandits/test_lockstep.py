"""The torch lockstep path against the compiled kernels: same bits, same decisions on the same streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.bandits import armed, draws, linear
from kernels.bandits.lockstep import draws as lockstep_draws
from kernels.bandits.lockstep import policies
from tasks.bandit_regret.linear import Linear
from tasks.bandit_regret.methods.oful import Oful
from tasks.bandit_regret.stochastic import Stochastic

DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")])]
SEEDS = range(6)


def _keys(task, role, device):
    return torch.tensor([task.streams(seed).integer(role) for seed in SEEDS], device=device)


def test_bits_and_uniforms_are_the_compiled_ones():
    keys = torch.tensor([0, 1, 12345, 2**62 + 17, 2**63 - 1])
    for round_, index in ((1, 0), (7, 3), (10**9, 2**19), (2**43 - 1, 1)):
        ours = lockstep_draws.bits(keys, round_, index).numpy().view(np.uint64)
        assert ours.tolist() == [int(draws.bits(int(key), round_, index)) for key in keys]
        assert lockstep_draws.uniform(keys, round_, index).tolist() == [draws.uniform(int(key), round_, index) for key in keys]


def test_normals_agree_with_the_compiled_ones():
    keys = torch.arange(20_000)
    ours = lockstep_draws.normal(keys, 3, 1).numpy()
    np.testing.assert_allclose(ours, [draws.normal(int(key), 3, 1) for key in keys], rtol=1e-12, atol=1e-14)
    far = torch.tensor([1e-15, 1e-11, 1e-3, 0.2, 0.5, 0.99, 1 - 1e-12], dtype=torch.float64)
    np.testing.assert_allclose(lockstep_draws.normal_quantile(far), [draws.normal_quantile(p) for p in far.tolist()], rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_ucb1_takes_the_decisions_of_the_kernel(device):
    task = Stochastic(arms=6, horizon=1500)
    environments = [task.environment(seed) for seed in SEEDS]
    means = torch.tensor(np.stack([one.means[0] for one in environments]), device=device)
    ours = policies.play_ucb1(means, _keys(task, "noise", device), 0.5, task.horizon).cpu()
    for row, environment in zip(ours, environments, strict=True):
        trace = np.empty(task.horizon, np.int64)
        armed.play_ucb1(environment, np.array([0.5]), 0, np.array([task.horizon]), np.empty(1), trace)
        np.testing.assert_array_equal(row, trace)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reduced", [False, True])
def test_tsallis_inf_takes_the_decisions_of_the_kernel(reduced, device):
    task = Stochastic(arms=5, horizon=800)
    environments = [task.environment(seed) for seed in SEEDS]
    means = torch.tensor(np.stack([one.means[0] for one in environments]), device=device)
    ours = policies.play_tsallis(means, _keys(task, "noise", device), _keys(task, "method", device), reduced, task.horizon).cpu()
    for seed, row in zip(SEEDS, ours, strict=True):
        trace, key = np.empty(task.horizon, np.int64), task.streams(seed).integer("method")
        armed.play_tsallis(environments[seed], np.array([float(reduced)]), key, np.array([task.horizon]), np.empty(1), trace)
        np.testing.assert_array_equal(row, trace)


@pytest.mark.parametrize("device", DEVICES)
def test_oful_takes_the_decisions_of_the_kernel_and_refreshes_like_it(device, monkeypatch):
    task, method = Linear(d=5, arms=12, horizon=1200, gap=None, zeta=0.05), Oful(beta=1.5)
    monkeypatch.setattr(policies, "REFRESH", 400)  # the refresh must change no decision either
    environments = [task.environment(seed) for seed in SEEDS]
    features = torch.tensor(np.stack([one.features.T for one in environments]), device=device)
    means = torch.tensor(np.stack([one.means for one in environments]), device=device)
    ours = policies.play_oful(features, means, _keys(task, "noise", device), 1.0, 1.0, 1.5, task.horizon).cpu()
    for row, environment in zip(ours, environments, strict=True):
        trace = np.empty(task.horizon, np.int64)
        params = np.array(method.compiled(task.problem(method)).params)
        linear.play_oful(environment, params, 0, np.array([task.horizon]), np.empty(1), trace)
        np.testing.assert_array_equal(row, trace)
