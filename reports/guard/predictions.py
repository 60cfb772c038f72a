"""Predictions as submitters hand them in: one class index per row, from a file or an array."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reports.errors import BadQuestion

Labels = npt.NDArray[np.int64]

#: Larger files are refused unread: a prediction is a number, and no board has so many rows.
LARGEST_FILE = 256 * 2**20


def read_predictions(path: Path) -> npt.NDArray[Any]:
    """The numbers in a `.npy` array, a `.json` list or a text with one number per line (a first line of words is skipped).

    Raises BadQuestion when the file can't be read or holds something else. `whole` checks the numbers.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise BadQuestion(f"{path} has more than {LARGEST_FILE // 2**20} MiB; a file of predictions holds one number per row.")
        if path.suffix == ".npy":
            loaded = np.load(io.BytesIO(content), allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                raise BadQuestion(f"The predictions {path} are an archive of arrays; give one array.")
            return loaded
        text = content.decode()
    except (OSError, EOFError, ValueError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else (str(error).splitlines() or ["too large"])[0]
        raise BadQuestion(f"The predictions {path} can't be read: {reason}.") from None
    try:
        if path.suffix == ".json":
            return np.asarray(json.loads(text), dtype=np.float64)
        lines = text.split("\n")
        start = 1 if lines[0].strip() and not _number(lines[0]) else 0
        return np.array([float(line) for line in lines[start:] if line.strip()], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise BadQuestion(f"The predictions {path} are not one number per row: {str(error).splitlines()[0]}.") from None


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def whole(values: Any, rows: int, what: str = "board") -> Labels:
    """`values` as class indices [rows]; raises BadQuestion for another shape, values that are not finite, and fractions."""
    given = np.asarray(values)
    if given.dtype.kind not in "biuf":
        raise BadQuestion(f"Predictions are class indices, but these have the type {given.dtype}.")
    if given.shape != (rows,):
        shape = f"{len(given)} predictions" if given.ndim == 1 else f"an array of shape {given.shape}"
        raise BadQuestion(f"The {what} has {rows} rows and needs one prediction for each, not {shape}.")
    if given.dtype.kind == "f":
        strange = ~np.isfinite(given)
        if strange.any():
            raise BadQuestion(f"{int(strange.sum())} predictions are not finite (the first is of row {int(strange.argmax())}, from 0).")
        fraction = (given != np.floor(given)) | (np.abs(given) > 2**53)
        if fraction.any():
            at = int(fraction.argmax())
            raise BadQuestion(f"Predictions are class indices, but that of row {at} (from 0) is {float(given[at]):g}.")
    return given.astype(np.int64)
