"""AWQ, SpQR, AdaRound, OBQ, QuIP, k-means and stochastic rounding against references, exhaustive search and invariants."""

from __future__ import annotations

import itertools

import pytest
import torch
from quantization_problems import generator, output_error, problem, weight_error

from tasks.quantization import affine
from tasks.quantization.methods.adaround import AdaRound
from tasks.quantization.methods.awq import Awq
from tasks.quantization.methods.gptq import Gptq
from tasks.quantization.methods.kmeans import Kmeans
from tasks.quantization.methods.obq import Obq
from tasks.quantization.methods.quip import Quip, rotate, unrotate
from tasks.quantization.methods.rtn import Rtn
from tasks.quantization.methods.spqr import Spqr, leave_one_out_gain
from tasks.quantization.methods.stochastic import Stochastic
from tasks.quantization.protocol import Inputs, Packed
from tasks.quantization.storage import store


def through(method, weight: torch.Tensor, x: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, Packed, int]:
    packed = method.quantize(weight, Inputs(x), generator(seed))
    stored = store(packed, "test")
    return type(method).dequantize(stored.read(), tuple(weight.shape)), packed, stored.bits


#: relative squared output error of mit-han-lab/llm-awq's (d6e797a) search (one linear layer as its own block) on `problem()`
AWQ = {
    (4, 128, False): 0.0088627,
    (3, 128, False): 0.0422921,
    (4, 64, True): 0.0066206,
    (3, 64, True): 0.0280937,
    (3, 128, True): 0.0318738,
}


@pytest.mark.parametrize(("bits", "group", "clip"), AWQ)
def test_awq_agrees_with_the_reference_implementation_on_a_fixed_problem(bits: int, group: int, clip: bool):
    weight, x = problem()
    rebuilt, _, size = through(Awq(bits=bits, group=group, clip=clip), weight, x)
    # The reference clips by 512 of the 1024 samples, we by all; scales are float16 here.
    assert output_error(weight, rebuilt, x) == pytest.approx(AWQ[bits, group, clip], rel=0.03)
    assert size == weight.numel() * bits + (16 + bits) * weight.numel() // group + 16 * weight.shape[1]


#: output error and outlier share of Vahe1994/SpQR's engine (543d10e) on `problem()`: act_order, damping 1, 3-bit statistics in groups of 16
SPQR = {
    (3, 16, 0.2): (0.0094324, 0.01733),
    (3, 16, 1e9): (0.0130878, 0.0),
    (4, 16, 0.2): (0.0031098, 0.00006),
    (2, 16, 0.2): (0.0214035, 0.10901),
    (3, 16, 0.05): (0.0051673, 0.09552),
    (3, 32, 0.2): (0.0121845, 0.01886),
}


@pytest.mark.parametrize(("bits", "group", "threshold"), SPQR)
def test_spqr_agrees_with_the_reference_implementation_on_a_fixed_problem(bits: int, group: int, threshold: float):
    weight, x = problem()
    rebuilt, packed, size = through(Spqr(bits=bits, group=group, threshold=threshold), weight, x)
    error, share = SPQR[bits, group, threshold]
    assert output_error(weight, rebuilt, x) == pytest.approx(error, rel=0.03)
    outliers = len(packed["outliers"])
    assert outliers / weight.numel() == pytest.approx(share, rel=0.1, abs=2e-4)
    n, statistics = weight.numel(), weight.numel() // group
    expected = n * bits + 2 * (3 * statistics + 2 * 16 * statistics // 16) + 256 * 8 + outliers * (16 + 8) + 64 * 9
    assert expected <= size <= expected + 8 * len(packed.parts)


def test_leave_one_out_gain_equals_explicit_refits():
    columns = torch.randn(5, 6, generator=generator())
    pivots = torch.rand(6, generator=generator(1)) + 0.5

    def error(row: torch.Tensor, units: torch.Tensor) -> float:
        scale = (row.max() - row.min()) / 7
        zero = -row.min() / scale
        return float((((row / scale + zero).round().clamp(0, 7) - zero).mul(scale).sub(row) / units).square().sum())

    gains = leave_one_out_gain(columns, pivots, 7)
    for i, j in itertools.product(range(5), range(6)):
        rest = [k for k in range(6) if k != j]
        assert float(gains[i, j]) == pytest.approx(error(columns[i], pivots) - error(columns[i, rest], pivots[rest]), abs=1e-5)


def exhaustive(weight: torch.Tensor, grid: affine.Grid, gram: torch.Tensor) -> float:
    """Least tr(D G D^T) over rounding each of the few weights of one row up or down."""
    choices = torch.tensor(list(itertools.product((0.0, 1.0), repeat=weight.shape[1])))
    codes = (torch.floor(weight / grid.scale) + choices + grid.zero).clamp(0, (1 << grid.bits) - 1)
    difference = (grid.decode(codes) - weight).double()
    return float(((difference @ gram) * difference).sum(1).min())


def objective(weight: torch.Tensor, rebuilt: torch.Tensor, gram: torch.Tensor) -> float:
    difference = (rebuilt - weight).double()
    return float(((difference @ gram) * difference).sum())


def test_adaround_lies_between_the_exhaustive_optimum_and_nearest_rounding():
    """Ten weights, 2^10 roundings: how much of the way from nearest to the optimum is won, over five rows."""
    weight, x = problem(5, 10, 200)
    gram = Inputs(x).gram
    gaps = []
    for row in weight.split(1):
        grid = affine.fit(affine.split(row, "group", 16), 3, False)
        rebuilt, packed, _ = through(AdaRound(bits=3, group=16, iterations=1500), row, x)
        nearest, optimum = objective(row, grid.nearest(row), gram), exhaustive(row, grid, gram)
        learned = objective(row, rebuilt, gram)
        assert optimum * (1 - 1e-5) <= learned <= nearest * (1 + 1e-5)
        assert torch.equal(packed["scales"].float(), grid.scale)
        gaps.append((learned - optimum) / (nearest - optimum))
    assert sum(gaps) / len(gaps) < 0.65


def test_adaround_only_rounds_up_or_down():
    weight, x = problem(16, 64, 256)
    rebuilt, packed, _ = through(AdaRound(bits=3, group=64, iterations=500), weight, x)
    step = packed["scales"].float()
    inside = (packed["codes"] > 0) & (packed["codes"] < 7)
    assert float(((rebuilt - weight).abs() / step)[inside].max()) <= 1 + 1e-4
    assert output_error(weight, rebuilt, x) < 0.75 * output_error(weight, through(Rtn(bits=3, group=64), weight, x)[0], x)


@pytest.mark.parametrize("bits", [2, 3])
def test_obq_repairs_errors_of_rounding(bits: int):
    weight, x = problem(16, 32, 256)
    nearest = output_error(weight, through(Rtn(bits=bits, group=32), weight, x)[0], x)
    assert output_error(weight, through(Obq(bits=bits, group=32), weight, x)[0], x) < 0.8 * nearest


def test_obq_equals_a_plain_loop_with_exact_submatrix_inverses():
    """One output, six inputs: every step solves the least-squares problem of the open weights anew."""
    weight, x = problem(1, 6, 100)
    gram = Inputs(x).gram.clone()
    gram += 0.01 * gram.diagonal().mean() * torch.eye(6, dtype=torch.float64)
    grid = affine.fit(affine.split(weight, "group", 8), 3, False)
    work, open_ = weight[0].double().clone(), list(range(6))
    while open_:
        rebuilt = grid.nearest(work[None].float())[0].double()
        inverse = torch.linalg.inv(gram[open_][:, open_])
        cost = (work[open_] - rebuilt[open_]).square() / inverse.diagonal()
        far = (work[open_] - rebuilt[open_]).abs() > float(grid.scale) / 2 * 1.001
        cost = torch.where(far, -(work[open_] - rebuilt[open_]).abs() / float(grid.scale), cost)
        place = int(cost.argmin())
        chosen = open_[place]
        work[open_] -= (work[chosen] - rebuilt[chosen]) / inverse[place, place] * inverse[:, place]
        work[chosen] = rebuilt[chosen]
        open_.remove(chosen)
    rebuilt, _, _ = through(Obq(bits=3, group=8), weight, x)
    assert torch.allclose(rebuilt[0].double(), work, atol=1e-5)


def test_quip_rotations_are_orthogonal_and_inverted():
    x = torch.randn(7, 96, generator=generator())
    seed = torch.tensor(5)
    assert torch.allclose(rotate(x, seed).norm(dim=1), x.norm(dim=1), rtol=1e-5)
    assert torch.allclose(unrotate(rotate(x, seed), seed), x, atol=1e-5)


def test_quip_beats_gptq_at_two_bits_per_channel_where_weights_have_outliers():
    weight, x = problem()
    weight[:, ::37] *= 8
    quip = output_error(weight, through(Quip(bits=2), weight, x)[0], x)
    gptq = output_error(weight, through(Gptq(bits=2, group=256), weight, x)[0], x)
    assert quip < 0.7 * gptq


def test_kmeans_equals_scikit_learn_from_the_same_start():
    from sklearn.cluster import KMeans

    from kernels.quantization.grids import lloyd_max

    weight, x = problem(4, 256)
    rebuilt, _, bits = through(Kmeans(bits=3, iterations=300), weight, x)
    energy = Inputs(x).gram.diagonal().numpy()
    assert bits == weight.numel() * 3 + 4 * 8 * 16
    for i, row in enumerate(weight.numpy()):
        start = (row.mean() + row.std(ddof=1) * lloyd_max(8))[:, None]
        fitted = KMeans(8, init=start, n_init=1, max_iter=300, tol=0).fit(row[:, None], sample_weight=energy)
        ours = float((energy * (rebuilt[i].numpy() - row) ** 2).sum())
        assert ours == pytest.approx(fitted.inertia_, rel=0.02)


def test_stochastic_rounding_is_unbiased_and_noisier_than_nearest():
    weight, x = problem(8, 128)
    draws = torch.stack([through(Stochastic(bits=4), weight, x, seed)[0] for seed in range(200)])
    step = float(affine.fit(affine.split(weight, "group", 128), 4, False).scale.max())
    assert float((draws.mean(0) - weight).abs().mean()) < 0.05 * step
    nearest = weight_error(weight, through(Rtn(bits=4), weight, x)[0])
    assert weight_error(weight, draws[0]) == pytest.approx(2 * nearest, rel=0.15)  # variance s^2/6 against s^2/12
