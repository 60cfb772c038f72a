"""Lossless coding of the floats themselves."""

from __future__ import annotations

import lzma
import struct
import zlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kernels.quantization import entropy
from tasks.quantization.model_codec import Shapes
from tasks.quantization.size import Compressible, ModelCompressor

_DTYPES: dict[str, tuple[torch.dtype, int]] = {"float32": (torch.float32, 4), "bfloat16": (torch.bfloat16, 2)}
_CODERS = ("none", "zlib", "lzma", "planes")


class CodedFloats(ModelCompressor, name="size-floats", label="Coded floats"):
    """The tensors as floats, then a lossless coder: nothing, zlib, LZMA, or `planes`, which separates the bytes of the floats (sign and
    exponent apart from mantissa) and codes each plane by its own frequencies. float32 is lossless; bfloat16 first drops 16 bits."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    coder: Literal["none", "zlib", "lzma", "planes"] = "planes"

    def compress(self, problem: Compressible) -> bytes:
        flat = torch.cat([tensor.reshape(-1) for tensor in problem.tensors().values()])
        dtype, width = _DTYPES[self.dtype]
        raw = flat.to(dtype).view(torch.uint8).numpy()
        if self.coder == "planes":
            packed = b"".join(_plane(raw[place::width]) for place in range(width))
        elif self.coder == "zlib":
            packed = zlib.compress(raw.tobytes(), 9)
        else:
            packed = lzma.compress(raw.tobytes()) if self.coder == "lzma" else raw.tobytes()
        return bytes([width, _CODERS.index(self.coder)]) + packed

    @staticmethod
    def decompress(data: bytes, shapes: Shapes) -> dict[str, Tensor]:
        width, coder, body = data[0], _CODERS[data[1]], data[2:]
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        if coder == "planes":
            raw = np.empty((sum(sizes), width), dtype=np.uint8)
            for place in range(width):
                (length,) = struct.unpack_from("<I", body)
                table = np.frombuffer(body, "<u2", 256, 4)
                raw[:, place] = entropy.decode(body[516 : 516 + length], table, len(raw))
                body = body[516 + length :]
        else:
            plain = zlib.decompress(body) if coder == "zlib" else lzma.decompress(body) if coder == "lzma" else body
            raw = np.frombuffer(plain, dtype=np.uint8).reshape(-1, width)
        dtype = next(dtype for dtype, size in _DTYPES.values() if size == width)
        flat = torch.from_numpy(raw.copy()).view(dtype).reshape(-1).float()
        return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), flat.split(sizes), strict=True)}


def _plane(values: np.ndarray) -> bytes:
    """Length, frequencies (two bytes each) and stream of one byte plane."""
    table = entropy.frequencies(np.bincount(values, minlength=256))
    stream = entropy.encode(np.ascontiguousarray(values), table)
    return struct.pack("<I", len(stream)) + table.astype("<u2").tobytes() + stream
