"""Numerical cores of the quantization family: grids, transforms, searches. Each has a plain reference beside the fast path."""

from types import ModuleType

import torch


def triton_paths(tensor: torch.Tensor) -> ModuleType | None:
    """The module of Triton kernels for a tensor on a CUDA device; None for others, and where Triton is not installed."""
    if not tensor.is_cuda:
        return None
    try:
        from kernels.quantization import gpu
    except ImportError:
        return None
    return gpu
