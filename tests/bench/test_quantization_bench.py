"""Speed of the quantization kernels as fractions of this machine's ceilings and of peers, measured in the same run on one thread.

`make bench` prints a table and asserts ratios with room for a noisy machine; docs/performance.md keeps numbers with date and device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from kernels.quantization.feedback import round_block, round_block_reference
from kernels.quantization.gemv import gemv4
from kernels.quantization.grids import gaussian_grid
from kernels.quantization.hadamard import hadamard_, hadamard_reference
from kernels.quantization.nearest import nearest
from kernels.quantization.packing import pack, unpack

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def alternate(*calls: Callable[[], object], rounds: int = 15) -> list[float]:
    """Best seconds of each call; calls take turns, so that a busy moment hits all of them."""
    best = [float("inf")] * len(calls)
    for call in calls:
        call()
    for _ in range(rounds):
        for i, call in enumerate(calls):
            started = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - started)
    return best


def report(name: str, **values: float) -> None:
    print(f"\n{name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in values.items()))


def test_ceilings():
    """Read, copy and matrix product: what the floors are measured against."""
    source = np.random.default_rng(0).random(32 << 20, dtype=np.float32)
    target = np.empty_like(source)
    matrix = torch.randn(2048, 2048)
    read, copy, product = alternate(lambda: source.sum(), lambda: np.copyto(target, source), lambda: matrix @ matrix, rounds=5)
    report("ceilings", read_GBs=source.nbytes / read / 1e9, copy_GBs=2 * source.nbytes / copy / 1e9, gemm_GFs=2 * 2048**3 / product / 1e9)
    assert read > 0


def test_hadamard_1024_beats_a_two_step_kronecker_product():
    x, out = torch.randn(4096, 1024), torch.empty(4096, 1024)
    small = hadamard_reference(torch.eye(32))
    fast, kronecker, plain, copy = alternate(
        lambda: hadamard_(x), lambda: small @ x.view(-1, 32, 32) @ small, lambda: hadamard_reference(x), lambda: out.copy_(x)
    )
    report("hadamard 4096 x 1024", ms=fast * 1e3, of_copy=copy / fast, x_kronecker=kronecker / fast, x_reference=plain / fast)
    assert kronecker / fast > 3
    assert copy / fast > 0.2


@pytest.mark.parametrize("n", [4, 16, 256])
def test_nearest_on_a_line_beats_bucketize(n: int):
    x, grid = torch.randn(1 << 22), torch.tensor(gaussian_grid(1, n))
    middle = (grid[1:, 0] + grid[:-1, 0]) / 2
    fast, peer = alternate(lambda: nearest(x[:, None], grid), lambda: torch.bucketize(x, middle), rounds=5)
    report(f"nearest 1-d, {n} levels", G_per_s=len(x) / fast / 1e9, x_bucketize=peer / fast)
    assert peer / fast > 5


@pytest.mark.parametrize("n", [16, 256])
def test_nearest_in_the_plane_beats_matmul_and_argmax(n: int):
    x, grid = torch.randn(1 << 20, 2), torch.tensor(gaussian_grid(2, n))
    norms = grid.square().sum(1) / 2
    fast, peer = alternate(
        lambda: nearest(x, grid), lambda: torch.cat([(part @ grid.T - norms).argmax(1) for part in x.split(1 << 14)]), rounds=5
    )
    report(f"nearest 2-d, {n} points", ms_per_million=fast * 1e3, x_matmul_argmax=peer / fast)
    assert peer / fast > (20 if n == 256 else 3)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_packing_beats_numpy(bits: int):
    codes = np.random.default_rng(0).integers(0, 1 << bits, 1 << 24).astype(np.uint8)
    data, target = pack(codes, bits), np.empty_like(codes)
    packing, unpacking, shifts, copy = alternate(
        lambda: pack(codes, bits),
        lambda: unpack(data, bits, len(codes)),
        lambda: (data[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & np.uint8((1 << bits) - 1),
        lambda: np.copyto(target, codes),
        rounds=5,
    )
    n = len(codes) / 1e9
    report(
        f"pack {bits} bits",
        pack_G_per_s=n / packing,
        unpack_G_per_s=n / unpacking,
        x_numpy_shifts=shifts / unpacking,
        copy_G_per_s=n / copy,
    )
    assert shifts / unpacking > 2


def test_int4_gemv_beats_float32():
    n, groups = 4096, 32
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 256, (n, n // 2)).astype(np.uint8)
    scale, zero = rng.random((n, groups)).astype(np.float32), np.full((n, groups), 8, dtype=np.float32)
    x = rng.normal(size=n).astype(np.float32)
    weight, vector, source = torch.randn(n, n), torch.from_numpy(x), np.ones(packed.nbytes // 4, dtype=np.float32)
    codes = torch.from_numpy(rng.integers(0, 16, (n, n)).astype(np.int32))
    theirs = torch._convert_weight_to_int4pack_for_cpu(codes, 2)
    parameters, half = torch.ones(groups, n, 2, dtype=torch.bfloat16), vector.bfloat16()[None]
    fast, plain, peer, read = alternate(
        lambda: gemv4(packed, scale, zero, x),
        lambda: weight @ vector,
        lambda: torch._weight_int4pack_mm_for_cpu(half, theirs, 128, parameters),
        lambda: source.sum(),
    )
    report("int4 gemv 4096 x 4096", ms=fast * 1e3, of_read=read / fast, x_float32=plain / fast, of_torch_int4pack=peer / fast)
    assert plain / fast > 1.5


def test_feedback_block_beats_numpy():
    rng = np.random.default_rng(0)
    block = rng.normal(size=(4096, 128)).astype(np.float32)
    factor = (np.triu(rng.normal(size=(128, 128)) * 0.05, 1) + np.eye(128)).astype(np.float32)
    scale, zero = np.full(block.shape, 0.3, np.float32), np.full(block.shape, 8, np.float32)
    fast, plain = alternate(
        lambda: round_block(block, factor, scale, zero, 15), lambda: round_block_reference(block, factor, scale, zero, 15), rounds=3
    )
    report("GPTQ block 4096 x 128", ms=fast * 1e3, GFs=block.size * 128 / fast / 1e9, x_numpy=plain / fast)
    assert plain / fast > 5
