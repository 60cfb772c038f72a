"""Half precision and sketched gradients: torch's half arithmetic and gradient scaler, closed-form variances, analytic bytes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tasks.errors import InvalidResult
from tasks.quantization.methods.train_float import SinglePrecision
from tasks.quantization.methods.train_half import HalfArithmetic, HalfLinear, HalfPrecision
from tasks.quantization.methods.train_sketch import RandomisedBackward, Sketch, SketchedLinear, sketch
from tasks.quantization.training import Arithmetic, PackedRelu, TrainingTask, saved_bytes
from tasks.testing import LocalContext

KINDS: tuple[Sketch, ...] = ("gaussian", "rademacher", "rows", "hadamard")
TASK = TrainingTask(hidden=32, train_epochs=2)


def small(seed: int, *shape: int) -> torch.Tensor:
    """Multiples of 1/8 up to 4: their products sum exactly in float32 in any order."""
    return torch.randint(-32, 33, shape, generator=torch.Generator().manual_seed(seed)) / 8


def clockless(metrics) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "train_seconds"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_emulated_half_linear_equals_torch_half_arithmetic_forward_and_backward(dtype: torch.dtype):
    tensors = [small(seed, *shape).to(dtype) for seed, shape in enumerate([(12, 20), (7, 20), (7,)])]
    upstream = small(9, 12, 7).to(dtype)
    ours, theirs = ([tensor.clone().requires_grad_(True) for tensor in tensors] for _ in range(2))
    y, expected = HalfLinear.apply(*ours), F.linear(*theirs)
    assert torch.equal(y, expected)
    for one, other in zip(torch.autograd.grad(y, ours, upstream), torch.autograd.grad(expected, theirs, upstream), strict=True):
        assert one.dtype == dtype
        assert torch.equal(one, other)


def test_float16_loses_small_updates_and_small_gradients_where_its_format_says():
    """Normal down to 2^-14, subnormal down to 2^-24; 1 + 2^-11 rounds to 1."""
    step = HalfArithmetic([torch.ones(1)], HalfPrecision(master=False))
    kept = HalfArithmetic([torch.ones(1)], HalfPrecision(master=True))
    for arithmetic in (step, kept):
        for _ in range(3):
            arithmetic.velocities[0].zero_()
            arithmetic.update([torch.full((1,), -(2.0**-11))], 1.0)
    assert step.result()[0].item() == 1.0
    assert kept.result()[0].item() == 1 + 3 * 2.0**-11
    x = torch.ones(1, 1, requires_grad=True)

    def gradient(size: float, scale: float) -> float:
        arithmetic = HalfArithmetic([torch.ones(1, 1), torch.zeros(1)], HalfPrecision(loss_scale="static", scale=scale))
        weights = arithmetic.weights()
        out = arithmetic.linear(arithmetic.inputs(x.detach()), weights[0], weights[1])
        return float(arithmetic.gradients(out.float().sum() * size, weights)[0])

    assert gradient(2.0**-26, 1.0) == 0
    assert gradient(2.0**-24, 1.0) == 2.0**-24
    assert gradient(2.0**-26, 2.0**10) == 2.0**-26


def test_dynamic_loss_scale_follows_torch_grad_scaler():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], 1.0)
    ours = HalfArithmetic([torch.ones(1, 1), torch.zeros(1)], HalfPrecision(scale=2.0**10, interval=3))
    for overflow in [False, False, True, False, False, False, False, True, True, False, False, False]:
        parameter.grad = torch.tensor([math.inf if overflow else 1.0])
        scaler.scale(parameter.sum())
        scaler.step(optimizer)
        scaler.update()
        weights = ours.weights()
        out = ours.linear(torch.full((1, 1), 60000.0).half(), weights[0], weights[1]).float().sum()
        found = ours.gradients(out * (1e6 if overflow else 1e-6), weights)
        assert all(bool(torch.isfinite(part).all()) for part in found) != overflow
        assert ours.scale == scaler.get_scale()


def test_float32_training_is_invariant_to_the_losss_scale_bit_for_bit(tmp_path: Path):
    plain, scaled = (
        TrainingTask(hidden=32, train_epochs=2, exponent=exponent).run(SinglePrecision(), 0, LocalContext(tmp_path)).metrics
        for exponent in (0, 12)
    )
    assert clockless(plain) == clockless(scaled)


def test_loss_scaling_by_a_power_of_two_changes_nothing_while_nothing_is_flushed(tmp_path: Path):
    one, other = (
        TASK.run(HalfPrecision(dtype="bfloat16", loss_scale="static", scale=scale), 0, LocalContext(tmp_path)).metrics
        for scale in (1.0, 2.0**12)
    )
    assert clockless(one) == clockless(other)


def test_small_gradients_are_flushed_without_loss_scaling_and_kept_with_it(tmp_path: Path):
    tiny = TrainingTask(hidden=32, train_epochs=3, exponent=20)
    without, scaled, exact = (
        tiny.run(method, 0, LocalContext(tmp_path)).metrics
        for method in (HalfPrecision(loss_scale="none"), HalfPrecision(), SinglePrecision())
    )
    assert without["flushed_share"] > 0.5 > 0.2 > scaled["flushed_share"]
    assert exact["flushed_share"] == exact["gradient_error"] == 0
    assert scaled["accuracy"] > without["accuracy"] + 0.1
    assert abs(scaled["accuracy"] - exact["accuracy"]) < 0.03


def test_an_overflowing_scale_skips_steps(tmp_path: Path):
    metrics = TASK.run(HalfPrecision(loss_scale="static", scale=2.0**40), 0, LocalContext(tmp_path)).metrics
    assert metrics["skipped_share"] == 1
    dynamic = TASK.run(HalfPrecision(scale=2.0**24), 0, LocalContext(tmp_path)).metrics
    assert 0 < dynamic["skipped_share"] < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_sketched_gradient_is_unbiased_within_monte_carlo_error(kind: Sketch):
    batch, size, draws = 24, 6, 4000
    x, y = small(1, batch, 5), small(2, batch, 3)
    exact = y.T @ x
    samples = torch.stack([sketch(y, size, kind, seed).T @ sketch(x, size, kind, seed) for seed in range(draws)]).double()
    error = (samples.mean(0) - exact) / (samples.std(0) / math.sqrt(draws))
    assert float(error.abs().max()) < 4.5
    assert float(error.square().mean()) < 2.0


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "rows"])
def test_variance_of_the_sketched_gradient_equals_its_closed_form(kind: Sketch):
    batch, size, draws = 24, 6, 6000
    x, y = small(3, batch, 5), small(4, batch, 3)
    exact = y.T @ x
    x2, y2, c = float(x.square().sum()), float(y.square().sum()), float(exact.square().sum())
    d = float((x.square().sum(1) * y.square().sum(1)).sum())
    closed = {
        "gaussian": (x2 * y2 + c) / size,
        "rademacher": (x2 * y2 + c - 2 * d) / size,
        "rows": (batch * d - c) / size * (batch - size) / (batch - 1),
    }
    total = sum(float((sketch(y, size, kind, seed).T @ sketch(x, size, kind, seed) - exact).square().sum()) for seed in range(draws))
    assert total / draws == pytest.approx(closed[kind], rel=0.06)


@pytest.mark.parametrize("kind", ["rows", "hadamard"])
def test_a_sketch_as_large_as_the_batch_gives_the_exact_gradient(kind: Sketch):
    x, y = torch.randn(32, 5), torch.randn(32, 3)
    assert torch.allclose(sketch(y, 32, kind, 1).T @ sketch(x, 32, kind, 1), y.T @ x, atol=1e-4)


def test_only_the_weights_gradient_is_sketched():
    x, weight, bias = (small(seed, *shape).requires_grad_(True) for seed, shape in enumerate([(16, 5), (3, 5), (3,)]))
    upstream = small(7, 16, 3)
    ours = torch.autograd.grad(SketchedLinear.apply(x, weight, bias, 4, "gaussian", 11), (x, weight, bias), upstream)
    exact = torch.autograd.grad(F.linear(x, weight, bias), (x, weight, bias), upstream)
    assert torch.equal(ours[0], exact[0])
    assert torch.equal(ours[2], exact[2])
    expected = sketch(upstream, 4, "gaussian", 11).T @ sketch(x.detach(), 4, "gaussian", 11)
    assert torch.equal(ours[1], expected)
    assert not torch.allclose(ours[1], exact[1], atol=0.1)


@pytest.mark.parametrize("shape", [(3, 5), (4, 8), (1, 1)])
def test_one_bit_relu_equals_torch_relu_and_keeps_one_bit_per_value(shape: tuple[int, int]):
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(shape)
    sizes: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = PackedRelu.apply(x)
    assert torch.equal(y, F.relu(x))
    assert torch.equal(torch.autograd.grad(y, x, upstream)[0], torch.autograd.grad(F.relu(x), x, upstream)[0])
    assert sizes == [math.ceil(x.numel() / 8)]


def test_counted_bytes_equal_the_analytic_bytes():
    """Layers keep their inputs, ReLUs a bit per value, the loss its log-probabilities, its labels and (torch) one number."""
    batch, hidden = 128, 32
    task = TrainingTask(hidden=hidden)
    parameters = task.initial(torch.Generator().manual_seed(0))
    x, y = torch.rand(batch, 64), torch.randint(10, (batch,))
    masks, loss = 2 * batch * hidden // 8, 4 * batch * 10 + 8 * batch + 4
    inputs = batch * (64 + 2 * hidden)
    assert saved_bytes(Arithmetic(parameters), x, y) == 4 * inputs + masks + loss
    assert saved_bytes(HalfPrecision().start(parameters, torch.Generator()), x, y) == 2 * inputs + masks + loss
    for share in (0.5, 0.25):
        arithmetic = RandomisedBackward(share=share).start(parameters, torch.Generator())
        assert saved_bytes(arithmetic, x, y) == 4 * inputs * share + masks + loss


def test_a_method_that_returns_another_network_is_caught(tmp_path: Path):
    class Short(SinglePrecision):
        def start(self, parameters, generator):
            arithmetic = super().start(parameters, generator)
            result = arithmetic.result
            arithmetic.result = lambda: [part[:1] for part in result()]
            return arithmetic

    with pytest.raises((InvalidResult, RuntimeError)):
        TASK.run(Short(), 0, LocalContext(tmp_path))
