"""Error feedback: quantise columns left to right and let the columns still in float32 absorb each error (GPTQ, LDLQ)."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128  #: most columns between two lazy updates of the rest of the matrix


def prepare(weight: Tensor, gram: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Copies of a weight matrix and its Gram matrix, padded to a multiple of columns, inputs that never fire set to weight 0.

    Padding columns are zeros that nothing is correlated with, so they stay zero.
    """
    gram, work = gram.double().clone(), weight.clone()
    dead = gram.diagonal() <= 0
    gram.diagonal()[dead] = 1.0
    work[:, dead] = 0.0
    padding = -weight.shape[1] % multiple
    if padding:
        work = F.pad(work, (0, padding))
        gram = torch.block_diag(gram, torch.eye(padding, dtype=gram.dtype) * gram.diagonal().mean())
    return work, gram


def inverse_factor(gram: Tensor, damping: float) -> Tensor:
    """Upper U with U^T U = (gram + damping mean(diag) I)^-1, float32; computed in float64."""
    damped = gram.double().clone()
    damped.diagonal().add_(damping * float(damped.diagonal().mean()))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True).float()


def sweep(
    work: Tensor,
    factor: Tensor,
    group: int,
    begin: Callable[[int, Tensor], None],
    quantise: Callable[[int, Tensor], Tensor],
) -> None:
    """Overwrite `work` [out, in] with its quantised values.

    `begin(start, columns)` is called at every multiple of `group` with the group's columns, all earlier errors absorbed;
    `quantise(index, column)` returns the value that replaces a column [out].
    """
    step = gcd(group, BLOCK)
    columns = work.shape[1]
    for start in range(0, columns, step):
        end = min(start + step, columns)
        if start % group == 0:
            begin(start, work[:, start : start + group])
        local, segment = factor[start:end, start:end], work[:, start:end]
        errors = torch.empty_like(segment)
        for i in range(end - start):
            rebuilt = quantise(start + i, segment[:, i])
            errors[:, i] = (segment[:, i] - rebuilt) / local[i, i]
            segment[:, i] = rebuilt
            segment[:, i + 1 :].addr_(errors[:, i], local[i, i + 1 :], alpha=-1)
        work[:, end:].addmm_(errors, factor[start:end, end:], alpha=-1)
