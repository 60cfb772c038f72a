"""Multinomial logistic regression on given features, with the penalty of matrix and Dirichlet calibration."""

from __future__ import annotations

import numpy as np

from kernels.mlp import softmax


def fit_affine(
    features: np.ndarray, labels: np.ndarray, *, diagonal: bool = False, off_diagonal_penalty: float = 0.0, bias_penalty: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Weights W [classes, classes] and biases b [classes] that minimise the mean NLL of softmax(W x + b), started at the identity.

    features [n, classes], integer labels [n]. `diagonal` keeps W diagonal. The penalties multiply the mean of the squared off-diagonal
    entries of W and the mean of the squared biases (ODIR, Kull et al. 2019, "Beyond temperature scaling"). Convex; L-BFGS to a gradient of
    1e-8 or 2,000 iterations, which ends even where separable labels leave no finite optimum.
    """
    from scipy.optimize import minimize

    rows, classes = features.shape
    labelled = np.zeros((rows, classes))
    labelled[np.arange(rows), labels] = 1.0
    off = 1.0 - np.eye(classes)
    pairs = max(classes * (classes - 1), 1)

    def unpack(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if diagonal:
            return np.diag(flat[:classes]), flat[classes:]
        return flat[: classes * classes].reshape(classes, classes), flat[classes * classes :]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, biases = unpack(flat)
        probabilities = softmax(features @ weights.T + biases)
        loss = -np.log(np.maximum((probabilities * labelled).sum(axis=1), 1e-300)).mean()
        loss += off_diagonal_penalty * ((weights * off) ** 2).sum() / pairs + bias_penalty * (biases**2).mean()
        residual = (probabilities - labelled) / rows
        slope = residual.T @ features + 2 * off_diagonal_penalty * weights * off / pairs
        return loss, np.concatenate(
            [np.diag(slope) if diagonal else slope.ravel(), residual.sum(axis=0) + 2 * bias_penalty * biases / classes]
        )

    start = np.concatenate([np.ones(classes) if diagonal else np.eye(classes).ravel(), np.zeros(classes)])
    options = {"maxiter": 2000, "maxfun": 4000, "gtol": 1e-8, "ftol": 1e-14, "maxcor": 30}
    weights, biases = unpack(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)
    return weights, biases
