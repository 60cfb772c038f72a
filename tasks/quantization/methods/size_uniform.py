"""Rounding to a uniform grid, then lossless coding."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from tasks.quantization.model_codec import Coder, Scale, Shapes, codable, fit_to, read, write
from tasks.quantization.size import Compressible, ModelCompressor


class UniformCoded(ModelCompressor, name="size-uniform", label="Rounding, then coding"):
    """Nearest rounding of every weight tensor to a uniform grid, then a lossless coder; biases and norms in float16. No data.

    The grid's step is the same share of every tensor's root mean square (or of its range), as small as `ratio` allows: with the static
    entropy coder this is entropy-constrained scalar quantization (Gish & Pierce 1968); with zlib it is "quantize, then gzip".
    """

    ratio: float = Field(10.0, gt=1, description="bytes of float32 over bytes stored, met from above")
    coder: Coder = "rans"
    unit: Literal["rms", "range"] = Field("rms", description="what the step is a share of")
    edge: float = Field(0.5, ge=0.5, le=2, description="half-width of the zero code in steps; 0.5 rounds to nearest")

    def compress(self, problem: Compressible) -> bytes:
        tensors = problem.tensors()
        units = {name: self.unit_of(tensor) for name, tensor in tensors.items() if codable(tensor)}

        def coded(factor: float) -> bytes:
            return write(tensors, {name: Scale(self.edge * factor * unit, factor * unit) for name, unit in units.items()}, self.coder)

        return coded(fit_to(int(problem.float32_bytes() / self.ratio), lambda factor: len(coded(factor))))

    def unit_of(self, tensor: Tensor) -> float:
        """What this tensor's step is a share of."""
        value = tensor.square().mean().sqrt() if self.unit == "rms" else tensor.max() - tensor.min()
        return float(value.clamp(min=1e-12))

    @staticmethod
    def decompress(data: bytes, shapes: Shapes) -> dict[str, Tensor]:
        return read(data, shapes)
