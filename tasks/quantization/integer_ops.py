"""Integer-only approximations of exp, softmax, GELU and layer norm, as their papers define them.

Integers are whole numbers in float64 tensors (exact up to 2^53), so that shifts are divisions rounded down. `scale` is the real value of 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LN2 = math.log(2)
#: I-BERT's second-order fits of exp on (-ln 2, 0] and of erf on [0, 1.769]: a (x + b)^2 + c.
EXP, ERF = (0.3585, 1.353, 0.344), (-0.2888, -1.769, 1.0)
EXP_SHIFT, GELU_SHIFT = 15, 23  #: I-ViT's n: the largest power of two in a result of `shift_exp`
NEWTON_STEPS, NEWTON_START = 10, 2.0**16  #: of I-ViT's square root


def polynomial(q: Tensor, scale: float, coefficients: tuple[float, float, float]) -> tuple[Tensor, float]:
    """a (x + b)^2 + c at x = scale q, in integers (I-BERT, algorithm 1)."""
    a, b, c = coefficients
    shifted = q + math.floor(b / scale)
    return shifted * shifted + math.floor(c / (a * scale * scale)), a * scale * scale


def i_exp(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """exp(scale q) for q <= 0 (I-BERT, algorithm 3): a parabola on one octave, shifted."""
    octave = math.floor(LN2 / scale)
    z = torch.floor(-q / octave)
    value, unit = polynomial(q + z * octave, scale, EXP)
    return torch.floor(value / 2**z), unit


def i_softmax(q: Tensor, scale: float) -> Tensor:
    """Softmax over the last axis of scale q, real values."""
    value, _ = i_exp(q - q.amax(-1, keepdim=True), scale)
    return value / value.sum(-1, keepdim=True)


def i_gelu(q: Tensor, scale: float) -> Tensor:
    """x (1 + erf(x / sqrt 2)) / 2 at x = scale q with I-BERT's parabola for erf; real values."""
    unit = scale / math.sqrt(2)
    edge = math.floor(-ERF[1] / unit)
    erf, step = polynomial(q.abs().clamp(max=edge), unit, ERF)
    return q * scale * 0.5 * (1 + q.sign() * erf * step)


def shift_exp(q: Tensor, scale: float, n: int = EXP_SHIFT) -> Tensor:
    """exp(scale q) for q <= 0 in units of scale / 2^n (I-ViT's ShiftExp): 2^-k by shifts, a line between."""
    power = q + torch.floor(q / 2) - torch.floor(q / 16)  # log2(e) is about 1.0111b
    one = max(1.0, round(1 / scale))
    power = power.clamp(min=-n * one)
    k = torch.floor(power / -one)
    rest = power + k * one
    return (torch.floor(rest / 2) + one) * 2.0 ** (n - k)


def shift_softmax(q: Tensor, scale: float) -> Tensor:
    """Shiftmax of I-ViT over the last axis, real values before their rounding to output bits."""
    value = shift_exp(q - q.amax(-1, keepdim=True), scale)
    return value / value.sum(-1, keepdim=True)


def shift_gelu(q: Tensor, scale: float) -> Tensor:
    """x sigmoid(1.702 x) at x = scale q by shifts (I-ViT's ShiftGELU), real values."""
    power = q + torch.floor(q / 2) + torch.floor(q / 8) + torch.floor(q / 16)  # 1.702 is about 1.1011b
    largest = power.amax(-1, keepdim=True).clamp(min=0)
    value = shift_exp(power - largest, scale, GELU_SHIFT)
    return q * scale * value / (value + shift_exp(-largest, scale, GELU_SHIFT))


def integer_sqrt(n: Tensor) -> Tensor:
    """floor(sqrt(n)) of whole numbers, as I-BERT's iteration finds it."""
    root = torch.floor(n.sqrt())
    return torch.where(root * root > n, root - 1, root)


def newton_sqrt(n: Tensor) -> Tensor:
    """Ten Newton steps from 2^16, as in I-ViT: they do not arrive where n is below about 10,000."""
    root = torch.full_like(n, NEWTON_START)
    for _ in range(NEWTON_STEPS):
        root = torch.floor((root + torch.floor(n / root)) / 2)
    return root.clamp(min=1)


def integer_norm(q: Tensor, roots: Tensor) -> Tensor:
    """(q - mean) sqrt(d) / roots over the last axis, real values, with the division as I-BERT does it: by a factor rounded down.

    `roots` is the square root of the sum of squared deviations, as one of the functions above makes it.
    """
    centred = deviations(q)
    return torch.floor(centred * torch.floor(2.0**31 / roots.clamp(min=1)) / 2) * math.sqrt(q.shape[-1]) / 2**30


def deviations(q: Tensor) -> Tensor:
    """q minus its mean over the last axis, rounded to an integer."""
    return q - torch.round(q.mean(-1, keepdim=True))


def log2_quantised(p: Tensor, bits: int) -> Tensor:
    """Probabilities to the nearest power of two, 1 down to 2^-(2^bits - 1) (FQ-ViT's Log-Int-Softmax)."""
    return 2.0 ** -torch.round(-torch.log2(p.clamp(min=2.0**-300))).clamp(0, (1 << bits) - 1)
