"""FQ-ViT's powers of two: for the channels of a layer norm's input and for attention."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.quantization import integer_ops
from tasks.quantization.nonlinear import NonlinearScheme, Operation, OperationSite, rounded_output

LARGEST_FACTOR = 3  #: channels are scaled by 1, 2, 4 or 8


class FqVit(NonlinearScheme, name="nonlinear-fqvit", label="FQ-ViT"):
    """FQ-ViT (Lin et al. 2022): attention on a logarithmic grid, exp by I-BERT's parabola; each channel of a layer norm's input has the
    power of two as a factor that rounds it best. GELU is computed exactly and rounded."""

    def fit(self, site: OperationSite) -> Operation:
        if site.kind == "gelu":
            return rounded_output(site, site.exact)
        if site.kind == "layernorm":
            scale, zero = power_of_two_factors(site.x, site.bits)
            top = (1 << site.bits) - 1
            return rounded_output(site, lambda x: site.exact(((torch.round(x / scale) + zero).clamp(0, top) - zero) * scale))

        def softmax(x: Tensor) -> Tensor:
            q, unit = site.integers(x)
            return integer_ops.log2_quantised(integer_ops.i_softmax(q * 2.0**8, unit / 2.0**8), site.bits).float()

        return softmax


def power_of_two_factors(x: Tensor, bits: int) -> tuple[Tensor, float]:
    """Scales [channels], powers of two times the smallest, and the zero point that they share, for inputs like `x` [..., channels]."""
    top = (1 << bits) - 1
    low, high = float(x.min()), float(x.max())
    largest = max((high - low) / top, 1e-8)
    zero = float(min(top, max(0, round(-low / largest))))
    rows = x.flatten(0, -2)
    scales = [largest * 2.0 ** (factor - LARGEST_FACTOR) for factor in range(LARGEST_FACTOR + 1)]
    errors = [(((torch.round(rows / scale) + zero).clamp(0, top) - zero) * scale - rows).double().square().sum(0) for scale in scales]
    return torch.tensor(scales)[torch.stack(errors).argmin(0)], zero
