"""Vector quantization: distortion on held-out vectors against the bits that the indices take."""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.errors import InvalidResult
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.decoder import decoder
from tasks.quantization.vq_sources import DIMENSIONS, GENERATOR, SourceName, covariance, draw, least_distortion

Tables = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Code:
    """A fitted quantizer: an encoder, and the float tables that its decoder needs.

    `encode` turns [n, d] float32 into indices [n, k] with column j in [0, sizes[j]); a vector costs sum_j log2 sizes[j] bits.
    """

    encode: Callable[[np.ndarray], np.ndarray]
    sizes: tuple[int, ...]
    tables: Tables


class VectorCodec(Method, family="quantization"):
    """Quantises vectors. The evaluator checks and counts the indices, and decodes them in a process that never saw the vectors."""

    dimensions: ClassVar[int | None] = None  #: the only number of dimensions it works on; None for any

    @abstractmethod
    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        """Learn from training vectors [n, d] float32."""

    @staticmethod
    @abstractmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        """Vectors [n, d] from indices [n, k] and the tables alone."""


class VectorQuantization(
    Task, family="quantization", name="vq", label="Vector quantization", accepts=(VectorCodec,), timeout=300.0, seconds=4.0
):
    """Fit a vector quantizer on training vectors, measure its distortion on others from the same source.

    gaussian: N(0, I_8). correlated: eight values of a stationary AR(1) process with coefficient 0.9. digits: 4x2 patches of handwritten
    digits, split by image. showers: energy shares of generated particle showers in 4x4 cells of 3 layers (48 dimensions), the stand-in for
    the detector frames of paper 142. A seed is a draw (a split for digits) and the method's randomness.
    """

    source: SourceName = "gaussian"
    vectors: int = Field(20000, ge=100, description="training vectors, and as many held out; digits have 10,056 and 4,320")

    presets: ClassVar = {"quick": {"vectors": 2000}, "standard": {}}
    check_params: ClassVar = {"vectors": 300}
    metrics: ClassVar = (
        Metric("distortion", "1", "lower", "held-out mean squared error over the source's variance (per dimension)", primary=True, low=0),
        Metric("bits_per_dimension", "bit", "lower", "bits of a vector's indices over its dimensions", low=0),
        Metric(
            "excess_db",
            "dB",
            "lower",
            "distortion over the least that any code of this rate has on a Gaussian source of the same covariance (4^-bits on N(0, I))",
        ),
        Metric("entropy_saving", "1", "higher", "share of the bits that coding each index by its own held-out frequencies would save"),
        Metric("used_indices", "1", "higher", "share of each index's values that occur on held-out vectors, mean", low=0, high=1),
        Metric("train_gap", "1", "lower", "held-out over training distortion, minus 1"),
        Metric("coarse_error", "1", "lower", "mean squared error of the sums over groups of neighbouring dimensions, over their variance"),
        Metric("table_bytes", "B", "lower", "bytes of the decoder's tables in float32", low=0),
        Metric("fit_seconds", "s", "lower", "CPU seconds to fit", low=0),
    )

    def data_fingerprint(self) -> str:
        from tasks.datasets import digits_fingerprint

        return digits_fingerprint() if self.source == "digits" else hashlib.sha256(GENERATOR.encode()).hexdigest()

    def infeasible(self, method: Method) -> str | None:
        assert isinstance(method, VectorCodec)
        here = DIMENSIONS[self.source]
        if method.dimensions is not None and method.dimensions != here:
            return f"{method.name} works on vectors of {method.dimensions} dimensions; {self.source!r} has {here}."
        return method.infeasible()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, VectorCodec)
        train, test = draw(self.source, self.vectors, self.streams(seed).numpy("data"))
        with one_thread(), decoder(method.decode, method.name, [train, test]) as decode:
            started = time.thread_time()
            code = method.fit(train.copy(), self.streams(seed).numpy("method"))
            seconds = time.thread_time() - started
            tables = checked_tables(code.tables, method.name)
            indices = [checked_indices(code.encode(part.copy()), code.sizes, len(part), method.name) for part in (train, test)]
            rebuilt = [np.asarray(decode(tables, each), dtype=np.float64) for each in indices]
        for part, back in zip((train, test), rebuilt, strict=True):
            if back.shape != part.shape or not np.isfinite(back).all():
                raise InvalidResult(f"{method.name}: decode must return finite vectors of shape {part.shape}.")
        held_in, held_out = (_relative_error(part, back) for part, back in zip((train, test), rebuilt, strict=True))
        bits = float(np.log2(code.sizes).sum())
        spectrum = np.linalg.eigvalsh(covariance(self.source, test)).clip(min=0)
        floor = least_distortion(spectrum, bits)
        groups = _groups(self.source)
        counts = [np.bincount(indices[1][:, j], minlength=size) for j, size in enumerate(code.sizes)]
        entropy = sum(_entropy(each) for each in counts)
        info: dict[str, Any] = {"indices": len(code.sizes), "floor": float(f"{floor:.6g}")}
        return Measured(
            {
                "distortion": held_out,
                "bits_per_dimension": bits / train.shape[1],
                "excess_db": 10 * float(np.log10(max(held_out, 1e-300) / max(floor, 1e-300))),
                "entropy_saving": 1 - entropy / bits if bits else 0.0,
                "used_indices": float(np.mean([(each > 0).mean() for each in counts])) if counts else 1.0,
                "train_gap": held_out / max(held_in, 1e-300) - 1,
                "coarse_error": _relative_error(test @ groups, rebuilt[1] @ groups),
                "table_bytes": float(sum(table.nbytes for table in tables.values())),
                "fit_seconds": seconds,
            },
            info=info,
        )


def checked_tables(tables: Tables, name: str) -> dict[str, np.ndarray]:
    """The tables as float32; InvalidResult when they are anything but finite numbers."""
    found = {key: np.ascontiguousarray(table, dtype=np.float32) for key, table in tables.items()}
    if not all(np.isfinite(table).all() for table in found.values()):
        raise InvalidResult(f"{name}: a table holds NaN or infinity.")
    return found


def checked_indices(indices: np.ndarray, sizes: tuple[int, ...], count: int, name: str) -> np.ndarray:
    """Indices [count, k] int64, each column below its size; InvalidResult otherwise."""
    indices = np.asarray(indices)
    if indices.shape != (count, len(sizes)) or not np.issubdtype(indices.dtype, np.integer):
        raise InvalidResult(f"{name}: encode must return integers of shape ({count}, {len(sizes)}), not {indices.dtype} {indices.shape}.")
    if count and ((indices < 0).any() or (indices >= np.array(sizes)).any()):
        raise InvalidResult(f"{name}: an index lies outside its size {sizes}.")
    return indices.astype(np.int64)


def _groups(source: Literal["gaussian", "correlated", "digits", "showers"]) -> np.ndarray:
    """Sums over neighbours [d, groups]: 2x2 cells of each layer for showers, pairs of dimensions otherwise."""
    d = DIMENSIONS[source]
    if source != "showers":
        return np.kron(np.eye(d // 2), np.ones((2, 1)))
    cell = np.arange(16)
    block = np.eye(4)[(cell // 8) * 2 + (cell % 4) // 2]
    return np.kron(np.eye(3), block)


def _relative_error(truth: np.ndarray, other: np.ndarray) -> float:
    truth = truth.astype(np.float64)
    return float(np.square(truth - other).sum() / np.square(truth - truth.mean(0)).sum())


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())
