"""The rANS coder: round trips, the same stream as the plain reference, and Shannon's bound from both sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.quantization.entropy import TOTAL, cost, decode, encode, encode_reference, frequencies, ways


def geometric(count: int, places: int, seed: int, slope: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(slope, count) - 1, places - 1).astype(np.uint8 if places <= 256 else np.uint16)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 400), st.integers(1, 3000), st.floats(0.001, 1.0), st.integers(0, 1000))
def test_streams_come_back_and_equal_the_plain_reference(count: int, places: int, slope: float, seed: int):
    symbols = geometric(count, places, seed, slope)
    counts = np.bincount(symbols, minlength=places)
    table = frequencies(counts if count else np.ones(places))
    data = encode(symbols, table)
    assert data == encode_reference(symbols, table)
    np.testing.assert_array_equal(decode(data, table, count), symbols)


@pytest.mark.parametrize(("places", "slope"), [(2, 0.9), (16, 0.4), (256, 0.02), (4000, 0.002), (1, 1.0)])
@pytest.mark.parametrize("count", [1, 1000, (1 << 14) - 1, 1 << 14, 100_003])
def test_length_lies_between_shannon_entropy_and_the_tables_cost(places: int, slope: float, count: int):
    symbols = geometric(count, places, 1, slope)
    counts = np.bincount(symbols, minlength=places)
    table = frequencies(counts)
    share = counts[counts > 0] / count
    entropy = float(-(share * np.log2(share)).sum()) * count
    bits = 8 * len(encode(symbols, table))
    assert entropy <= cost(counts, table) + 1e-6
    # The state at the end takes 32 bits per way; its own information is at least 16 of them. Division rounds by at most 2^-4 of a word.
    assert entropy - 1 <= bits <= cost(counts, table) * (1 + 1e-3) + 40 * ways(count)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300), st.integers(0, 9))
def test_frequencies_sum_to_the_total_and_lose_none(counts: list[int], seed: int):
    counts = np.array(counts)
    counts[seed % len(counts)] += 1
    table = frequencies(counts)
    assert table.sum() == TOTAL
    assert ((table > 0) == (counts > 0)).all()


def test_frequencies_beat_any_move_of_one_unit():
    counts = np.array([900, 50, 30, 15, 4, 1, 7000])
    table = frequencies(counts)
    best = cost(counts, table)
    for a in range(len(counts)):
        for b in range(len(counts)):
            if a != b and table[b] > 1:
                moved = table.copy()
                moved[a] += 1
                moved[b] -= 1
                assert cost(counts, moved) >= best - 1e-9


def test_wrong_tables_symbols_and_streams_are_refused():
    table = frequencies(np.array([3, 1]))
    with pytest.raises(ValueError, match="outside the table"):
        encode(np.array([2], dtype=np.uint8), table)
    with pytest.raises(ValueError, match="sum 4096"):
        encode(np.zeros(3, dtype=np.uint8), np.array([1, 2]))
    with pytest.raises(ValueError, match="uint8 or uint16"):
        encode(np.zeros(3), table)
    with pytest.raises(ValueError, match="1 to 4096 symbols"):
        frequencies(np.zeros(4))
    data = encode(geometric(1000, 2, 0), table)
    with pytest.raises(ValueError, match="no stream"):
        decode(data[:3], table, 1000)
    with pytest.raises(ValueError, match="does not end"):
        decode(data[:-2], table, 1000)
    with pytest.raises(ValueError, match="does not end"):
        decode(data, table, 999)


def test_strided_symbols_are_read():
    symbols = geometric(200, 8, 3)[::2]
    table = frequencies(np.bincount(symbols, minlength=8))
    np.testing.assert_array_equal(decode(encode(symbols, table), table, 100), symbols)
