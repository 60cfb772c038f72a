"""Lossless compression."""

from __future__ import annotations

import numpy as np

from tasks.quantization.training_data import InputCompressor, entropy_coded, entropy_decoded


class Lossless(InputCompressor, name="data-lossless", label="Lossless"):
    """The float32 bit patterns through the shortest of LZMA, bzip2 and zlib."""

    def compress(self, x: np.ndarray) -> bytes:
        return entropy_coded(np.ascontiguousarray(x).view(np.uint32))

    @staticmethod
    def decompress(data: bytes, shape: tuple[int, int]) -> np.ndarray:
        return entropy_decoded(data, shape).astype(np.uint32).view(np.float32)
