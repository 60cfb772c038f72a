"""SpQR: tiny groups with quantised scales, and the few weights that don't fit kept apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tasks.quantization.affine import FLOAT16_MAX
from tasks.quantization.feedback import inverse_factor, prepare, sweep
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed, Part, Quantizer

SECOND = 16  #: statistics (of consecutive outputs) that share a second-level scale and zero


class Spqr(Quantizer, name="spqr", label="SpQR", paper=35, knowledge=(CALIBRATION,)):
    """Paper 35, "SpQR: A Sparse-Quantized Representation for Near-Lossless LLM Weight Compression".

    GPTQ in activation order over groups of `group` inputs whose scale and real-valued zero are themselves stored in `statistics` bits.
    A weight whose error, in GPTQ's units, exceeds `threshold` times the mean variance is an outlier: kept in float16 with its position.
    Groups are fitted without the weights that a leave-one-out test expects to become outliers.
    """

    bits: int = Field(3, ge=2, le=8)
    group: int = Field(16, ge=8, multiple_of=8, description="inputs per first-level group")
    statistics: int = Field(3, ge=2, le=8, description="bits of a first-level scale or zero")
    threshold: float = Field(0.2, gt=0, description="error above which a weight is an outlier; 0.2 in the reference's scripts")
    damping: float = Field(1.0, gt=0, description="share of the mean diagonal added to the diagonal; 1 in the reference's scripts")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        work, gram = prepare(weight, inputs.gram, self.group)
        order = torch.argsort(gram.diagonal(), descending=True, stable=True)
        work = work[:, order]
        factor = inverse_factor(gram[order][:, order], self.damping)
        pivots = factor.diagonal()
        threshold = self.threshold * float((work.var(0) / pivots.square()).mean())
        top = (1 << self.bits) - 1
        codes, sparse = torch.zeros_like(work), torch.zeros_like(work)
        levels: list[tuple[Tensor, ...]] = []
        scale = zero = torch.zeros(0)

        def begin(start: int, columns: Tensor) -> None:
            nonlocal scale, zero
            likely = leave_one_out_gain(columns, pivots[start : start + self.group], top) > threshold
            kept = (~likely).float()
            mean = (columns * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
            first_scale, first_zero = _range(torch.where(likely, mean, columns), top)
            stored_scale, stored_zero = self._store(first_scale), self._store(first_zero)
            levels.append((*stored_scale, *stored_zero))
            scale, zero = _restore(*stored_scale, len(columns)), _restore(*stored_zero, len(columns))

        def quantise(index: int, column: Tensor) -> Tensor:
            # A scale restored from few bits may come out as zero; every weight of such a group takes code `zero`.
            safe = scale.clamp(min=1e-9)
            error = (column - scale * ((column / safe + zero).round().clamp(0, top) - zero)) / pivots[index]
            outlier = error.square() > threshold
            codes[:, index] = (torch.where(outlier, 0.0, column) / safe + zero).round().clamp(0, top)
            sparse[:, index] = torch.where(outlier, column.clamp(-FLOAT16_MAX, FLOAT16_MAX).half().float(), 0.0)
            return torch.where(sparse[:, index] != 0, sparse[:, index], scale * (codes[:, index] - zero))

        sweep(work, factor, self.group, begin, quantise)
        width = max(1, (work.shape[1] - 1).bit_length())
        rows, columns = sparse.nonzero(as_tuple=True)
        names = ("scale_codes", "scale_scales", "scale_zeros", "zero_codes", "zero_scales", "zero_zeros")
        parts = {
            name: Part(torch.stack(values), self.statistics if "codes" in name else 16)
            for name, values in zip(names, zip(*levels, strict=True), strict=True)
        }
        return Packed(
            {
                **parts,
                "codes": Part(codes.to(torch.int32), self.bits),
                "order": Part(order, width),
                "outliers": Part(sparse[rows, columns].half(), 16),
                "outlier_columns": Part(columns, width),
                "outlier_counts": Part(torch.bincount(rows, minlength=len(work)), width + 1),
            }
        )

    def _store(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes [out] and float16 scales and zeros [out / 16] of one group's statistics [out]."""
        rows = F.pad(values[None], (0, -len(values) % SECOND), mode="replicate").view(-1, SECOND)
        top = (1 << self.statistics) - 1
        scale, zero = _range(rows, top)
        scale, zero = scale.clamp(2.0**-24, FLOAT16_MAX).half(), zero.clamp(-FLOAT16_MAX, FLOAT16_MAX).half()
        codes = (rows / scale.float()[:, None] + zero.float()[:, None]).round().clamp(0, top)
        return codes.reshape(-1)[: len(values)].to(torch.int32), scale, zero

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        out, groups = shape[0], len(packed["scale_codes"])
        statistics = {}
        for name in ("scale", "zero"):
            levels = zip(packed[f"{name}_codes"], packed[f"{name}_scales"], packed[f"{name}_zeros"], strict=True)
            statistics[name] = torch.stack([_restore(*level, out) for level in levels], 1)
        codes = packed["codes"].float()
        size = codes.shape[1] // groups
        work = statistics["scale"].repeat_interleave(size, 1) * (codes - statistics["zero"].repeat_interleave(size, 1))
        rows = torch.arange(out).repeat_interleave(packed["outlier_counts"])
        work[rows, packed["outlier_columns"]] = packed["outliers"].float()
        rebuilt = torch.empty_like(work)
        rebuilt[:, packed["order"]] = work
        return rebuilt[:, : shape[1]]


def _range(rows: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Scale and real-valued zero [rows] of a min-max grid with `top` + 1 levels; a constant row gets -1..1, as in the reference."""
    low, high = rows.amin(-1), rows.amax(-1)
    flat = low == high
    low, high = torch.where(flat, -1.0, low), torch.where(flat, 1.0, high)
    scale = (high - low) / top
    return scale, -low / scale


def _restore(codes: Tensor, scale: Tensor, zero: Tensor, count: int) -> Tensor:
    """Statistics [count] from their second level."""
    return scale.float().repeat_interleave(SECOND)[:count] * (codes.float() - zero.float().repeat_interleave(SECOND)[:count])


def leave_one_out_gain(columns: Tensor, pivots: Tensor, top: int) -> Tensor:
    """How much the group's squared error, in units of the pivots, falls when a weight is left out of the group: [out, group]."""
    n = columns.shape[1]
    others = torch.arange(n)[None].expand(n, n)[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)

    def error(rows: Tensor, units: Tensor) -> Tensor:
        scale, zero = (part[..., None] for part in _range(rows, top))
        return ((scale * ((rows / scale + zero).round().clamp(0, top) - zero) - rows) / units).square().sum(-1)

    return error(columns, pivots)[:, None] - error(columns[:, others], pivots[others])
