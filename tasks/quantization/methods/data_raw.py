"""The table as it is."""

from __future__ import annotations

import numpy as np

from tasks.quantization.training_data import InputCompressor


class Raw(InputCompressor, name="data-raw", label="float32"):
    """Four bytes per entry: the baseline of compression ratios."""

    def compress(self, x: np.ndarray) -> bytes:
        return x.tobytes()

    @staticmethod
    def decompress(data: bytes, shape: tuple[int, int]) -> np.ndarray:
        return np.frombuffer(data, dtype=np.float32).reshape(shape)
