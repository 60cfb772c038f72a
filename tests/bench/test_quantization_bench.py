"""Speed of the quantization kernels as fractions of this machine's ceilings and of peers, measured in the same run on one thread.

`make bench` prints a table and asserts the targets; docs/performance.md keeps numbers with date and device. A target in values per
second is asserted as the flops of a matrix product that take as long (`in_products`), for a machine with 100 GFLOP/s.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kernels.quantization import entropy
from kernels.quantization.dequantize import dequantize4, lookup
from kernels.quantization.feedback import round_block, round_block_reference
from kernels.quantization.gemv import gemv4
from kernels.quantization.grids import gaussian_grid
from kernels.quantization.hadamard import hadamard_, hadamard_reference
from kernels.quantization.nearest import nearest
from kernels.quantization.packing import pack, unpack
from kernels.quantization.search import EXPONENTS, SHRINKS, best_grid
from tasks.quantization.methods import gptq

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


@pytest.fixture(scope="module")
def ceilings() -> dict[str, float]:
    """Seconds per byte read, per byte copied (read + write) and per flop of a matrix product: what the floors are measured against.

    The arrays are larger than the last-level cache; the faster of numpy's and torch's sum counts.
    """
    source = torch.from_numpy(np.random.default_rng(0).random(32 << 20, dtype=np.float32))
    target, matrix = torch.empty_like(source), torch.randn(2048, 2048)
    one, two, copy, product = alternate(
        lambda: source.numpy().sum(), lambda: source.sum(), lambda: target.copy_(source), lambda: matrix @ matrix, rounds=7
    )
    found = {"read": min(one, two) / (4 * len(source)), "copy": copy / (8 * len(source)), "product": product / (2 * 2048**3)}
    report("ceilings", read_GBs=1e-9 / found["read"], copy_GBs=1e-9 / found["copy"], product_GFs=1e-9 / found["product"])
    return found


def in_products(count: int, seconds: float, ceilings: dict[str, float]) -> float:
    """Flops of a matrix product in the time of one of `count` values: 100 over G values/s where the product does 100 GFLOP/s."""
    return seconds / count / ceilings["product"]


def test_hadamard_1024_beats_a_two_step_kronecker_product():
    x, out = torch.randn(4096, 1024), torch.empty(4096, 1024)
    small = hadamard_reference(torch.eye(32))
    fast, kronecker, plain, copy = alternate(
        lambda: hadamard_(x), lambda: small @ x.view(-1, 32, 32) @ small, lambda: hadamard_reference(x), lambda: out.copy_(x)
    )
    report("hadamard 4096 x 1024", ms=fast * 1e3, of_copy=copy / fast, x_kronecker=kronecker / fast, x_reference=plain / fast)
    assert kronecker / fast > 5
    assert copy / fast > 0.5


@pytest.mark.parametrize("n", [4, 16, 256])
def test_nearest_on_a_line_beats_bucketize(n: int, ceilings: dict[str, float]):
    x, grid = torch.randn(1 << 22), torch.tensor(gaussian_grid(1, n))
    middle = (grid[1:, 0] + grid[:-1, 0]) / 2
    fast, peer = alternate(lambda: nearest(x[:, None], grid), lambda: torch.bucketize(x, middle), rounds=5)
    report(f"nearest 1-d, {n} levels", G_per_s=len(x) / fast / 1e9, x_bucketize=peer / fast)
    assert peer / fast > 5
    assert in_products(len(x), fast, ceilings) < 100 / 0.5  # .5 G values/s


@pytest.mark.parametrize("n", [16, 256])
def test_nearest_in_the_plane_beats_matmul_and_argmax(n: int, ceilings: dict[str, float]):
    x, grid = torch.randn(1 << 20, 2), torch.tensor(gaussian_grid(2, n))
    norms = grid.square().sum(1) / 2
    fast, peer = alternate(
        lambda: nearest(x, grid), lambda: torch.cat([(part @ grid.T - norms).argmax(1) for part in x.split(1 << 14)]), rounds=5
    )
    report(f"nearest 2-d, {n} points", ms_per_million=fast * 1e3, x_matmul_argmax=peer / fast)
    assert peer / fast > (20 if n == 256 else 3)
    assert in_products(len(x), fast, ceilings) < 100 * 60  # 60 ms per million


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_packing_beats_numpy(bits: int, ceilings: dict[str, float]):
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
    assert in_products(len(codes), unpacking, ceilings) < 100 / 3  # 3 G weights/s


def int4(n: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, torch.Tensor, torch.Tensor]:
    """Random codes [n, n / 2], float16 scales and zeros, and the same for torch's own kernel."""
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 256, (n, n // 2)).astype(np.uint8)
    scale, zero = rng.random((n, groups)).astype(np.float16), np.full((n, groups), 8, dtype=np.float16)
    codes = torch.from_numpy(np.stack([packed & 15, packed >> 4], -1).reshape(n, n)).to(torch.int32)
    theirs = torch._convert_weight_to_int4pack_for_cpu(codes, 2)
    parameters = torch.stack([torch.from_numpy(scale.T.astype(np.float32)), torch.zeros(groups, n)], -1).bfloat16()
    return packed, scale, zero, theirs, parameters


def repeated(array: np.ndarray, copies: int) -> np.ndarray:
    """[copies, ...] in one piece, as weights lie in a model's file, from a page of 2 MiB on. numpy asks for such pages; with those of 4 KiB
    this machine's reads take 1.7 times as long."""
    page = 1 << 21
    space = np.empty(copies * array.nbytes + page, dtype=np.uint8)
    start = -space.ctypes.data % page
    whole = space[start : start + copies * array.nbytes].view(array.dtype).reshape(copies, *array.shape)
    whole[:] = array
    return whole


def test_int4_gemv_approaches_one_read_of_codes_and_groups(ceilings: dict[str, float]):
    """Sixteen matrices in turn, four times what the last-level cache holds; a read takes the same bytes: codes, scales and zeros."""
    n, groups, copies = 4096, 32, 16
    packed, scale, zero, theirs, parameters = int4(n, groups)
    matrices = list(zip(*(repeated(part, copies) for part in (packed, scale, zero)), strict=True))
    peers = torch.from_numpy(repeated(theirs.numpy(), copies))
    x = np.random.default_rng(1).normal(size=n).astype(np.float32)
    vector = torch.from_numpy(x)
    half, weights = vector.bfloat16()[None], [torch.from_numpy(np.random.default_rng(k).random((n, n), dtype=np.float32)) for k in (0, 1)]
    size = sum(part.nbytes for part in matrices[0])
    source = torch.from_numpy(repeated(np.ones(size // 4, dtype=np.float32), copies))

    def twice(call: Callable[[list], object]) -> Callable[[], object]:
        """Half of the matrices in each of two threads."""
        return lambda: list(pool.map(call, (slice(0, copies // 2), slice(copies // 2, copies))))

    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        fast, plain, peer, read, again, two, two_read = alternate(
            lambda: [gemv4(*matrix, x) for matrix in matrices],
            lambda: [weight @ vector for weight in weights],
            lambda: [torch._weight_int4pack_mm_for_cpu(half, one, n // groups, parameters) for one in peers],
            lambda: source.sum(),
            lambda: [gemv4(*matrices[0], x) for _ in range(copies)],
            twice(lambda part: [gemv4(*matrix, x) for matrix in matrices[part]]),
            twice(lambda part: source[part].sum()),
            rounds=15,
        )
    read, two_read = min(read, ceilings["read"] * source.nbytes), min(two_read, ceilings["read"] * source.nbytes)
    report(
        f"int4 gemv {n} x {n}",
        ms=fast / copies * 1e3,
        read_GBs=1e-9 * source.nbytes / read,
        of_read=read / fast,
        of_read_codes_alone=read / source.nbytes * packed.nbytes * copies / fast,
        x_float32=plain * copies / len(weights) / fast,
        of_torch_int4pack=peer / fast,
        codes_in_cache_ms=again / copies * 1e3,
        two_threads_ms=two / copies * 1e3,
        two_threads_read_GBs=1e-9 * source.nbytes / two_read,
        two_threads_of_read=two_read / two,
    )
    assert read / fast > 0.8  # varies between processes, with where pages lie: .71 to .86 in eight runs
    assert plain * copies / len(weights) / fast > 3
    assert peer / fast > 0.9


@pytest.mark.parametrize("m", [4, 16, 64])
def test_int4_product_with_several_vectors_beats_float32_and_int4pack(m: int):
    n, groups = 4096, 32
    packed, scale, zero, theirs, parameters = int4(n, groups)
    x = np.random.default_rng(1).normal(size=(m, n)).astype(np.float32)
    weight, inputs = torch.randn(n, n), torch.from_numpy(x)
    half, half_weight = inputs.bfloat16(), weight.bfloat16()
    fast, plain, peer, rounded = alternate(
        lambda: gemv4(packed, scale, zero, x),
        lambda: inputs @ weight.T,
        lambda: torch._weight_int4pack_mm_for_cpu(half, theirs, n // groups, parameters),
        lambda: half @ half_weight.T,
        rounds=3,
    )
    report(
        f"int4 product, {m} vectors",
        ms=fast * 1e3,
        GFs=2 * m * n * n / fast / 1e9,
        x_float32=plain / fast,
        of_torch_int4pack=peer / fast,
        of_bfloat16=rounded / fast,
    )
    assert plain / fast > 1.3
    assert peer / fast > 0.9
    assert m > 16 or rounded / fast > 0.9


def test_dequantizing_approaches_one_write(ceilings: dict[str, float]):
    """Uniform and NF4 codes to float32, and 256 points of the plane, against torch's own indexing."""
    n, groups = 4096, 32
    packed, scale, zero, _, _ = int4(n, groups)
    levels, out = np.sort(np.random.default_rng(1).normal(size=16)).astype(np.float32), np.empty((n, n), dtype=np.float32)
    codes = np.random.default_rng(0).integers(0, 256, n * n // 2).astype(np.uint8)
    points = gaussian_grid(2, 256)
    wide, table = torch.from_numpy(codes.astype(np.int64)), torch.from_numpy(points.copy())
    affine, nonuniform, plane, peer, write = alternate(
        lambda: dequantize4(packed, scale, zero, out=out),
        lambda: dequantize4(packed, scale, np.zeros_like(zero), levels, out),
        lambda: lookup(codes, points),
        lambda: table[wide],
        lambda: out.fill(0),
        rounds=5,
    )
    report(
        "dequantize 4096 x 4096",
        uniform_G_per_s=n * n / affine / 1e9,
        table_G_per_s=n * n / nonuniform / 1e9,
        plane_G_per_s=n * n / plane / 1e9,
        uniform_of_write=write / affine,
        plane_x_torch_index=peer / plane,
    )
    assert peer / plane > 2
    assert in_products(n * n, affine, ceilings) < 100 / 2  # 2 G weights/s


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_scale_search_beats_eighty_passes_of_torch(exponent: float):
    rows, top = torch.randn(4096, 128), 15
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    scale = (high - low) * torch.from_numpy(SHRINKS).float() / top
    zero = torch.round(-low * torch.from_numpy(SHRINKS).float() / scale)
    data = rows.numpy(), scale.numpy(), zero.numpy()

    def passes() -> torch.Tensor:
        errors = []
        for k in range(scale.shape[1]):
            s, z = scale[:, k : k + 1], zero[:, k : k + 1]
            difference = s * ((rows / s).round_().add_(z).clamp_(0, top) - z) - rows
            errors.append((difference.square() if exponent == 2 else difference.abs().pow(exponent)).sum(1))
        return torch.stack(errors, 1).argmin(1)

    fast, plain = alternate(lambda: best_grid(*data, top, exponent), passes, rounds=5)
    report(f"scale search, exponent {exponent}", M_weights_per_s=rows.numel() / fast / 1e6, x_torch_passes=plain / fast)
    assert plain / fast > 10


def test_rans_codes_symbols_faster_than_zlib(ceilings: dict[str, float]):
    """Floor: per symbol ten operations, one table entry loaded and a state written back, each way waiting for its last symbol; less than a
    byte of output. zlib is a peer for encoding only: it copies repeats when it decodes."""
    symbols = np.minimum(np.random.default_rng(0).geometric(0.4, 1 << 22) - 1, 15).astype(np.uint8)
    table = entropy.frequencies(np.bincount(symbols, minlength=16))
    data, squeezed = entropy.encode(symbols, table), zlib.compress(symbols.tobytes(), 6)
    encode, decode, deflate, inflate = alternate(
        lambda: entropy.encode(symbols, table),
        lambda: entropy.decode(data, table, len(symbols)),
        lambda: zlib.compress(symbols.tobytes(), 1),
        lambda: zlib.decompress(squeezed),
        rounds=3,
    )
    n = len(symbols) / 1e6
    report(
        "rANS, 16 symbols",
        bits_per_symbol=8 * len(data) / len(symbols),
        encode_M_per_s=n / encode,
        decode_M_per_s=n / decode,
        encode_x_zlib_1=deflate / encode,
        decode_x_zlib=inflate / decode,
    )
    assert len(data) < len(squeezed)
    assert deflate / encode > 1
    assert in_products(len(symbols), max(encode, decode), ceilings) < 100 / 0.05  # 50 M symbols/s


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


def test_gptq_sweep_runs_at_the_speed_of_matrix_products(ceilings: dict[str, float], monkeypatch: pytest.MonkeyPatch):
    """A whole quantisation of 4096 x 4096 but for the inverse factor: out in^2 flops, of which one in 32 lies inside the blocks."""
    n = 4096
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(n, n, generator=generator).mul_(0.01).triu_(1) + torch.eye(n)
    weight, inputs = torch.randn(n, n, generator=generator), SimpleNamespace(gram=torch.eye(n, dtype=torch.float64))
    monkeypatch.setattr(gptq, "inverse_factor", lambda gram, damping: factor)
    work, errors = weight.clone(), torch.randn(n, 128)

    def lazy() -> None:
        for end in range(128, n, 128):
            work[:, end:].addmm_(errors, factor[end - 128 : end, end:], alpha=-1)

    whole, updates = alternate(lambda: gptq.Gptq().quantize(weight, inputs, generator), lazy, rounds=2)
    flops = n * n * (n - 128)
    report(
        "GPTQ 4096 x 4096",
        s=whole,
        lazy_updates_GFs=flops / updates / 1e9,
        lazy_updates_of_product=flops * ceilings["product"] / updates,
        whole_of_product=n**3 * ceilings["product"] / whole,
    )
    assert flops * ceilings["product"] / updates > 0.6
    assert n**3 * ceilings["product"] / whole > 0.3
