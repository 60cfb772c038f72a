"""`kernels.bandits.draws` on tensors: the draw of (key, round, index) for many keys or indices at once, bit for bit the same uniforms."""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_WEYL = _signed(0x9E3779B97F4A7C15)
_A1, _A2 = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)
_B1, _B2 = _signed(0xFF51AFD7ED558CCD), _signed(0xC4CEB9FE1A85EC53)

#: Wichura's algorithm AS 241 (PPND16): numerator and denominator of the three ranges, lowest power first.
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip

_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def _right(z: Tensor, by: int) -> Tensor:
    """Logical shift of the 64 bits, which int64's own shift isn't."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def bits(key: Tensor, round_: int, index: Tensor | int) -> Tensor:
    """64 random bits as int64; key and index broadcast."""
    z = (torch.as_tensor(index, dtype=torch.int64, device=key.device) | (round_ << 20)) * _WEYL + _WEYL
    z = (z ^ _right(z, 30)) * _A1
    z = (z ^ _right(z, 27)) * _A2
    z = (z ^ _right(z, 31)) ^ key
    z = (z ^ _right(z, 33)) * _B1
    z = (z ^ _right(z, 33)) * _B2
    return z ^ _right(z, 33)


def uniform(key: Tensor, round_: int, index: Tensor | int) -> Tensor:
    """float64 in the open interval (0, 1)."""
    return (_right(bits(key, round_, index), 12).double() + 0.5) * 2.220446049250313e-16


def normal(key: Tensor, round_: int, index: Tensor | int) -> Tensor:
    """Standard normal, float64."""
    return normal_quantile(uniform(key, round_, index))


def normal_quantile(p: Tensor) -> Tensor:
    """Inverse of the standard normal distribution function."""
    q = p - 0.5
    r = (-torch.where(q < 0, p, 1 - p).log()).sqrt()
    tail = torch.where(r <= 5, _ratio(_MIDDLE, r - 1.6), _ratio(_FAR, r - 5))
    return torch.where(q.abs() <= 0.425, q * _ratio(_CENTRE, 0.180625 - q * q), torch.where(q < 0, -tail, tail))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: Tensor) -> Tensor:
    values = []
    for row in coefficients:
        total = torch.full_like(r, row[-1])
        for coefficient in row[-2::-1]:
            total = coefficient + r * total
        values.append(total)
    return values[0] / values[1]
