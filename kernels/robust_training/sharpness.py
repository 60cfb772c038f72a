"""The largest eigenvalue of a network's loss Hessian over its weights, without forming the Hessian."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def largest_eigenvalue(model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, steps: int = 20) -> float:
    """Largest eigenvalue of the Hessian of the mean cross-entropy with respect to all weights of `model`, as it stands (mode unchanged).

    `steps` Lanczos steps with full reorthogonalisation from a Gaussian start: a lower bound that 20 steps bring within about one percent on
    trained networks, whose top eigenvalues stand apart. `generator` lives on the CPU.
    """
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(functional.cross_entropy(model(images), labels), parameters, create_graph=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    steps = min(steps, len(flat))

    def product(vector: Tensor) -> Tensor:
        parts = torch.autograd.grad(flat, parameters, vector, retain_graph=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    vector = torch.randn(len(flat), generator=generator).to(flat)
    basis = torch.zeros(steps, len(flat), dtype=flat.dtype, device=flat.device)
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    for step in range(steps):
        length = vector.norm()
        if step and length <= 1e-6 * abs(diagonal[0]):
            break  # the basis is invariant: the eigenvalues found are exact
        if step:
            off_diagonal.append(float(length))
        basis[step] = vector / length
        vector = product(basis[step])
        diagonal.append(float(basis[step] @ vector))
        for _ in range(2):  # once is not enough in single precision
            vector = vector - basis[: step + 1].T @ (basis[: step + 1] @ vector)
    off = torch.tensor(off_diagonal, dtype=torch.float64)
    tridiagonal = torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    return float(torch.linalg.eigvalsh(tridiagonal)[-1])
