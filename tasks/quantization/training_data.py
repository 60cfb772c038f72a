"""Lossy compression of training inputs: how many bytes can go before the model learned from the rest gets worse?"""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.errors import InvalidResult
from tasks.quantization.decoder import decoder

Dataset = Literal["breast_cancer", "wine", "digits", "iris", "diabetes"]


class InputCompressor(Method, family="quantization"):
    """Turns a table of training inputs into bytes. The evaluator counts the bytes and trains on what comes back from them alone."""

    @abstractmethod
    def compress(self, x: np.ndarray) -> bytes:
        """`x` [rows, columns] float32 to bytes; the shape is known to the reader and free."""

    @staticmethod
    @abstractmethod
    def decompress(data: bytes, shape: tuple[int, int]) -> np.ndarray:
        """[rows, columns] float32 from the bytes alone; a row of NaN is one that was not kept, and no example for the model."""


@cache
def table(name: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [n, d] float32 and targets [n] of a data set that ships with scikit-learn. Read-only."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    x, y = data.data.astype(np.float32), data.target
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


class TrainingData(
    Task, family="quantization", name="data", label="Compressed training data", accepts=(InputCompressor,), timeout=300.0, seconds=0.3
):
    """Compress the training inputs, train an unchanged model on what is decompressed, test on untouched inputs.

    Logistic regression on standardised inputs (accuracy), ridge regression for diabetes (R^2). A seed is a split, 70 to 30, stratified for
    classes. The tables are small, so headers weigh more than on the scientific data of paper 39.
    """

    dataset: Dataset = Field("breast_cancer", description="a table that ships with scikit-learn")

    presets: ClassVar = {"quick": {}, "standard": {}}  # a trial takes a third of a second
    metrics: ClassVar = (
        Metric(
            "quality_loss",
            "1",
            "lower",
            "accuracy (R^2 for diabetes) after training on the original inputs minus after the decompressed ones",
            primary=True,
        ),
        Metric("quality", "1", "higher", "accuracy (R^2 for diabetes) on untouched test inputs"),
        Metric("compressed_share", "1", "lower", "bytes over those of the float32 table", low=0),
        Metric("compression_ratio", "1", "higher", "bytes of the float32 table over those stored", low=0),
        Metric("largest_error", "1", "lower", "largest error of an entry over its column's range", low=0),
        Metric("compress_seconds", "s", "lower", "CPU seconds to compress", low=0),
    )

    def data_fingerprint(self) -> str:
        x, y = table(self.dataset)
        return hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        from sklearn.model_selection import train_test_split

        assert isinstance(method, InputCompressor)
        x, y = table(self.dataset)
        state = int(self.streams(seed).numpy("data").integers(1 << 31))
        stratify = None if self.dataset == "diabetes" else y
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=state, stratify=stratify)
        with decoder(method.decompress, method.name, [x, x_train, x_test]) as decompress:
            started = time.thread_time()
            data = method.compress(x_train.copy())
            seconds = time.thread_time() - started
            if not isinstance(data, bytes) or not data:
                raise InvalidResult(f"{method.name}: compress must return bytes, not {type(data).__name__}.")
            rebuilt = np.ascontiguousarray(decompress(data, (x_train.shape[0], x_train.shape[1])))
        kept = ~np.isnan(rebuilt).all(axis=-1)
        if rebuilt.shape != x_train.shape or not np.isfinite(rebuilt[kept]).all():
            raise InvalidResult(f"{method.name}: decompress must return finite values of shape {x_train.shape}.")
        if len(np.unique(y_train[kept])) < 2:
            raise InvalidResult(f"{method.name}: {int(kept.sum())} rows were kept, of fewer than two classes: nothing can be learned.")
        spread = np.ptp(x_train, axis=0)
        error = np.abs(rebuilt[kept].astype(np.float64) - x_train[kept]) / np.where(spread > 0, spread, 1)
        plain = self._quality(x_train, y_train, x_test, y_test)
        quality = self._quality(rebuilt[kept], y_train[kept], x_test, y_test)
        ratio = x_train.nbytes / len(data)
        return Measured(
            {
                "quality_loss": plain - quality,
                "quality": quality,
                "compressed_share": 1 / ratio,
                "compression_ratio": ratio,
                "largest_error": float(error.max()),
                "compress_seconds": seconds,
            },
            info={"uncompressed_quality": plain, "bytes": len(data)},
        )

    def _quality(self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model: Any = Ridge() if self.dataset == "diabetes" else LogisticRegression(max_iter=2000)
        return float(make_pipeline(StandardScaler(), model).fit(x, y).score(x_test, y_test))


def entropy_coded(codes: np.ndarray) -> bytes:
    """An integer table [rows, columns] as the shortest of LZMA, bzip2 and zlib of its columns; the first byte says which.

    Codes take one byte each where they fit, else two or four.
    """
    import bz2
    import lzma
    import zlib

    width = next(width for width in (1, 2, 4) if codes.max(initial=0) < 1 << (8 * width))
    raw = codes.T.astype(f"<u{width}").tobytes()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    options = [lzma.compress(raw, lzma.FORMAT_RAW, filters=filters), bz2.compress(raw, 9), zlib.compress(raw, 9)]
    best = min(range(3), key=lambda i: len(options[i]))
    return bytes([best * 8 + width]) + options[best]


def entropy_decoded(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Inverse of `entropy_coded`: [rows, columns] int64."""
    import bz2
    import lzma
    import zlib

    coder, width = divmod(data[0], 8)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    body = data[1:]
    raw = lzma.decompress(body, lzma.FORMAT_RAW, filters=filters) if coder == 0 else (bz2, zlib)[coder - 1].decompress(body)
    return np.frombuffer(raw, dtype=f"<u{width}").reshape(shape[1], shape[0]).T.astype(np.int64)
