"""The evaluator's side of the protocol: check the parts, turn them into bytes, count the bytes, read them back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.quantization.packing import pack, pack_reference, unpack, unpack_reference
from tasks.errors import InvalidResult
from tasks.quantization.protocol import Packed, Part

FLOATS = {torch.float16: 16, torch.bfloat16: 16, torch.float32: 32}
#: The first matrix's names and all shapes are not counted, so they must stay too small to hide weights in.
MAX_PARTS, MAX_DIMENSIONS = 16, 4
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check(packed: Packed, where: str) -> None:
    """Raise InvalidResult unless every part is what it declares."""
    if not isinstance(packed, Packed):
        raise InvalidResult(f"{where}: quantize returned {type(packed).__name__}; it must return a Packed.")
    if len(packed.parts) > MAX_PARTS:
        raise InvalidResult(f"{where}: {len(packed.parts)} parts; at most {MAX_PARTS} are allowed.")
    for name, part in packed.parts.items():
        _check_part(part, f"{where}, part {name!r}", name)
    try:
        note_bytes(packed.meta)
    except (TypeError, ValueError) as error:
        raise InvalidResult(f"{where}: meta is not JSON: {error}.") from None


def _check_part(part: Part, where: str, name: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidResult(f"{where}: a part's name has at most 32 characters: a to z, then also digits and underscores.")
    if not isinstance(part, Part) or not isinstance(part.values, Tensor):
        raise InvalidResult(f"{where}: a part is Part(values=Tensor, bits=int).")
    values, bits = part.values, part.bits
    if values.ndim > MAX_DIMENSIONS:
        raise InvalidResult(f"{where}: {values.ndim} dimensions; at most {MAX_DIMENSIONS} are allowed.")
    if not values.numel() and values.ndim != 1:
        raise InvalidResult(f"{where}: a part without values has the shape (0,), not {tuple(values.shape)}.")
    if values.is_floating_point():
        width = FLOATS.get(values.dtype)
        if width is None or bits != width:
            allowed = "float16 and bfloat16 count 16 bits, float32 counts 32"
            raise InvalidResult(f"{where}: {values.dtype} values declared as {bits} bits; {allowed}.")
        if not bool(torch.isfinite(values).all()):
            raise InvalidResult(f"{where}: it holds NaN or infinity.")
        return
    if values.is_complex():
        raise InvalidResult(f"{where}: complex values are not a storage format.")
    if not isinstance(bits, int) or not 1 <= bits <= 32:
        raise InvalidResult(f"{where}: {bits!r} bits; integers take 1 to 32.")
    if values.numel():
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= 1 << bits:
            raise InvalidResult(f"{where}: values {low}..{high} do not fit the declared {bits} bits (0..{(1 << bits) - 1}).")


def note_bytes(meta: Mapping[str, Any]) -> bytes:
    """Canonical JSON of a note; an empty note takes no bytes."""
    return json.dumps(dict(meta), sort_keys=True, separators=(",", ":"), allow_nan=False).encode() if meta else b""


def to_bytes(part: Part) -> bytes:
    """The part as stored: integers densely packed, least significant bit first, the last byte padded with zeros; floats as they are."""
    values = part.values.detach().cpu().contiguous()
    if values.is_floating_point():
        return values.flatten().view(torch.uint8).numpy().tobytes()
    if part.bits in (8, 16, 32):
        return values.to(torch.int64).numpy().astype(f"<u{part.bits // 8}").tobytes()
    if part.bits < 8:
        return pack(values.flatten().to(torch.uint8).numpy(), part.bits).tobytes()
    return pack_reference(values.flatten().to(torch.int64).numpy(), part.bits).tobytes()


def from_bytes(data: bytes, bits: int, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Inverse of `to_bytes`; integers come back as int64 (weights of up to 32 bits fit)."""
    raw = np.frombuffer(data, dtype=np.uint8)
    count = int(np.prod(shape))
    if not count:
        return torch.empty(shape, dtype=dtype if dtype in FLOATS else torch.int64)
    if dtype in FLOATS:
        return torch.from_numpy(raw.copy()).view(dtype).reshape(shape)
    if bits in (8, 16, 32):
        return torch.from_numpy(np.frombuffer(data, dtype=f"<u{bits // 8}").astype(np.int64)).reshape(shape)
    codes = unpack(raw, bits, count) if bits < 8 else unpack_reference(raw, bits, count)
    return torch.from_numpy(codes.astype(np.int64)).reshape(shape)


@dataclass(frozen=True, slots=True)
class Stored:
    """A packed matrix as bytes: all that may reach `dequantize`.

    Attributes, autograd history and anything else a method tied to its tensors is gone.
    """

    parts: Mapping[str, tuple[bytes, int, torch.dtype, tuple[int, ...]]]  #: data, bits per value, dtype and shape by name
    note: bytes

    @property
    def bits(self) -> int:
        """Size of the parts; the note is counted apart."""
        return sum(8 * len(data) for data, *_ in self.parts.values())

    @property
    def names(self) -> bytes:
        """Names of the parts, one a line."""
        return "\n".join(sorted(self.parts)).encode()

    def read(self) -> Packed:
        """The parts read back."""
        parts = {name: Part(from_bytes(data, bits, dtype, shape), bits) for name, (data, bits, dtype, shape) in self.parts.items()}
        return Packed(parts, json.loads(self.note) if self.note else {})


def store(packed: Packed, where: str) -> Stored:
    """Check `packed` and turn it into bytes."""
    check(packed, where)
    parts = {name: (to_bytes(part), part.bits, part.values.dtype, tuple(part.values.shape)) for name, part in packed.parts.items()}
    return Stored(parts, note_bytes(packed.meta))
