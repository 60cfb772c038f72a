"""Fast paths against their references in float64 or exactly: odd sizes, strides, ties, NaN and infinity."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard as dense_hadamard

from kernels.quantization import simd
from kernels.quantization.dequantize import dequantize4, dequantize4_reference, lookup
from kernels.quantization.feedback import round_block, round_block_reference
from kernels.quantization.gemv import gemv4, gemv4_reference
from kernels.quantization.grids import gaussian_grid
from kernels.quantization.hadamard import hadamard, hadamard_, hadamard_reference
from kernels.quantization.nearest import nearest, nearest_reference
from kernels.quantization.packing import pack, pack_reference, unpack, unpack_reference
from kernels.quantization.search import SHRINKS, best_grid, best_grid_reference


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 32, 64, 128, 512, 1024, 4096])
def test_hadamard_equals_the_dense_matrix_of_scipy(n: int):
    x = normal(5, n)
    exact = x.double().numpy() @ dense_hadamard(n).astype(np.float64) / np.sqrt(n)
    for transform in (hadamard, hadamard_reference):
        np.testing.assert_allclose(transform(x).double().numpy(), exact, atol=2e-6 * np.abs(exact).max())


@pytest.mark.parametrize("n", [8, 64, 256])
def test_hadamard_is_orthonormal_and_its_own_inverse(n: int):
    x = normal(3, 2, n)
    assert torch.allclose(hadamard(hadamard(x)), x, atol=1e-5)
    assert torch.allclose(hadamard(x).norm(dim=-1), x.norm(dim=-1), rtol=1e-5)


@pytest.mark.parametrize("n", [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 1 << 16])
def test_hadamard_adds_in_the_order_of_the_plain_butterfly_bit_for_bit(n: int):
    """Wide strides first, scaled before: recorded results depend on it."""
    x = normal(3, n, seed=n)
    y, half = x * torch.tensor(1 / np.sqrt(n), dtype=torch.float32), n
    while half > 1:
        half //= 2
        y = y.reshape(3, -1, 2, half)
        y = torch.stack([y[:, :, 0] + y[:, :, 1], y[:, :, 0] - y[:, :, 1]], 2)
    assert torch.equal(hadamard(x), y.reshape(3, n))


def test_hadamard_leaves_its_input_alone_and_takes_strides():
    x = normal(64, 6)
    before = x.clone()
    assert torch.allclose(hadamard(x.T), hadamard_reference(x.T.contiguous()), atol=1e-5)
    assert torch.equal(x, before)
    assert hadamard(normal(0, 32)).shape == (0, 32)
    assert hadamard(normal(4, 32).double()).dtype == torch.float64


def test_hadamard_in_place():
    x = normal(7, 128)
    expected = hadamard(x)
    assert hadamard_(x) is x
    assert torch.equal(x, expected)
    with pytest.raises(ValueError, match="contiguous"):
        hadamard_(normal(128, 7).T)


def test_hadamard_spreads_nan_and_refuses_other_sizes():
    x = normal(2, 64)
    x[0, 3] = float("nan")
    assert bool(hadamard(x)[0].isnan().all())
    assert not bool(hadamard(x)[1].isnan().any())
    with pytest.raises(ValueError, match="power of two, not 96"):
        hadamard(normal(2, 96))


SPECIAL = torch.tensor([float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e-38, -1e30, 1e30, 5.0, -5.0, 4.9999, 100.0])


@pytest.mark.parametrize("n", [2, 3, 6, 7, 16, 31, 64, 256, 1000])
def test_nearest_on_a_line_equals_the_reference_exactly(n: int):
    grid = torch.tensor(gaussian_grid(1, n))
    middle = (grid[1:, 0] + grid[:-1, 0]) / 2
    near = [middle, middle.nextafter(torch.tensor(9.0)), middle.nextafter(torch.tensor(-9.0))]
    x = torch.cat([normal(10_007) * 1.5, grid[:, 0], *near, SPECIAL])[:, None]
    assert torch.equal(nearest(x, grid).long(), nearest_reference(x, grid))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.integers(0, 10_000))
def test_nearest_on_random_lines_equals_the_reference_exactly(n: int, seed: int):
    rng = np.random.default_rng(seed)
    grid = torch.from_numpy(np.sort(rng.standard_cauchy(n)).astype(np.float32))[:, None]  # wild gaps: no table fits
    x = torch.from_numpy(rng.standard_cauchy(501).astype(np.float32))[:, None]
    assert torch.equal(nearest(x, grid).long(), nearest_reference(x, grid))


@pytest.mark.parametrize("n", [16, 64, 256])
def test_nearest_in_the_plane_equals_the_reference_exactly(n: int):
    grid = torch.tensor(gaussian_grid(2, n))
    far = normal(500, 2, seed=3) * 6
    edge = torch.linspace(-5.2, 5.2, 97)
    special = torch.cartesian_prod(SPECIAL, SPECIAL)
    x = torch.cat([normal(20_011, 2), far, torch.stack([edge, edge.flip(0)], 1), grid, (grid[1:] + grid[:-1]) / 2, special])
    assert torch.equal(nearest(x, grid).long(), nearest_reference(x, grid))


def test_a_tie_takes_the_lower_index():
    line = torch.tensor([[-1.0], [1.0]])
    assert nearest(torch.tensor([[0.0]]), line).tolist() == [0]
    square = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    points = torch.tensor([[0.0, 0.0], [0.0, -2.0], [-2.0, 0.0], [2.0, 0.0]])
    assert nearest(points, square).tolist() == nearest_reference(points, square).tolist() == [0, 2, 1, 0]


def test_nearest_takes_strides_other_dtypes_and_nothing():
    grid = torch.tensor(gaussian_grid(2, 16))
    x = normal(2, 333).T
    assert torch.equal(nearest(x, grid).long(), nearest_reference(x.contiguous(), grid))
    assert torch.equal(nearest(x.double(), grid.double()), nearest_reference(x.double(), grid.double()))
    assert len(nearest(normal(0, 2), grid)) == 0


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 8), st.integers(0, 100), st.integers(0, 10_000))
def test_packing_equals_the_reference_and_comes_back(bits: int, count: int, seed: int):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, count).astype(np.uint8)
    data = pack(codes, bits)
    assert len(data) == -(-count * bits // 8)
    np.testing.assert_array_equal(data, pack_reference(codes, bits))
    np.testing.assert_array_equal(unpack(data, bits, count), codes)
    np.testing.assert_array_equal(unpack_reference(data, bits, count), codes)


@pytest.mark.parametrize("bits", [1, 9, 13, 24, 31, 32])
def test_reference_packing_of_wide_codes(bits: int):
    codes = np.random.default_rng(0).integers(0, 1 << bits, 77)
    np.testing.assert_array_equal(unpack_reference(pack_reference(codes, bits), bits, 77), codes)


def test_packing_takes_strides_and_refuses_nonsense():
    codes = np.arange(40, dtype=np.uint8) % 8
    np.testing.assert_array_equal(pack(codes[::2], 3), pack_reference(codes[::2].copy(), 3))
    with pytest.raises(ValueError, match="uint8 codes"):
        pack(codes.astype(np.int64), 3)
    with pytest.raises(ValueError, match="3 bytes do not hold 9 codes of 3 bits"):
        unpack(np.zeros(3, dtype=np.uint8), 3, 9)


#: Rows, inputs and inputs per group: the fast path's groups, then such that don't divide its blocks.
SHAPES = [(1, 128, 128), (33, 384, 32), (64, 256, 64), (7, 2304, 256), (2, 4096, 4096), (70, 640, 20), (5, 96, 32), (1, 2, 2), (3, 16, 8)]


def four_bits(rows: int, columns: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    packed = rng.integers(0, 256, (rows, columns // 2)).astype(np.uint8)
    groups = (rows, columns // size)
    return packed, (rng.random(groups) * 0.01).astype(np.float32), (rng.random(groups) * 15).astype(np.float32)


def magnitude(scale: np.ndarray, size: int, x: np.ndarray) -> np.ndarray:
    """What float32 rounds: products with codes and with zeros, each of at most 15 scales."""
    return 30 * np.abs(x.astype(np.float64)) @ np.repeat(scale.astype(np.float64), size, 1).T


def rounded(x: np.ndarray) -> np.ndarray:
    """x in 16 bits with a unit for each 128 inputs: 1/32,512 of the largest."""
    blocks = x.reshape(*x.shape[:-1], -1, 128)
    unit = np.abs(blocks).max(-1, keepdims=True) * np.float32(1 / 32512)
    return (np.rint(blocks * (np.float32(1) / unit)) * unit.astype(np.float64)).reshape(x.shape)


@pytest.mark.parametrize(("rows", "columns", "size"), SHAPES)
@pytest.mark.parametrize("vectors", [None, 1, 3, 17])
def test_gemv_on_codes_equals_float64_with_inputs_of_16_bits(rows: int, columns: int, size: int, vectors: int | None):
    packed, scale, zero = four_bits(rows, columns, size)
    x = np.random.default_rng(1).normal(size=columns if vectors is None else (vectors, columns)).astype(np.float32)
    found, fast = gemv4(packed, scale, zero, x), simd.HAS_DOT and columns % 128 == 0 and size in (32, 64, 128, 256, 4096)
    exact = gemv4_reference(packed, scale, zero, rounded(x) if fast else x)
    assert found.shape == exact.shape
    assert found.dtype == np.float32
    assert (np.abs(found - exact) <= 2.0**-22 * magnitude(scale, size, x)).all()
    # The documented bound against the inputs as they came: an error of 1/64,000 of the largest neighbour in each.
    weight = np.abs(dequantize4_reference(packed, scale.astype(np.float64), zero.astype(np.float64)))
    largest = np.abs(x.reshape(*x.shape[:-1], -1, 128)).max(-1).repeat(128, -1) if fast else np.zeros_like(x)
    bound = largest.astype(np.float64) @ weight.T / 64_000 + 2.0**-22 * magnitude(scale, size, x)
    assert (np.abs(found - gemv4_reference(packed, scale, zero, x)) <= bound).all()


def test_gemv_takes_strides_other_dtypes_and_inputs_of_very_different_size():
    packed, scale, zero = four_bits(9, 512, 64)
    x = np.random.default_rng(0).normal(size=512) * 10.0 ** (np.arange(512) // 128 * 10 - 16)  # blocks alike, the whole over 30 decades
    exact = gemv4_reference(packed, scale, zero, x)
    found = gemv4(np.repeat(packed, 2, 1)[:, ::2], scale.astype(np.float64), np.asfortranarray(zero), np.repeat(x, 2)[::2])
    np.testing.assert_allclose(found, exact, atol=1e-4 * np.abs(exact).max())
    halves = scale.astype(np.float16), zero.astype(np.float16)
    one = np.random.default_rng(1).normal(size=512)
    exact = gemv4_reference(packed, *halves, one)
    np.testing.assert_allclose(gemv4(packed, *halves, one), exact, atol=1e-4 * np.abs(exact).max())
    # One large input whose weights are zero leaves the others their digits, if it is not in their block.
    alone = np.zeros(512, dtype=np.float32)
    alone[0], alone[128:] = 1e20, 1
    packed[:, 0] = packed[:, 0] & 0xF0
    zero[:, 0] = 0
    np.testing.assert_allclose(gemv4(packed, scale, zero, alone), gemv4_reference(packed, scale, zero, alone), rtol=1e-5)
    assert gemv4(packed[:0], scale[:0], zero[:0], x).shape == (0,)
    assert gemv4(packed, scale, zero, np.zeros((0, 512))).shape == (0, 9)


def test_one_vector_among_others_gives_the_same_bits():
    packed, scale, zero = four_bits(300, 256, 64)
    x = np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32)
    np.testing.assert_array_equal(gemv4(packed, scale, zero, x), np.stack([gemv4(packed, scale, zero, one) for one in x]))


@pytest.mark.parametrize("scale_of_x", [0.0, 1e-42, 1e-38, 1e30, 1e36])
def test_gemv_with_tiny_and_huge_inputs(scale_of_x: float):
    packed, scale, zero = four_bits(4, 128, 128)
    x = (np.random.default_rng(0).normal(size=128) * scale_of_x).astype(np.float32)
    exact = gemv4_reference(packed, scale, zero, x)
    weight = np.abs(dequantize4_reference(packed, scale, zero)).astype(np.float64).sum(1)
    largest = np.abs(x).max().astype(np.float64)
    # Inputs below 2^-126 may be lost.
    assert (np.abs(gemv4(packed, scale, zero, x) - exact) <= weight * (largest / 60_000 + 2.0**-126)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gemv_spreads_nan_and_infinity(bad: float):
    packed, scale, zero = four_bits(3, 128, 128)
    x = np.ones(128, dtype=np.float32)
    x[5] = bad
    assert not np.isfinite(gemv4(packed, scale, zero, x)).any()
    scale[1] = bad
    assert np.isfinite(gemv4(packed, scale, zero, np.ones(128))).tolist() == [True, False, True]


def test_gemv_refuses_shapes_that_do_not_fit():
    packed, scale, zero = four_bits(3, 96, 32)
    for arguments in [
        (packed, scale, zero, np.ones(95)),
        (packed, scale, zero[:, :2], np.ones(96)),
        (packed[:, :47], scale, zero, np.ones(94)),
    ]:
        with pytest.raises(ValueError, match="do not fit"):
            gemv4(*arguments)


#: An AVX2 machine without byte products or sixteen-lane permutations, and one without any of it.
OTHER_MACHINES = {"haswell": "+avx2,+avx,+fma,+bmi,+bmi2,+sse4.2,+ssse3,+f16c", "nehalem": "+sse4.2,+ssse3"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for older x86 processors")
@pytest.mark.parametrize("name", OTHER_MACHINES)
def test_vector_paths_give_the_same_on_processors_without_avx512(name: str, tmp_path):
    code = (
        "import numpy as np, torch\n"
        "from tests.kernels.quantization import test_quantization_kernels as t\n"
        "from kernels.quantization import simd\n"
        f"assert not simd.HAS_LOOKUP and simd.HAS_DOT == {name == 'haswell'}\n"
        "for shape in t.SHAPES[:3]:\n"
        "    t.test_gemv_on_codes_equals_float64_with_inputs_of_16_bits(*shape, 3)\n"
        "t.test_dequantizing_four_bits_equals_the_reference_bit_for_bit(*t.SHAPES[1])\n"
        "for n in (16, 512):\n"
        "    t.test_hadamard_equals_the_dense_matrix_of_scipy(n)\n"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": OTHER_MACHINES[name], "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("rows", "columns", "size"), SHAPES)
def test_dequantizing_four_bits_equals_the_reference_bit_for_bit(rows: int, columns: int, size: int):
    packed, scale, zero = four_bits(rows, columns, size)
    levels = np.sort(np.random.default_rng(2).normal(size=16)).astype(np.float32)
    np.testing.assert_array_equal(dequantize4(packed, scale, zero), dequantize4_reference(packed, scale, zero))
    found = dequantize4(np.repeat(packed, 2, 1)[:, ::2], scale, np.zeros_like(zero), levels)
    np.testing.assert_array_equal(found, dequantize4_reference(packed, scale, np.zeros_like(zero), levels))
    scale[0, 0] = np.nan
    np.testing.assert_array_equal(dequantize4(packed, scale, zero), dequantize4_reference(packed, scale, zero))
    with pytest.raises(ValueError, match="do not fit"):
        dequantize4(packed, scale[:, :-1], zero)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("n", [2, 16, 200, 256])
def test_looking_up_points_equals_indexing(n: int, p: int):
    rng = np.random.default_rng(n)
    table, codes = rng.normal(size=(n, p)).astype(np.float32), rng.integers(0, n, 1001).astype(np.uint8)
    table[0] = np.nan
    for some in (codes, codes[::3], codes[:0], codes.astype(np.int64)):
        np.testing.assert_array_equal(lookup(some, table), table[some])
    np.testing.assert_array_equal(lookup(codes, np.asfortranarray(table)), table[codes])
    if n < 256:
        with pytest.raises(IndexError):
            lookup(np.array([0, n], dtype=np.uint8), table)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (64, 128), (65, 7), (200, 33)])
def test_feedback_block_equals_float64(rows: int, columns: int):
    rng = np.random.default_rng(rows)
    block = rng.normal(size=(rows, columns)).astype(np.float32)
    factor = (np.triu(rng.normal(size=(columns, columns)) * 0.05, 1) + np.diag(rng.uniform(0.5, 1.5, columns))).astype(np.float32)
    scale = rng.uniform(0.2, 0.4, (rows, columns)).astype(np.float32)
    zero = rng.integers(4, 12, (rows, columns)).astype(np.float32)
    before = block.copy()
    codes, errors = round_block(block, factor, scale, zero, 15)
    exact_codes, exact_errors = round_block_reference(block, factor, scale, zero, 15)
    np.testing.assert_array_equal(block, before)
    assert (codes != exact_codes).mean() < 2e-3  # a value within rounding of a tie may fall to the other side
    same = (codes == exact_codes).all(1)
    np.testing.assert_allclose(errors[same], exact_errors[same], atol=1e-4)


def test_feedback_block_with_nan_and_infinity_stays_in_range():
    block = np.array([[np.nan, 1.0], [np.inf, 1.0], [-np.inf, 1.0], [0.5, 1.0]], dtype=np.float32)
    codes, errors = round_block(block, np.eye(2, dtype=np.float32), np.ones((4, 2), np.float32), np.full((4, 2), 2, np.float32), 3)
    assert codes.max() <= 3
    assert codes[3].tolist() == [2, 3]
    assert np.isfinite(errors[3]).all()
    assert not np.isfinite(errors[0]).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 130), st.integers(1, 8), st.sampled_from([2.0, 2.4]), st.integers(0, 10_000))
def test_searched_grid_has_the_least_float64_error(rows: int, columns: int, bits: int, exponent: float, seed: int):
    rng = np.random.default_rng(seed)
    weights = (rng.standard_t(3, size=(rows, columns)) * 10.0 ** rng.integers(-4, 3)).astype(np.float32)
    top = (1 << bits) - 1
    low, high = np.minimum(weights.min(1), 0), np.maximum(weights.max(1), 0)
    scale = np.maximum((high - low)[:, None] * SHRINKS / top, 1e-12).astype(np.float32)
    zero = np.round(-low[:, None] * SHRINKS / scale).astype(np.float32)
    found, exact = (choose(weights, scale, zero, top, exponent) for choose in (best_grid, best_grid_reference))

    def error(index: np.ndarray) -> np.ndarray:
        s, z = (np.take_along_axis(array, index[:, None], 1).astype(np.float64) for array in (scale, zero))
        return (np.abs(s * (np.clip(np.round(weights / s) + z, 0, top) - z) - weights) ** exponent).sum(1)

    np.testing.assert_allclose(error(found), error(exact), rtol=4e-6, atol=1e-30)
    assert (found == exact).mean() >= 1 - 1 / rows  # at most one row within rounding of a tie


def test_searching_grids_with_nan_infinity_strides_and_nonsense():
    weights = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    scale, zero = np.array([[0.5, 0.5, 0.1]] * 4), np.full((4, 3), 8.0)
    assert best_grid(weights, scale, zero, 15).tolist() == best_grid_reference(weights, scale, zero, 15).tolist()
    assert best_grid(weights, scale[:, ::-1], zero, 15).tolist() == [1] * 4  # of two equal candidates the first
    weights[0, 5], weights[1, 5] = np.nan, np.inf
    for exponent in (2.0, 2.4):
        assert best_grid(weights, scale, zero, 15, exponent)[:2].tolist() == [0, 0]
    assert best_grid(weights[:, ::2], scale, zero, 15).tolist() == best_grid_reference(weights[:, ::2], scale, zero, 15).tolist()
    with pytest.raises(ValueError, match="exponent is one of"):
        best_grid(weights, scale, zero, 15, 3.0)
    with pytest.raises(ValueError, match="do not fit"):
        best_grid(weights[:2], scale, zero, 15)
