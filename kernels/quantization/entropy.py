"""Entropy coding of small integers with a static table: range asymmetric numeral systems (rANS), several states in turn.

Source: Duda 2013, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression rate of arithmetic
coding". A symbol of frequency f out of 2^12 takes log2(2^12 / f) bits. A state stays in [2^16, 2^32) and gives off 16 bits at a time; the
symbols take `WAYS` states in turn, so that a processor works on several at once.

Floor: about ten operations per symbol, each waiting for its state's last symbol, with eight states overlapping; one byte read and less than
one written.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PRECISION = 12
TOTAL = 1 << PRECISION
#: States of a long message. A short one has a single state, because each costs 4 bytes at the end.
WAYS, SHORT = 8, 1 << 14
LOW = 1 << 16


def ways(count: int) -> int:
    """States for a message of `count` symbols."""
    return 1 if count < SHORT else WAYS


def frequencies(counts: np.ndarray) -> np.ndarray:
    """Counts [m] of symbols to frequencies [m] int64 with sum 2^12: at least 1 for every symbol that occurs, 0 for the others.

    No other table codes these counts in fewer bits. ValueError unless 1 to 2^12 symbols occur.
    """
    counts = np.asarray(counts, dtype=np.float64)
    present = counts > 0
    if not 1 <= present.sum() <= TOTAL:
        raise ValueError(f"A table of 2^{PRECISION} holds 1 to {TOTAL} symbols, not {int(present.sum())}.")
    share = counts / counts.sum() * TOTAL
    found = np.where(present, np.maximum(np.floor(share), 1), 0).astype(np.int64)
    while (gap := TOTAL - int(found.sum())) != 0:
        sign = 1 if gap > 0 else -1
        candidates = np.flatnonzero(present & (found + sign >= 1))
        # Bits saved (or lost) by one unit more (or less) of each symbol.
        change = sign * counts[candidates] * np.log2((found[candidates] + sign) / found[candidates])
        best = candidates[np.argsort(-sign * change, kind="stable")[: max(1, min(abs(gap), len(candidates) // 4))]]
        found[best] += sign
    # The bits are convex in each frequency, so the table is optimal once no unit gains by moving.
    occur = np.flatnonzero(present)
    counts, kept = counts[occur], found[occur]
    while len(kept) > 1:
        gain = counts * np.log2((kept + 1) / kept)
        loss = np.where(kept > 1, counts * np.log2(kept / np.maximum(kept - 1, 0.5)), np.inf)
        to, source = int(gain.argmax()), int(loss.argmin())
        if gain[to] <= loss[source] or to == source:
            break
        kept[to] += 1
        kept[source] -= 1
    found[occur] = kept
    return found


def cost(counts: np.ndarray, table: np.ndarray) -> float:
    """Ideal bits of a message with these counts under the table's frequencies; every symbol that occurs needs one."""
    present = counts > 0
    return float((counts[present] * (PRECISION - np.log2(table[present]))).sum())


def _checked(table: np.ndarray) -> np.ndarray:
    table = np.ascontiguousarray(table, dtype=np.uint32)
    if table.ndim != 1 or len(table) > 1 << 16 or int(table.sum(dtype=np.int64)) != TOTAL:
        raise ValueError(f"Frequencies are one axis of at most 65536 numbers with sum {TOTAL}.")
    return table


def encode_reference(symbols: np.ndarray, table: np.ndarray) -> bytes:
    """The same stream as `encode`, one symbol at a time in Python integers."""
    table = _checked(table)
    start = (np.cumsum(table, dtype=np.int64) - table).tolist()
    n = ways(len(symbols))
    states, words = [LOW] * n, []
    for i in range(len(symbols) - 1, -1, -1):
        symbol = int(symbols[i])
        f, x = int(table[symbol]), states[i % n]
        if f == 0:
            raise ValueError(f"Symbol {symbol} has frequency 0 in the table.")
        if x >= f << (32 - PRECISION):
            words.append(x & 0xFFFF)
            x >>= 16
        states[i % n] = (x // f << PRECISION) + x % f + start[symbol]
    return np.array(states, dtype="<u4").tobytes() + np.array(words[::-1], dtype="<u2").tobytes()


def encode(symbols: np.ndarray, table: np.ndarray) -> bytes:
    """Symbols [n] uint8 or uint16 to bytes: the final states, then 16-bit words. `table` [m] are frequencies with sum 2^12.

    ValueError for a symbol outside the table or of frequency 0. The decoder must be told n and the table.
    """
    table = _checked(table)
    symbols = np.ascontiguousarray(symbols)
    if symbols.ndim != 1 or symbols.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"Symbols are one axis of uint8 or uint16, not {symbols.ndim} axes of {symbols.dtype}.")
    if len(symbols) and (int(symbols.max()) >= len(table) or not table[np.unique(symbols)].all()):
        raise ValueError("A symbol is outside the table or has frequency 0.")
    states = np.full(ways(len(symbols)), LOW, dtype=np.uint64)
    words = np.empty(len(symbols) + 1, dtype=np.uint16)
    start = (np.cumsum(table) - table).astype(np.uint64)
    first = _encode(symbols, table.astype(np.uint64), start, _reciprocals(table), states, words)
    return states.astype("<u4").tobytes() + words[first:].astype("<u2").tobytes()


def _reciprocals(table: np.ndarray) -> np.ndarray:
    """ceil(2^44 / f): floor(x / f) = x r >> 44 for x < 2^32 and f <= 2^12, because the excess x (f r - 2^44) < 2^32 2^12 = 2^44."""
    return np.array([-(-(1 << 44) // int(f)) if f else 0 for f in table], dtype=np.uint64)


def decode(data: bytes, table: np.ndarray, count: int) -> np.ndarray:
    """Inverse of `encode`: [count] uint8, or uint16 for tables of more than 256 symbols. ValueError when the data is not such a stream."""
    table = _checked(table)
    n = ways(count)
    if len(data) < 4 * n or len(data) % 2:
        raise ValueError(f"{len(data)} bytes are no stream of {count} symbols.")
    states = np.frombuffer(data[: 4 * n], dtype="<u4").astype(np.uint32)
    words = np.frombuffer(data[4 * n :], dtype="<u2").astype(np.uint16)
    start = np.cumsum(table) - table
    slots = np.repeat(np.arange(len(table), dtype=np.uint32), table)
    # Symbol, frequency - 1 and place within the symbol's slots share one 64-bit entry: one load per symbol.
    entries = slots.astype(np.uint64) << np.uint64(32)
    entries |= (table[slots].astype(np.uint64) - np.uint64(1)) << np.uint64(16)
    entries |= np.arange(TOTAL, dtype=np.uint64) - start[slots].astype(np.uint64)
    out = np.empty(count, dtype=np.uint8 if len(table) <= 256 else np.uint16)
    used = _decode(words, entries, states, out)
    if used != len(words) or (states != LOW).any():
        raise ValueError(f"The stream does not end after {count} symbols.")
    return out


@njit(cache=True, nogil=True)
def _encode(
    symbols: np.ndarray, table: np.ndarray, start: np.ndarray, reciprocal: np.ndarray, states: np.ndarray, words: np.ndarray
) -> int:
    n, place = len(states), len(words)
    for i in range(len(symbols) - 1, -1, -1):
        way, symbol = i % n, symbols[i]
        f, x = table[symbol], states[way]
        # Written always, kept only when the state is too large: no branch to predict.
        words[place - 1] = np.uint16(x & np.uint64(0xFFFF))
        large = x >= f << np.uint64(32 - PRECISION)
        place -= 1 if large else 0
        x = x >> np.uint64(16) if large else x
        quotient = _divide(x, reciprocal[symbol])
        states[way] = (quotient << np.uint64(PRECISION)) + (x - quotient * f) + start[symbol]
    return place


@njit(cache=True, nogil=True, inline="always")
def _divide(x: np.uint64, reciprocal: np.uint64) -> np.uint64:
    """x reciprocal >> 44 in two halves, since the product may have 76 bits."""
    high, low = x >> np.uint64(16), x & np.uint64(0xFFFF)
    return (high * reciprocal + (low * reciprocal >> np.uint64(16))) >> np.uint64(28)


@njit(cache=True, nogil=True)
def _decode(words: np.ndarray, entries: np.ndarray, states: np.ndarray, out: np.ndarray) -> int:
    n, place, last = len(states), 0, len(words)
    for i in range(len(out)):
        way = i % n
        x = states[way]
        entry = entries[x & np.uint32(TOTAL - 1)]
        out[i] = np.uint16(entry >> np.uint64(32))
        x = (np.uint32((entry >> np.uint64(16)) & np.uint64(0xFFFF)) + np.uint32(1)) * (x >> np.uint32(PRECISION)) + np.uint32(
            entry & np.uint64(0xFFFF)
        )
        if x < np.uint32(LOW):
            if place == last:
                return -1
            x = (x << np.uint32(16)) | np.uint32(words[place])
            place += 1
        states[way] = x
    return place
