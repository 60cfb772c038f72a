"""Clusters of single frames."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.lloyd import assign, lloyd
from tasks.quantization.predictive_codes import FrameCodes, FrameEncoder


class KmeansCodes(FrameEncoder, name="codes-kmeans", label="k-means of frames"):
    """A frame's code is its nearest centroid; the prediction is the median of what followed the centroid's frames in training."""

    codes: int = Field(64, ge=1, le=4096)
    iterations: int = Field(30, ge=1)

    def fit(self, frames: np.ndarray, ahead: int, rng: np.random.Generator) -> FrameCodes:
        width = frames.shape[2]
        book = lloyd(frames.reshape(-1, width), self.codes, self.iterations, rng)

        def encode(new: np.ndarray) -> np.ndarray:
            return assign(new.reshape(-1, width), book).reshape(new.shape[:2])

        codes, later = encode(frames[:, :-ahead]).ravel(), frames[:, ahead:].reshape(-1, width)
        overall = np.median(later, 0)
        predictions = [np.median(later[codes == code], 0) if (codes == code).any() else overall for code in range(self.codes)]
        return FrameCodes(encode, self.codes, np.stack(predictions))
