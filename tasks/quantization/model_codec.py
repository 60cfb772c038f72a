"""A whole model as bytes: uniform codes with a dead zone, entropy coded, behind a header that is counted like everything else.

Names and shapes of the tensors are known to the reader; nothing else is. A tensor is either floats (float16) or integer codes with the
`edge` of its dead zone and its `step` (paper 95, "Lossy and Lossless (L^2) Post-training Model Size Compression"): weights up to `edge`
become 0, those beyond lie on a grid of spacing `step`; edge = step / 2 is plain rounding.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kernels.quantization import entropy

Coder = Literal["rans", "zlib", "lzma"]
CODERS: tuple[Coder, ...] = ("rans", "zlib", "lzma")
Shapes = Mapping[str, tuple[int, ...]]

#: Per coded tensor: edge, step (float32), smallest code, number of distinct places from there on.
HEADER = struct.Struct("<ffhH")
FLOATS, CODES = 0, 1
_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


@dataclass(frozen=True, slots=True)
class Scale:
    """How a tensor is coded; both positive."""

    edge: float
    step: float

    def stored(self) -> Scale:
        """Rounded to what is stored, so that codes are decided with it."""
        return Scale(float(np.float32(self.edge)), float(np.float32(self.step)))

    def times(self, factor: float) -> Scale:
        return Scale(self.edge * factor, self.step * factor)


def to_codes(weight: Tensor, scale: Scale) -> Tensor:
    """Integer codes as float32: 0 within the edge, else sign(w) (1 + floor((|w| - edge) / step))."""
    return torch.sign(weight) * torch.ceil((weight.abs() - scale.edge) / scale.step).clamp(min=0)


def from_codes(codes: Tensor, scale: Scale) -> Tensor:
    """The middle of each code's interval: 0, or sign(c) (edge + (|c| - 1/2) step)."""
    return torch.sign(codes) * (scale.edge + (codes.abs() - 0.5) * scale.step).clamp(min=0)


def codable(tensor: Tensor) -> bool:
    """Whether a tensor is worth codes: biases, gains and other vectors stay float16."""
    return tensor.ndim >= 2


def write(tensors: Mapping[str, Tensor], scales: Mapping[str, Scale], coder: Coder = "rans") -> bytes:
    """The tensors in order; those without a scale, or with more than 4096 places between their codes, as float16."""
    parts, streams = [bytes([CODERS.index(coder)])], []
    for name, tensor in tensors.items():
        codes = _integers(tensor, scales[name]) if name in scales else None
        if codes is None:
            parts += [bytes([FLOATS]), tensor.detach().clamp(-65504, 65504).half().numpy().tobytes()]
            continue
        low, scale = int(codes.min()), scales[name].stored()
        symbols = (codes - low).astype(np.uint16)
        places = int(symbols.max()) + 1
        parts += [bytes([CODES]), HEADER.pack(scale.edge, scale.step, low, places)]
        if places <= 256:
            symbols = symbols.astype(np.uint8)
        if coder == "rans":
            table = entropy.frequencies(np.bincount(symbols, minlength=places))
            stream = entropy.encode(symbols, table)
            parts += [_write_table(table), struct.pack("<I", len(stream)), stream]
        else:
            streams.append(symbols.tobytes())
    if coder != "rans":
        joined = b"".join(streams)  # one stream for all tensors: the dictionary coders learn across them
        parts.append(zlib.compress(joined, 9) if coder == "zlib" else lzma.compress(joined, lzma.FORMAT_RAW, filters=_LZMA))
    return b"".join(parts)


def _integers(tensor: Tensor, scale: Scale) -> np.ndarray | None:
    codes = to_codes(tensor.detach().float(), scale.stored())
    low, high = float(codes.min()), float(codes.max())
    if not (high - low < entropy.TOTAL and low >= -(1 << 15)):
        return None
    return codes.reshape(-1).to(torch.int32).numpy()


def read(data: bytes, shapes: Shapes) -> dict[str, Tensor]:
    """Inverse of `write`. ValueError or struct.error when the bytes are no such model."""
    coder, place = CODERS[data[0]], 1
    found: dict[str, Tensor] = {}
    waiting: list[tuple[str, int, int, Scale]] = []
    for name, shape in shapes.items():
        count, kind, place = int(np.prod(shape)), data[place], place + 1
        if kind == FLOATS:
            found[name] = torch.from_numpy(np.frombuffer(data, "<f2", count, place).astype(np.float32)).reshape(shape)
            place += 2 * count
            continue
        edge, step, low, places = HEADER.unpack_from(data, place)
        place += HEADER.size
        waiting.append((name, low, places, Scale(edge, step)))
        if coder == "rans":
            table, place = _read_table(data, place, places)
            (size,) = struct.unpack_from("<I", data, place)
            symbols = entropy.decode(data[place + 4 : place + 4 + size], table, count)
            found[name] = _tensor(symbols, low, Scale(edge, step), shape)
            place += 4 + size
    if coder != "rans":
        body = data[place:]
        joined = zlib.decompress(body) if coder == "zlib" else lzma.decompress(body, lzma.FORMAT_RAW, filters=_LZMA)
        place = 0
        for name, low, places, scale in waiting:
            width, count = (1 if places <= 256 else 2), int(np.prod(shapes[name]))
            symbols = np.frombuffer(joined, f"<u{width}", count, place)
            found[name] = _tensor(symbols, low, scale, shapes[name])
            place += width * count
    return {name: found[name] for name in shapes}


def _tensor(symbols: np.ndarray, low: int, scale: Scale, shape: tuple[int, ...]) -> Tensor:
    return from_codes(torch.from_numpy(symbols.astype(np.float32) + low), scale).reshape(shape)


def _write_table(table: np.ndarray) -> bytes:
    """A byte for frequencies below 128, else two."""
    return b"".join(bytes([f]) if f < 128 else bytes([128 | f & 127, f >> 7]) for f in table.tolist())


def _read_table(data: bytes, place: int, count: int) -> tuple[np.ndarray, int]:
    table = np.empty(count, dtype=np.int64)
    for i in range(count):
        table[i] = data[place] & 127
        if data[place] & 128:
            place += 1
            table[i] |= data[place] << 7
        place += 1
    return table, place


def fit_to(limit: int, size: Callable[[float], int], rounds: int = 24) -> float:
    """The smallest factor on all scales (to 2^-rounds of the search range, by bisection in the logarithm) whose `size` in bytes is at most
    `limit`; ValueError when even the coarsest grid is larger."""
    low, high = np.log(1e-4), np.log(1e4)
    if size(float(np.exp(high))) > limit:
        raise ValueError(f"No grid brings the model down to {limit} bytes.")
    for _ in range(rounds):
        middle = (low + high) / 2
        low, high = (low, middle) if size(float(np.exp(middle))) <= limit else (middle, high)
    return float(np.exp(high))
