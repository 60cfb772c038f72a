"""Fixed matrices written down as formulas, so that figures from other implementations can be compared with on any machine."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor


def fixed(rows: int, columns: int, salt: int = 0) -> np.ndarray:
    """Normal-looking numbers from a sine hash, [rows, columns] float64."""
    k = np.arange(rows * columns, dtype=np.float64).reshape(rows, columns) + 1 + 10000.0 * salt
    u = np.sin(k * 12.9898) * 43758.5453
    return ndtri((u - np.floor(u)).clip(1e-6, 1 - 1e-6))


def problem(rows: int = 64, columns: int = 256, samples: int = 1024) -> tuple[Tensor, Tensor]:
    """A weight matrix [rows, columns] and correlated inputs of unequal energy [samples, columns], float32."""
    weight = torch.from_numpy(0.02 * fixed(rows, columns)).float()
    mixing = np.eye(columns) + 0.5 * fixed(columns, columns, 7) / np.sqrt(columns) * 4
    energy = 0.2 + np.exp(0.6 * fixed(1, columns, 11))
    return weight, torch.from_numpy(fixed(samples, columns, 3) @ mixing * energy).float()


def weight_error(weight: Tensor, rebuilt: Tensor) -> float:
    """||rebuilt - weight||^2 / ||weight||^2."""
    return float((weight - rebuilt).double().square().sum() / weight.double().square().sum())


def output_error(weight: Tensor, rebuilt: Tensor, x: Tensor) -> float:
    """||x (rebuilt - weight)^T||^2 / ||x weight^T||^2."""
    return float((x.double() @ (rebuilt - weight).double().T).square().sum() / (x.double() @ weight.double().T).square().sum())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
