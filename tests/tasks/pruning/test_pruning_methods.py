"""Each pruner against a hand count, a definition or an exact solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import prune as torch_prune

from kernels.mlp import Mlp
from kernels.pruning.derivatives import batch_gradients, hessian_diagonal, mean_gradient
from tasks.pruning.methods.lamp import lamp_scores
from tasks.pruning.methods.magnitude import Magnitude
from tasks.pruning.methods.magnitude_layerwise import MagnitudeLayerwise
from tasks.pruning.methods.mfac import MFac
from tasks.pruning.methods.obd import OptimalBrainDamage
from tasks.pruning.methods.random import Random
from tasks.pruning.methods.snip import Snip
from tasks.pruning.methods.sparsegpt import SparseGpt
from tasks.pruning.methods.wanda import Wanda
from tasks.pruning.protocol import TrainingData, keep_largest, keep_largest_per_layer


def network_and_data(seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(12, 8), (6, 12), (3, 6)]
    network = Mlp(
        tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        tuple(rng.normal(size=s[0]).astype(np.float32) for s in shapes),
    )
    return network, TrainingData(rng.normal(size=(50, 8)).astype(np.float32), rng.integers(0, 3, 50))


def pruned(method, count, network, data, seed=0):
    return method.prune(network, data, [count], np.random.default_rng(seed))[0]


def masks(layers):
    return np.concatenate([layer.ravel() != 0 for layer in layers])


@pytest.mark.parametrize("count", [186, 90, 7, 0])
def test_global_magnitude_equals_torchs_global_unstructured(count):
    network, data = network_and_data()
    modules = [torch.nn.Linear(weight.shape[1], weight.shape[0]) for weight in network.weights]
    for module, weight in zip(modules, network.weights, strict=True):
        module.weight.data = torch.tensor(weight)
    torch_prune.global_unstructured([(module, "weight") for module in modules], torch_prune.L1Unstructured, amount=186 - count)
    for layer, module in zip(pruned(Magnitude(), count, network, data), modules, strict=True):
        np.testing.assert_array_equal(layer, module.weight.detach())


def test_layerwise_magnitude_equals_torchs_l1_unstructured():
    network, data = network_and_data()
    for layer, weight in zip(pruned(MagnitudeLayerwise(), 93, network, data), network.weights, strict=True):
        module = torch.nn.Linear(weight.shape[1], weight.shape[0])
        module.weight.data = torch.tensor(weight)
        torch_prune.l1_unstructured(module, "weight", amount=0.5)
        np.testing.assert_array_equal(layer, module.weight.detach())


def test_keeping_counts_ties_and_rounding_exactly():
    network, _ = network_and_data()
    equal = [np.ones(weight.shape) for weight in network.weights]
    assert masks(keep_largest(network, equal, 5)).nonzero()[0].tolist() == [0, 1, 2, 3, 4]
    assert [int((layer != 0).sum()) for layer in keep_largest_per_layer(network, equal, 100)] == [51, 38, 9]


def test_lamp_by_hand():
    np.testing.assert_allclose(lamp_scores(np.array([[1.0, -3.0], [2.0, 0.0]])), [[1 / 14, 1], [4 / 13, 0]])


def test_wanda_keeps_by_weight_times_input_norm_in_each_row():
    network = Mlp((np.array([[3.0, 2.0, 1.0], [1.0, 1.1, 1.2]], dtype=np.float32),), (np.zeros(2, dtype=np.float32),))
    data = TrainingData(np.array([[1.0, 1.0, 4.0], [0.0, 1.0, 0.0]], dtype=np.float32), np.array([0, 1]))
    np.testing.assert_array_equal(pruned(Wanda(), 2, network, data), [np.array([[0, 0, 1], [0, 0, 1.2]], dtype=np.float32)])


def test_sparsegpt_equals_least_squares_when_the_pruned_columns_come_first():
    """A sweep from left to right compensates pruned columns by all that follow: then it is the exact constrained least squares."""
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(200, 10)).astype(np.float32)
    weight = rng.normal(size=(1, 10)).astype(np.float32) + 3
    weight[:, :4] = [[1e-3, -2e-3, 3e-3, 1e-3]]
    found = SparseGpt(damping=1e-9).prune_layer(weight, inputs, kept=6, of=10)
    exact, *_ = np.linalg.lstsq(inputs[:, 4:].astype(float), inputs.astype(float) @ weight[0], rcond=None)
    np.testing.assert_allclose(found, [[0, 0, 0, 0, *exact]], rtol=1e-5)


def test_sparsegpt_loses_less_output_than_masking_the_same_weights_and_keeps_every_budget():
    rng = np.random.default_rng(4)
    inputs = (rng.normal(size=(100, 3)) @ rng.normal(size=(3, 8)) + 0.1 * rng.normal(size=(100, 8))).astype(np.float32)
    weight = rng.normal(size=(12, 8)).astype(np.float32)
    found = SparseGpt(block=4).prune_layer(weight, inputs, kept=1, of=2)
    assert [int((found[:, columns] != 0).sum()) for columns in (slice(0, 4), slice(4, 8))] == [24, 24]
    masked = weight * (found != 0)
    assert np.linalg.norm(inputs @ (found - weight).T) < 0.7 * np.linalg.norm(inputs @ (masked - weight).T)


def test_sparsegpt_drops_the_weights_of_inputs_that_are_always_zero():
    inputs = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    inputs[:, 1] = 0
    weight = np.array([[1.0, 100.0, 2.0, 3.0]], dtype=np.float32)
    np.testing.assert_allclose(SparseGpt().prune_layer(weight, inputs, kept=3, of=4), [[1, 0, 2, 3]], rtol=1e-6)


def test_snip_score_is_the_first_order_change_of_the_loss():
    network, data = network_and_data()
    kept = masks(pruned(Snip(), 60, network, data))
    gradients = mean_gradient(network, data.inputs, data.labels)
    scores = np.concatenate([np.abs(w * g).ravel() for w, g in zip(network.weights, gradients, strict=True)])
    assert scores[kept].min() >= scores[~kept].max()


def test_obd_score_is_the_second_order_change_of_the_loss():
    network, data = network_and_data()
    kept = masks(pruned(OptimalBrainDamage(), 60, network, data))
    curvatures = hessian_diagonal(network, data.inputs, data.labels)
    scores = np.concatenate([(w**2 * h / 2).ravel() for w, h in zip(network.weights, curvatures, strict=True)])
    assert scores[kept].min() >= scores[~kept].max() * (1 - 1e-6)


def test_random_is_blind_to_the_weights_and_follows_its_generator():
    network, data = network_and_data()
    other = Mlp(tuple(weight[::-1] * 5 for weight in network.weights), network.biases)
    one, two, three = (masks(pruned(Random(), 60, n, data, seed)) for n, seed in ((network, 0), (other, 0), (network, 1)))
    assert (one == two).all()
    assert (one != three).any()


# M-FAC


def dense_obs(network, data, batches, damping, count):
    """Scores and the summed single-weight updates from the dense inverse of the whole Fisher matrix."""
    gradients = batch_gradients(network, data.inputs, data.labels, batches).astype(np.float64)
    inverse = np.linalg.inv(damping * np.eye(gradients.shape[1]) + gradients.T @ gradients / len(gradients))
    weights = np.concatenate([weight.ravel() for weight in network.weights]).astype(np.float64)
    scores = weights**2 / (2 * np.diag(inverse))
    dropped = np.argsort(scores, kind="stable")[: len(weights) - count]
    for index in dropped:
        weights -= np.concatenate([w.ravel() for w in network.weights])[index] / inverse[index, index] * inverse[:, index]
    weights[dropped] = 0
    return weights


def test_mfac_pruning_equals_optimal_brain_surgeon_with_the_dense_inverse():
    network, data = network_and_data()
    method = MFac(gradients=25, batch=2, block=None, damping=1e-3)
    layers = pruned(method, 80, network, data)
    batches = np.split(np.random.default_rng(0).permutation(50), 25)
    expected = dense_obs(network, data, batches, 1e-3, 80)
    np.testing.assert_allclose(np.concatenate([layer.ravel() for layer in layers]), expected, rtol=1e-4, atol=1e-5)


def test_mfac_removing_one_weight_is_the_exact_constrained_minimum():
    """With one weight removed, OBS solves: minimise d^T F d subject to w_q + d_q = 0; eliminating d_q gives a linear system."""
    network, data = network_and_data()
    layers = pruned(MFac(gradients=25, batch=2, block=None, damping=1e-2), 185, network, data)
    flat = np.concatenate([layer.ravel() for layer in layers])
    before = np.concatenate([weight.ravel() for weight in network.weights]).astype(np.float64)
    (q,) = np.flatnonzero(flat == 0)
    batches = np.split(np.random.default_rng(0).permutation(50), 25)
    gradients = batch_gradients(network, data.inputs, data.labels, batches).astype(np.float64)
    fisher = 1e-2 * np.eye(186) + gradients.T @ gradients / 25
    rest = np.arange(186) != q
    change = np.linalg.solve(fisher[np.ix_(rest, rest)], fisher[rest, q] * before[q])
    np.testing.assert_allclose(flat[rest], before[rest] + change, rtol=1e-4, atol=1e-5)


def test_mfac_with_huge_damping_is_magnitude_pruning():
    network, data = network_and_data()
    for layer, expected in zip(pruned(MFac(damping=1e9), 60, network, data), pruned(Magnitude(), 60, network, data), strict=True):
        np.testing.assert_allclose(layer, expected, rtol=1e-5)


def test_mfac_without_update_only_masks():
    network, data = network_and_data()
    for layer, weight in zip(pruned(MFac(update="none"), 60, network, data), network.weights, strict=True):
        assert ((layer == 0) | (layer == weight)).all()


@pytest.mark.parametrize("recomputations", [1, 2, 5])
@pytest.mark.parametrize("block", [None, 10])
def test_mfac_meets_every_budget_exactly(recomputations, block):
    network, data = network_and_data()
    keep = [150, 60, 11, 0]
    results = MFac(recomputations=recomputations, block=block).prune(network, data, keep, np.random.default_rng(0))
    assert [int(masks(layers).sum()) for layers in results] == keep


def test_mfac_uses_every_training_row_before_repeating_one():
    batches = MFac(gradients=10, batch=15)._batches(50, np.random.default_rng(0))
    rows = np.concatenate(batches)
    assert [len(batch) for batch in batches] == [15] * 10
    assert np.bincount(rows, minlength=50).tolist() == [3] * 50
