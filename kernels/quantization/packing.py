"""Dense packing of small integers, least significant bit first: code i occupies bits [i b, (i + 1) b) of the byte string.

Floor: one read and one write; unpacking writes the most, one byte per code.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def pack_reference(codes: np.ndarray, bits: int) -> np.ndarray:
    """[n] codes in [0, 2^bits), 1 <= bits <= 32, to ceil(n bits / 8) bytes; the last byte is filled with zeros."""
    columns = (np.ascontiguousarray(codes).astype("<u4").reshape(-1, 1) >> np.arange(bits, dtype=np.uint32)) & 1
    return np.packbits(columns.astype(np.uint8).reshape(-1), bitorder="little")


def unpack_reference(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Inverse of `pack_reference`: [count] uint32."""
    flat = np.unpackbits(data, bitorder="little", count=count * bits).reshape(count, bits).astype(np.uint32)
    return (flat << np.arange(bits, dtype=np.uint32)).sum(1, dtype=np.uint32)


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """[n] uint8 codes below 2^bits, 1 <= bits <= 8, to bytes; ValueError for other dtypes or widths."""
    if codes.dtype != np.uint8 or codes.ndim != 1 or not 1 <= bits <= 8:
        raise ValueError(f"pack takes one axis of uint8 codes of 1 to 8 bits, not {codes.dtype} with {codes.ndim} axes and {bits} bits.")
    out = np.zeros(-(-len(codes) * bits // 8), dtype=np.uint8)
    whole = len(codes) // 8 * 8
    _pack(np.ascontiguousarray(codes[:whole]), bits, out)
    if whole < len(codes):
        out[whole * bits // 8 :] = pack_reference(codes[whole:], bits)
    return out


def unpack(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Inverse of `pack`: [count] uint8; ValueError when `data` is too short."""
    if not 1 <= bits <= 8 or len(data) * 8 < count * bits:
        raise ValueError(f"{len(data)} bytes do not hold {count} codes of {bits} bits.")
    out = np.empty(count, dtype=np.uint8)
    data = np.ascontiguousarray(data)
    whole = count // 8 * 8
    if bits == 3:
        _unpack3(data, _TABLE3, out[:whole].view(np.uint32))
    else:
        _unpack(data, bits, out[:whole])
    if whole < count:
        out[whole:] = unpack_reference(data[whole * bits // 8 :], bits, count - whole)
    return out


@njit(cache=True, nogil=True)
def _pack(codes: np.ndarray, bits: int, out: np.ndarray) -> None:
    if bits == 4:
        for i in range(len(codes) // 2):
            out[i] = codes[2 * i] | (codes[2 * i + 1] << 4)
    elif bits == 2:
        for i in range(len(codes) // 4):
            out[i] = codes[4 * i] | (codes[4 * i + 1] << 2) | (codes[4 * i + 2] << 4) | (codes[4 * i + 3] << 6)
    elif bits == 8:
        out[: len(codes)] = codes
    else:
        for i in range(len(codes) // 8):
            word = np.uint64(0)
            for k in range(8):
                word |= np.uint64(codes[8 * i + k]) << np.uint64(bits * k)
            for k in range(bits):
                out[bits * i + k] = np.uint8((word >> np.uint64(8 * k)) & np.uint64(255))


@njit(cache=True, nogil=True)
def _unpack(data: np.ndarray, bits: int, out: np.ndarray) -> None:
    if bits == 4:
        for i in range(len(out) // 2):
            byte = data[i]
            out[2 * i], out[2 * i + 1] = byte & 15, byte >> 4
    elif bits == 2:
        for i in range(len(out) // 4):
            byte = data[i]
            out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3] = byte & 3, (byte >> 2) & 3, (byte >> 4) & 3, byte >> 6
    elif bits == 8:
        out[:] = data[: len(out)]
    else:
        mask = np.uint64((1 << bits) - 1)
        for i in range(len(out) // 8):
            word = np.uint64(0)
            for k in range(bits):
                word |= np.uint64(data[bits * i + k]) << np.uint64(8 * k)
            for k in range(8):
                out[8 * i + k] = np.uint8((word >> np.uint64(bits * k)) & mask)


#: Four 3-bit codes, one per byte, for each value of 12 bits: 16 KiB, half of a first-level cache.
_TABLE3 = np.zeros(4096, dtype=np.uint32)
for _k in range(4):
    _TABLE3 |= ((np.arange(4096, dtype=np.uint32) >> np.uint32(3 * _k)) & np.uint32(7)) << np.uint32(8 * _k)


@njit(cache=True, nogil=True)
def _unpack3(data: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(out) // 2):
        word = np.uint32(data[3 * i]) | (np.uint32(data[3 * i + 1]) << np.uint32(8)) | (np.uint32(data[3 * i + 2]) << np.uint32(16))
        out[2 * i], out[2 * i + 1] = table[word & np.uint32(4095)], table[word >> np.uint32(12)]
