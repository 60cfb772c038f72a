"""UCB1, Tsallis-INF and OFUL with fixed arms, all seeds of a batch in one step. Rounds count from 1; traces are int64 [seeds, rounds]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kernels.bandits.linalg import REFRESH, TIE
from kernels.bandits.lockstep.draws import normal, uniform


def play_ucb1(means: Tensor, noise_keys: Tensor, scale: float, horizon: int) -> Tensor:
    """Arms played by UCB1 on Bernoulli rewards: means [seeds, arms], int64 noise_keys [seeds]; bonus scale sqrt(2 ln t / n)."""
    seeds, arms = means.shape
    counts, sums, rows = torch.zeros_like(means), torch.zeros_like(means), torch.arange(seeds, device=means.device)
    trace = torch.empty((seeds, horizon), dtype=torch.int64, device=means.device)
    for t in range(1, horizon + 1):
        if t <= arms:
            arm = torch.full((seeds,), t - 1, dtype=torch.int64, device=means.device)
        else:
            arm = first_argmax(sums / counts + scale * math.sqrt(2 * math.log(t)) / counts.sqrt())
        reward = (uniform(noise_keys, t, 0) < means[rows, arm]).double()
        counts[rows, arm] += 1
        sums[rows, arm] += reward
        trace[:, t - 1] = arm
    return trace


def play_tsallis(means: Tensor, noise_keys: Tensor, method_keys: Tensor, reduced: bool, horizon: int) -> Tensor:
    """Arms played by Tsallis-INF on Bernoulli rewards, importance weighted or with reduced variance."""
    seeds = len(means)
    losses, rows = torch.zeros_like(means), torch.arange(seeds, device=means.device)
    trace = torch.empty((seeds, horizon), dtype=torch.int64, device=means.device)
    depth = torch.zeros((seeds, 1), dtype=torch.float64, device=means.device)
    for t in range(1, horizon + 1):
        eta = (4 if reduced else 2) / math.sqrt(t)
        p, depth = tsallis_weights(losses, eta, depth)
        below = uniform(method_keys, t, 0)[:, None] >= p.cumsum(dim=1)
        arm = below[:, :-1].sum(dim=1)
        loss = 1 - (uniform(noise_keys, t, 0) < means[rows, arm]).double()
        baseline = 0.5 * (p >= eta * eta).double() if reduced else torch.zeros_like(p)
        losses += baseline
        losses[rows, arm] += (loss - baseline[rows, arm]) / p[rows, arm]
        trace[:, t - 1] = arm
    return trace


def tsallis_weights(losses: Tensor, eta: float, start: Tensor) -> tuple[Tensor, Tensor]:
    """p [seeds, arms] = 4 / (eta (L - x))^2 with x below min L, summing to 1, and min L - x [seeds, 1]; Newton from `start`."""
    gaps = losses - losses.min(dim=1, keepdim=True).values
    depth = start.clamp(min=2 / eta)
    while True:
        w = 2 / (eta * (gaps + depth))
        p = w * w
        step = (p.sum(dim=1, keepdim=True) - 1) / (eta * (p * w).sum(dim=1, keepdim=True))
        following = (depth + step).clamp(min=2 / eta)
        if bool(((following - depth).abs() <= 1e-13 * depth).all()):
            return p, depth
        depth = following


def play_oful(features: Tensor, means: Tensor, noise_keys: Tensor, noise: float, lam: float, beta: float, horizon: int) -> Tensor:
    """Arms played by OFUL with the flat radius beta: features [seeds, arms, d], means [seeds, arms]."""
    seeds, d = len(features), features.shape[2]
    rows = torch.arange(seeds, device=means.device)
    gram = torch.eye(d, dtype=torch.float64, device=means.device).expand(seeds, d, d) * lam
    inverse, moments, theta = torch.linalg.inv(gram), torch.zeros_like(features[:, 0]), torch.zeros_like(features[:, 0])
    predictions, squared = torch.zeros_like(means), (features**2).sum(dim=2) / lam
    trace = torch.empty((seeds, horizon), dtype=torch.int64, device=means.device)
    for t in range(1, horizon + 1):
        arm = first_argmax(predictions + beta * squared.clamp(min=0).sqrt())
        x = features[rows, arm]
        target = means[rows, arm] + noise * normal(noise_keys, t, 0)
        u = torch.einsum("sij,sj->si", inverse, x)
        root = (1 + (x * u).sum(dim=1)).sqrt()
        u /= root[:, None]
        step = (target - predictions[rows, arm]) / root
        gram = gram + x[:, :, None] * x[:, None, :]
        moments = moments + target[:, None] * x
        if t % REFRESH == 0:
            inverse = torch.linalg.inv(gram)
            theta = torch.einsum("sij,sj->si", inverse, moments)
            predictions = torch.einsum("sad,sd->sa", features, theta)
            squared = torch.einsum("sad,sde,sae->sa", features, inverse, features)
        else:
            inverse = inverse - u[:, :, None] * u[:, None, :]
            theta = theta + step[:, None] * u
            shift = torch.einsum("sad,sd->sa", features, u)
            predictions = predictions + step[:, None] * shift
            squared = squared - shift**2
        trace[:, t - 1] = arm
    return trace


def first_argmax(scores: Tensor) -> Tensor:
    """Lowest index whose score lies within TIE of the row's maximum."""
    return (scores >= scores.max(dim=1, keepdim=True).values - TIE).byte().argmax(dim=1)
