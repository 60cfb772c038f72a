"""Curves of a board: a metric over steps, per entry and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from db.ledger import Ledger
from reports.boards import Board
from reports.stats.distributions import Floats


@dataclass(frozen=True, slots=True)
class Curve:
    """`values` has shape (entries, seeds, steps), NaN where missing; `steps` increase."""

    steps: Floats
    values: Floats


def load_curves(ledger: Ledger, boards: Sequence[Board], metrics: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """Curves by board anchor and metric; boards or metrics without any are absent."""
    anchors = [board.anchor for board in boards]
    out: dict[str, dict[str, Curve]] = {anchor: {} for anchor in anchors}
    place: dict[str, tuple[str, int, int]] = {}
    shapes = {anchor: board.trials.shape for anchor, board in zip(anchors, boards, strict=True)}
    families = sorted({board.family for board in boards})
    for family in families:
        for metric in metrics:
            rows = ledger.query(
                "SELECT trial, step, value FROM curves WHERE family = :family AND metric = :metric", {"family": family, "metric": metric}
            )
            if rows.num_rows == 0:
                continue
            place = place or {
                key: (anchor, entry, seed)
                for anchor, board in zip(anchors, boards, strict=True)
                for (entry, seed), key in np.ndenumerate(board.trials)
                if key
            }
            encoded = pc.dictionary_encode(rows["trial"]).combine_chunks()
            places = [place.get(key) for key in encoded.dictionary.to_pylist()]
            code = np.asarray(encoded.indices)
            step = rows["step"].to_numpy().astype(np.float64)
            value = rows["value"].to_numpy(zero_copy_only=False).astype(np.float64)
            for anchor, shape in shapes.items():
                mine = np.array([found is not None and found[0] == anchor for found in places])[code]
                if not mine.any():
                    continue
                steps, at = np.unique(step[mine], return_inverse=True)
                values = np.full((*shape, len(steps)), np.nan)
                entry = np.array([found[1] if found else -1 for found in places])[code[mine]]
                seed = np.array([found[2] if found else -1 for found in places])[code[mine]]
                values[entry, seed, at] = value[mine]
                out[anchor][metric] = Curve(steps, values)
    return out
