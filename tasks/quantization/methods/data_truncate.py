"""Fewer mantissa bits, then entropy coding."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.training_data import InputCompressor, entropy_coded, entropy_decoded


class Truncated(InputCompressor, name="data-truncate", label="Truncated floats"):
    """Drops low mantissa bits of float32 (rounded to nearest): a bound relative to each entry; the control of paper 39."""

    mantissa: int = Field(3, ge=0, le=22, description="mantissa bits kept")

    def compress(self, x: np.ndarray) -> bytes:
        dropped = 23 - self.mantissa
        pattern = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
        rounded = np.minimum((pattern + (1 << (dropped - 1))) >> dropped, np.uint64((1 << (32 - dropped)) - 1))
        return bytes([dropped]) + entropy_coded(rounded.astype(np.int64))

    @staticmethod
    def decompress(data: bytes, shape: tuple[int, int]) -> np.ndarray:
        return (entropy_decoded(data[1:], shape) << data[0]).astype(np.uint32).view(np.float32)
