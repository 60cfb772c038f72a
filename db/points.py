"""Scalar measurements as columns, on their way into the ledger: numpy does per million what Python would do per number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.errors import LedgerError
from db.values import typed

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """Attempts that measured the same metrics in the same order: `values` has shape (attempts, metrics); `starts` says where each attempt
    begins in the points."""

    metrics: tuple[int, ...]
    attempts: Integers
    values: Floats
    starts: Integers


@dataclass(frozen=True, slots=True)
class Points:
    """Columns of equal length: ids of attempts (each in one piece) and metrics, and the values, nan and infinities as they are."""

    attempt: Integers
    metric: Integers
    value: Floats

    def __len__(self) -> int:
        return len(self.attempt)

    def where(self, mask: NDArray[np.bool_]) -> Points:
        return self if mask.all() else Points(self.attempt[mask], self.metric[mask], self.value[mask])

    def rows(self) -> list[tuple[Any, ...]]:
        """(attempt, metric, value, kind) as the ledger stores them."""
        numbers = zip(self.attempt.tolist(), self.metric.tolist(), self.value.tolist(), strict=True)
        return [(attempt, metric, *typed(value)) for attempt, metric, value in numbers]

    def blocks(self) -> Iterator[Block]:
        """The points by what was measured; nearly always one block, because the trials of a task measure the same. Raises LedgerError for
        an attempt that measured a metric twice."""
        for block in self._blocks():
            if len(set(block.metrics)) < len(block.metrics):
                raise LedgerError("An attempt holds two values of one metric; a metric is measured once, or as a curve.")
            yield block

    def _blocks(self) -> Iterator[Block]:
        if not len(self):
            return
        starts = np.flatnonzero(np.r_[True, self.attempt[1:] != self.attempt[:-1]])
        sizes = np.diff(np.r_[starts, len(self)])
        size = int(sizes[0])
        if (sizes == size).all() and (self.metric.reshape(-1, size) == self.metric[:size]).all():
            yield Block(tuple(self.metric[:size].tolist()), self.attempt[starts], self.value.reshape(-1, size), starts)
            return
        by_metrics: dict[bytes, list[int]] = {}
        for start, length in zip(starts.tolist(), sizes.tolist(), strict=True):
            by_metrics.setdefault(self.metric[start : start + length].tobytes(), []).append(start)
        for key, some in by_metrics.items():
            metrics = np.frombuffer(key, dtype=np.int64)
            at = np.array(some)
            yield Block(tuple(metrics.tolist()), self.attempt[at], self.value[np.add.outer(at, np.arange(len(metrics)))], at)
