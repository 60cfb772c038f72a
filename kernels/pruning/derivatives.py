"""First and second derivatives of a network's mean cross-entropy with respect to its weights.

Everywhere: inputs [n, features], integer labels [n], results one array per layer shaped like its weights, or rows over all weights in
layer order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.mlp import Mlp, softmax


def mean_gradient(network: Mlp, inputs: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Gradient of the mean loss."""
    activations = network.activations(inputs)
    deltas = network.backpropagate(activations, _residuals(activations[-1], labels) / np.float32(len(labels)))
    return [delta.T @ values for delta, values in zip(deltas, activations, strict=False)]


def batch_gradients(network: Mlp, inputs: np.ndarray, labels: np.ndarray, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Gradients [batches, weights] of the mean loss over each batch of row numbers, float32."""
    activations = network.activations(inputs)
    deltas = network.backpropagate(activations, _residuals(activations[-1], labels))
    gradients = np.empty((len(batches), sum(weight.size for weight in network.weights)), dtype=np.float32)
    for gradient, rows in zip(gradients, batches, strict=True):
        parts = [(delta[rows].T @ values[rows]).ravel() for delta, values in zip(deltas, activations, strict=False)]
        np.divide(np.concatenate(parts), len(rows), out=gradient)
    return gradients


def empirical_fisher_diagonal(network: Mlp, inputs: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Mean squared gradient of one row's loss at its true label."""
    activations = network.activations(inputs)
    deltas = network.backpropagate(activations, _residuals(activations[-1], labels))
    return [(delta**2).T @ values**2 / len(labels) for delta, values in zip(deltas, activations, strict=False)]


def hessian_diagonal(network: Mlp, inputs: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Diagonal of the Hessian of the mean loss.

    Logits of a ReLU network are piecewise linear in any single weight, so the diagonal equals that of the Gauss-Newton matrix: with
    J the derivatives of the logits, the variance of J's rows under the predicted class probabilities. Labels don't matter.
    """
    activations = network.activations(inputs)
    probabilities = softmax(activations[-1])
    diagonal = [np.zeros(weight.shape) for weight in network.weights]
    for label in range(probabilities.shape[1]):
        residual = probabilities - np.eye(probabilities.shape[1], dtype=probabilities.dtype)[label]
        deltas = network.backpropagate(activations, residual)
        for total, delta, values in zip(diagonal, deltas, activations, strict=False):
            total += (probabilities[:, label, None] * delta**2).T @ values**2 / len(inputs)
    return diagonal


def _residuals(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    residuals = softmax(logits)
    residuals[np.arange(len(labels)), labels] -= 1
    return residuals
