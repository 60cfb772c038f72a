"""Size of a whole model: every byte is counted, what is counted is all that reaches the model, targets are met."""

from __future__ import annotations

import lzma
import zlib

import numpy as np
import pytest
import torch

from kernels.quantization.entropy import cost, frequencies
from tasks.errors import InvalidResult
from tasks.quantization.methods.size_floats import CodedFloats
from tasks.quantization.methods.size_l2 import JointSize, counted_bits
from tasks.quantization.methods.size_uniform import UniformCoded
from tasks.quantization.model_codec import CODERS, Scale, fit_to, from_codes, read, to_codes, write
from tasks.quantization.size import Compressible, LanguageModelSize, Size
from tasks.quantization.size_model import convolutional
from tasks.testing import LocalContext

TASK = Size(epochs=2)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> LocalContext:
    return LocalContext(tmp_path_factory.mktemp("size"))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def model_tensors() -> dict[str, torch.Tensor]:
    return {"a": normal(40, 50), "b": normal(50, seed=1), "c": 3 * normal(7, 5, 3, 3, seed=2)}


def shapes_of(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("step", [0.003, 0.1, 2.0])
def test_a_model_comes_back_rounded_to_its_grid(coder, step: float):
    tensors = model_tensors()
    scales = {"a": Scale(step / 2, step), "c": Scale(step, 2 * step)}
    back = read(write(tensors, scales, coder), shapes_of(tensors))
    assert list(back) == list(tensors)
    assert torch.equal(back["b"], tensors["b"].half().float())
    assert float((back["a"] - tensors["a"]).abs().max()) <= step / 2 * 1.001
    assert float((back["c"] - tensors["c"]).abs().max()) <= step * 1.001
    assert torch.equal(back["a"], from_codes(to_codes(tensors["a"], scales["a"].stored()), scales["a"].stored()))


def test_codes_of_half_an_edge_are_plain_rounding_as_in_torch():
    w = normal(10_000)
    torch.testing.assert_close(from_codes(to_codes(w, Scale(0.05, 0.1)), Scale(0.05, 0.1)), (w / 0.1).round() * 0.1, atol=2e-6, rtol=0)


def test_weights_inside_the_dead_zone_are_pruned():
    w = normal(10_000)
    assert torch.equal(to_codes(w, Scale(0.7, 0.1)) == 0, w.abs() <= 0.7)


def test_a_grid_too_fine_for_the_table_keeps_floats():
    tensors = {"a": normal(30, 30)}
    back = read(write(tensors, {"a": Scale(1e-6, 2e-6)}), shapes_of(tensors))
    assert torch.equal(back["a"], tensors["a"].half().float())


def test_bytes_are_the_entropy_of_the_codes_plus_a_small_header():
    """Shannon's bound computed from the codes' own frequencies."""
    tensors, scale = {"a": normal(300, 400)}, Scale(0.15, 0.3)
    codes = to_codes(tensors["a"], scale.stored()).long().flatten()
    counts = torch.bincount(codes - codes.min()).numpy()
    entropy = -(counts[counts > 0] / 120_000 * np.log2(counts[counts > 0] / 120_000)).sum() * 120_000
    bits = 8 * len(write(tensors, {"a": scale}))
    assert entropy <= bits <= cost(counts, frequencies(counts)) * 1.001 + 8 * (2 + 12 + 2 * len(counts) + 4 + 40)


def test_fit_to_finds_the_smallest_factor_that_fits():
    assert fit_to(1000, lambda factor: int(5000 / factor)) == pytest.approx(5.0, rel=0.01)
    with pytest.raises(ValueError, match="No grid"):
        fit_to(10, lambda factor: 11)


def test_float32_planes_are_lossless_and_counted(context: LocalContext):
    for coder in ("none", "zlib", "lzma", "planes"):
        measured = TASK.run(CodedFloats(coder=coder), 0, context).metrics
        assert measured["accuracy_loss"] == measured["kl"] == 0
        if coder == "none":
            assert measured["bytes"] == 4 * 31_930 + 2
        else:
            assert 1.02 < measured["compression_ratio"] < 1.3


def test_zlib_and_lzma_bytes_are_those_of_the_standard_library():
    model = convolutional().requires_grad_(False)
    problem = Compressible(model, lambda: (torch.zeros(1), torch.zeros(1)), torch.Generator())
    raw = torch.cat([tensor.reshape(-1) for tensor in model.state_dict().values()]).numpy().tobytes()
    assert CodedFloats(coder="zlib").compress(problem)[2:] == zlib.compress(raw, 9)
    assert CodedFloats(coder="lzma").compress(problem)[2:] == lzma.compress(raw)


@pytest.mark.parametrize(
    "method", [UniformCoded(ratio=8.0), UniformCoded(ratio=8.0, coder="zlib"), JointSize(ratio=8.0, grid_steps=3, weight_steps=3)]
)
def test_the_target_is_met_from_above_and_nearly_exactly(method, context: LocalContext):
    measured = TASK.run(method, 1, context).metrics
    assert 8.0 <= measured["compression_ratio"] < 8.1
    assert measured["bytes"] * measured["compression_ratio"] == pytest.approx(4 * 31_930)


def test_coarser_targets_lose_more(context: LocalContext):
    fine, coarse = (TASK.run(UniformCoded(ratio=ratio), 0, context).metrics["kl"] for ratio in (5.0, 25.0))
    assert coarse > 5 * fine


def test_the_counter_is_the_empirical_entropy_when_its_kernel_is_narrow():
    """numpy's entropy of the rounded codes."""
    places = 2.5 * normal(20_000).double().float()
    counts = np.bincount((places.round() + 40).long().numpy())
    share = counts[counts > 0] / len(places)
    exact = float(-(share * np.log2(share)).sum()) * len(places)
    assert float(counted_bits(places, 1e-4)) == pytest.approx(exact, rel=1e-3)
    assert float(counted_bits(places, 0.5)) == pytest.approx(exact, rel=0.05)


def test_the_counters_gradient_agrees_with_finite_differences():
    places = (1.5 * normal(500)).double().requires_grad_(True)
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(counted_bits(places * log_scale.exp()), log_scale)
    step = 1e-3
    with torch.no_grad():
        high, low = (counted_bits(places * float(np.exp(sign * step))) for sign in (1, -1))
    assert float(gradient) == pytest.approx(float((high - low) / (2 * step)), rel=0.05)


def test_learning_the_grid_lowers_the_divergence_at_equal_size(context: LocalContext):
    """Mean over seeds, with a margin: the joint method against the uniform grid that it starts from."""
    task = Size(epochs=20)
    joint, plain = (
        np.mean([task.run(method, seed, context).metrics["kl"] for seed in range(3)])
        for method in (JointSize(ratio=12.0, weight_steps=0), UniformCoded(ratio=12.0, unit="range"))
    )
    assert joint < 0.9 * plain


def test_weights_kept_outside_the_bytes_do_not_reach_the_model(context: LocalContext):
    kept: dict[str, torch.Tensor] = {}

    class Smuggler(CodedFloats):
        def compress(self, problem):
            kept.update(problem.tensors())
            return b"x"

        @staticmethod
        def decompress(data, shapes):
            return kept or {name: torch.zeros(shape) for name, shape in shapes.items()}

    measured = TASK.run(Smuggler(), 0, context).metrics
    assert kept
    assert measured["accuracy"] < 0.2
    assert measured["bytes"] == 1


def test_wrong_results_are_refused(context: LocalContext):
    class NoBytes(CodedFloats):
        def compress(self, problem):
            return problem

    class Short(CodedFloats):
        @staticmethod
        def decompress(data, shapes):
            return {"a": torch.zeros(1)}

    class Garbage(UniformCoded):
        def compress(self, problem):
            return b"\x00\x01"

    class Nan(CodedFloats):
        @staticmethod
        def decompress(data, shapes):
            return {name: torch.full(shape, float("nan")) for name, shape in shapes.items()}

    for method, message in (
        (NoBytes(), "must return bytes"),
        (Short(), "exactly the model's tensors"),
        (Garbage(), "can't read"),
        (Nan(), "NaN"),
    ):
        with pytest.raises(InvalidResult, match=message):
            TASK.run(method, 0, context)


def test_language_model_counts_embedding_positions_and_norms(context: LocalContext):
    task = LanguageModelSize(preset="smoke", models=1, windows=8)
    plain = task.run(CodedFloats(coder="none"), 0, context).metrics
    model = context.fixture(task.base(0))
    assert plain["bytes"] == 4 * sum(parameter.numel() for parameter in model.parameters()) + 2
    assert plain["relative_increase"] == pytest.approx(0, abs=1e-7)
    assert task.run(UniformCoded(ratio=10.0), 0, context).metrics["compression_ratio"] >= 10
