"""The largest Hessian eigenvalue against exact Hessians."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from kernels.robust_training.sharpness import largest_eigenvalue


def exact(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    names, shapes = zip(*[(name, parameter.shape) for name, parameter in model.named_parameters()], strict=True)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        state = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return functional.cross_entropy(torch.func.functional_call(model, state, images), labels)

    return torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, start))


def test_largest_eigenvalue_equals_exact_hessian_of_a_trained_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    images, labels = torch.randn(40, 6, dtype=torch.float64), torch.randint(4, (40,))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    found = largest_eigenvalue(model, images, labels, torch.Generator().manual_seed(1))
    top = exact(model, images, labels)[-1]
    assert found == pytest.approx(float(top), rel=0.01)
    assert found <= float(top) * (1 + 1e-9)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_largest_eigenvalue_of_softmax_regression_equals_closed_form():
    """One image x, weights at zero: the Hessian is (diag(p) - pp') kron xx' with p uniform, so the largest eigenvalue is ||x||^2 / k."""
    model = nn.Linear(5, 4, bias=False).double()
    nn.init.zeros_(model.weight)
    x = torch.arange(1.0, 6.0, dtype=torch.float64)[None]
    found = largest_eigenvalue(model, x, torch.tensor([2]), torch.Generator().manual_seed(0))
    assert found == pytest.approx(float(x.square().sum()) / 4, rel=1e-9)
