"""Error-bounded uniform quantization of every column, then entropy coding."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.training_data import InputCompressor, entropy_coded, entropy_decoded


class ErrorBounded(InputCompressor, name="data-uniform", label="Error-bounded", paper=39):
    """Paper 39, "Understanding The Effectiveness of Lossy Compression in Machine Learning Training Sets": a bound on the error of every
    entry, relative to its column's range in the training split; steps of twice the bound, codes entropy coded."""

    bound: float = Field(0.05, gt=0, lt=0.5, description="largest error over the column's range")

    def compress(self, x: np.ndarray) -> bytes:
        low = x.min(0)
        # A millionth less than the bound leaves room for float32 arithmetic.
        step = (2 * self.bound * (1 - 1e-6) * (x.max(0).astype(np.float64) - low)).astype(np.float32)
        codes = np.rint((x.astype(np.float64) - low) / np.where(step > 0, step, 1)).astype(np.int64)
        return low.tobytes() + step.tobytes() + entropy_coded(codes)

    @staticmethod
    def decompress(data: bytes, shape: tuple[int, int]) -> np.ndarray:
        low, step = np.frombuffer(data[: 8 * shape[1]], dtype=np.float32).reshape(2, shape[1]).astype(np.float64)
        return (low + step * entropy_decoded(data[8 * shape[1] :], shape)).astype(np.float32)
