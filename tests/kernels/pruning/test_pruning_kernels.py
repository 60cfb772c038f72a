"""Derivatives against autograd, and M-FAC's inverse against the dense damped Fisher matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.mlp import Mlp
from kernels.pruning.derivatives import batch_gradients, empirical_fisher_diagonal, hessian_diagonal, mean_gradient
from kernels.pruning.inverse_fisher import InverseFisher


def random_mlp(widths, seed=0) -> Mlp:
    rng = np.random.default_rng(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    return Mlp(
        tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        tuple(rng.normal(size=s[0]).astype(np.float32) for s in shapes),
    )


@pytest.fixture(scope="module")
def problem():
    """A 5-7-6-3 network, 40 inputs and labels, and the mean loss as a function of the flat weights in torch, float64."""
    network = random_mlp((5, 7, 6, 3))
    rng = np.random.default_rng(1)
    inputs, labels = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 3, 40)

    def loss(flat: torch.Tensor, rows=slice(None)) -> torch.Tensor:
        value, start = torch.tensor(inputs[rows]).double(), 0
        for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            matrix = flat[start : start + weight.size].reshape(weight.shape)
            value = (value.relu() if layer else value) @ matrix.T + torch.tensor(bias).double()
            start += weight.size
        return torch.nn.functional.cross_entropy(value, torch.tensor(labels[rows]))

    flat = torch.cat([torch.tensor(weight.ravel()).double() for weight in network.weights])
    return network, inputs, labels, loss, flat


def flatten(layers):
    return np.concatenate([layer.ravel() for layer in layers])


def test_mean_gradient_equals_autograd(problem):
    network, inputs, labels, loss, flat = problem
    expected = torch.func.grad(loss)(flat)
    np.testing.assert_allclose(flatten(mean_gradient(network, inputs, labels)), expected, atol=1e-6)


def test_batch_gradients_equal_autograd_batch_by_batch(problem):
    network, inputs, labels, loss, flat = problem
    batches = [np.array([3]), np.array([0, 5, 5]), np.arange(40)]
    expected = [torch.func.grad(loss)(flat, rows) for rows in batches]
    np.testing.assert_allclose(batch_gradients(network, inputs, labels, batches), torch.stack(expected), atol=1e-6)


def test_hessian_diagonal_equals_autograds_full_hessian(problem):
    network, inputs, labels, loss, flat = problem
    expected = torch.func.hessian(loss)(flat).diagonal()
    np.testing.assert_allclose(flatten(hessian_diagonal(network, inputs, labels)), expected, atol=1e-5)


def test_empirical_fisher_diagonal_is_the_mean_squared_gradient_of_single_rows(problem):
    network, inputs, labels, _, _ = problem
    gradients = batch_gradients(network, inputs, labels, [np.array([row]) for row in range(40)])
    np.testing.assert_allclose(flatten(empirical_fisher_diagonal(network, inputs, labels)), (gradients**2).mean(axis=0), atol=1e-6)


def dense_fisher(gradients: np.ndarray, damping: float, block: int) -> np.ndarray:
    m, d = gradients.shape
    same_block = np.arange(d)[:, None] // block == np.arange(d) // block
    return damping * np.eye(d) + np.where(same_block, gradients.T @ gradients / m, 0.0)


@pytest.mark.parametrize("damping", [1e-5, 1e-2])
@pytest.mark.parametrize("block", [None, 1, 16, 37, 60, 200])
@pytest.mark.parametrize("m", [1, 8, 100])
def test_mfac_equals_the_dense_inverse_of_the_damped_fisher_matrix(m, block, damping):
    """Products, diagonal and single columns to a relative 1e-8; 60 weights, so that 8 gradients are singular without damping."""
    rng = np.random.default_rng(2)
    gradients, vector = rng.normal(size=(m, 60)) * 0.1, rng.normal(size=60)
    exact = np.linalg.inv(dense_fisher(gradients, damping, block or 60))
    inverse = InverseFisher(gradients, damping, block)
    scale = np.abs(exact).max()
    np.testing.assert_allclose(inverse.diagonal(), np.diag(exact), atol=1e-8 * scale)
    np.testing.assert_allclose(inverse.multiply(vector), exact @ vector, atol=1e-8 * scale * 10)
    np.testing.assert_allclose(inverse.multiply(np.eye(60)[17]), exact[17], atol=1e-8 * scale)


def test_mfac_with_one_gradient_is_the_sherman_morrison_formula():
    gradient, damping = np.array([[3.0, 4.0]]), 0.5
    expected = np.eye(2) / damping - np.outer(gradient, gradient) / damping**2 / (1 + 25 / damping)
    inverse = InverseFisher(gradient, damping)
    np.testing.assert_allclose([inverse.multiply(np.array([1.0, 0])), inverse.multiply(np.array([0, 1.0]))], expected)


def test_mfac_does_not_change_the_gradients_it_is_given():
    gradients = np.random.default_rng(0).normal(size=(4, 10))
    before = gradients.copy()
    InverseFisher(gradients, 1e-3, 4)
    np.testing.assert_array_equal(gradients, before)
