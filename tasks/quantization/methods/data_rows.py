"""Keep some of the rows."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.training_data import InputCompressor


class RowSample(InputCompressor, name="data-rows", label="Row sub-sampling"):
    """Keeps one row in `keep` as it is and forgets the others: fewer examples instead of coarser ones, the control of paper 39. The task
    splits at random, so the first rows are a random sample."""

    keep: int = Field(7, ge=1, le=255)

    def compress(self, x: np.ndarray) -> bytes:
        return np.ascontiguousarray(x[: -(-len(x) // self.keep)]).tobytes()

    @staticmethod
    def decompress(data: bytes, shape: tuple[int, int]) -> np.ndarray:
        kept = np.frombuffer(data, dtype=np.float32).reshape(-1, shape[1])
        return np.concatenate([kept, np.full((shape[0] - len(kept), shape[1]), np.nan, np.float32)])
