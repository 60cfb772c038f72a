"""Fast paths against their references in float64 or exactly: odd sizes, strides, ties, NaN and infinity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard as dense_hadamard

from kernels.quantization.feedback import round_block, round_block_reference
from kernels.quantization.gemv import gemv4, gemv4_reference
from kernels.quantization.grids import gaussian_grid
from kernels.quantization.hadamard import hadamard, hadamard_, hadamard_reference
from kernels.quantization.nearest import nearest, nearest_reference
from kernels.quantization.packing import pack, pack_reference, unpack, unpack_reference


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


@pytest.mark.parametrize(("rows", "columns", "groups"), [(1, 2, 1), (5, 96, 3), (64, 256, 2), (33, 640, 5)])
def test_gemv_on_codes_equals_float64(rows: int, columns: int, groups: int):
    rng = np.random.default_rng(rows)
    packed = rng.integers(0, 256, (rows, columns // 2)).astype(np.uint8)
    scale = rng.random((rows, groups)).astype(np.float32) * 0.01
    zero = rng.integers(0, 16, (rows, groups)).astype(np.float32)
    x = rng.normal(size=columns).astype(np.float32)
    exact = gemv4_reference(packed, scale, zero, x)
    bound = np.abs(x).sum() * 15 * 0.01 * 1e-6
    np.testing.assert_allclose(gemv4(packed, scale, zero, x), exact, atol=bound)
    strided = np.repeat(packed, 2, 1)[:, ::2]
    np.testing.assert_allclose(gemv4(strided, scale, zero, np.repeat(x, 2)[::2]), exact, atol=bound)
    with pytest.raises(ValueError, match="do not fit"):
        gemv4(packed, scale, zero, x[1:])


def test_gemv_spreads_nan():
    x = np.array([np.nan, 1, 1, 1], dtype=np.float32)
    assert np.isnan(gemv4(np.zeros((2, 2), np.uint8), np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32), x)).all()


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
