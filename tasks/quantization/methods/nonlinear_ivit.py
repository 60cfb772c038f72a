"""I-ViT's integer GELU, softmax and layer norm by shifts."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.quantization import integer_ops
from tasks.quantization.nonlinear import NonlinearScheme, Operation, OperationSite, rounded_output


class IVit(NonlinearScheme, name="nonlinear-ivit", label="I-ViT"):
    """I-ViT (Li & Gu 2023): exp as a shift and a line, GELU as x sigmoid(1.702 x), a square root of ten Newton steps.

    Shiftmax rounds its output down, the others round to nearest.
    """

    def fit(self, site: OperationSite) -> Operation:
        def operation(x: Tensor) -> Tensor:
            q, unit = site.integers(x)
            if site.kind == "gelu":
                return integer_ops.shift_gelu(q, unit)
            roots = integer_ops.newton_sqrt(integer_ops.deviations(q).square().sum(-1, keepdim=True))
            return integer_ops.integer_norm(q, roots) * site.gain + site.bias

        def softmax(x: Tensor) -> Tensor:
            top = 1 << site.bits
            return (torch.floor(integer_ops.shift_softmax(*site.integers(x)) * top).clamp(max=top - 1) / top).float()

        return softmax if site.kind == "softmax" else rounded_output(site, operation)
