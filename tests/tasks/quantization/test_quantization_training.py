"""Quantization-aware training: gradients by hand, and what training buys."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.errors import InvalidResult
from tasks.quantization import affine
from tasks.quantization.corpus import standard_library
from tasks.quantization.evaluate import quantise_model
from tasks.quantization.gpt import Gpt, initialise, loss_of
from tasks.quantization.lm_weights import LmWeights
from tasks.quantization.methods.qat_lsq import LearnedStep
from tasks.quantization.methods.qat_ste import StraightThrough
from tasks.quantization.methods.requant import ReQuant
from tasks.quantization.methods.rtn import Rtn
from tasks.quantization.qat import round_through, train_quantised
from tasks.quantization.storage import store
from tasks.testing import LocalContext


def test_straight_through_rounds_forward_and_is_the_identity_backward():
    x = torch.tensor([-1.5, -0.2, 0.5, 2.7], requires_grad=True)
    y = round_through(x)
    assert y.tolist() == [-2.0, 0.0, 0.0, 3.0]
    (y * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_gradient_of_a_learned_step_equals_the_formula_of_lsq():
    """Esser et al., equation 3: round(v / s) - v / s inside the range, the end of the range outside."""
    v = torch.tensor([0.31, -0.44, 5.0, -9.0])
    s = torch.tensor(0.25, requires_grad=True)
    (round_through((v / s).clamp(-8, 7)) * s).sum().backward()
    expected = (round(0.31 / 0.25) - 0.31 / 0.25) + (round(-0.44 / 0.25) + 0.44 / 0.25) + 7 - 8
    assert s.grad is not None
    assert float(s.grad) == pytest.approx(expected, rel=1e-5)


def test_training_lowers_the_loss_of_the_quantised_model_only_through_its_parameters():
    torch.set_num_threads(1)
    model = Gpt(16, 1, 2, 16)
    initialise(model, torch.Generator().manual_seed(0))
    model.requires_grad_(False)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    weights = {name: layer.weight.detach().clone().requires_grad_(True) for name, layer in model.matrices().items()}
    text = standard_library().train
    train_quantised(model, text, lambda name: weights[name], {0.01: list(weights.values())}, 150, 0)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    batch = torch.from_numpy(text[: 17 * 64].astype(np.int64)).view(64, 17)
    start = float(loss_of(model, batch))
    for name, layer in model.matrices().items():
        layer.weight.copy_(weights[name].detach())
    assert float(loss_of(model, batch)) < start - 0.05


@pytest.mark.parametrize("method", [StraightThrough(bits=2, steps=40), LearnedStep(bits=2, steps=40)], ids=lambda each: each.name)
def test_training_beats_rounding_at_two_bits_and_pays_the_same_bits(method, tmp_path: Path):
    task = LmWeights(preset="smoke", models=1, calibration=8, windows=32)
    context = LocalContext(tmp_path)
    rounded, trained = task.run(Rtn(bits=2), 0, context).metrics, task.run(method, 0, context).metrics
    assert trained["bits_per_byte"] < rounded["bits_per_byte"]
    assert trained["bits_per_weight"] <= rounded["bits_per_weight"]


def test_requant_restores_weights_exactly_and_counts_them(tmp_path: Path):
    model = LocalContext(tmp_path).fixture(LmWeights(preset="smoke", models=1).base(0))
    method = ReQuant(bits=3, outliers=0.01, restored=0.02, intervals=2, windows=8)
    quantised = quantise_model(method, model, standard_library().train, torch.Generator().manual_seed(0))
    total, exact = 0, 0
    for name, layer in model.matrices().items():
        weight, rebuilt = layer.weight, quantised.layers[name].weight
        restored = rebuilt == weight.half().float()
        total, exact = total + weight.numel(), exact + int(restored.sum())
        largest = weight.abs().flatten().topk(round(0.01 * weight.numel())).indices
        assert bool(restored.flatten()[largest].all())
        # The dense rest lies on round-to-nearest's grid of what is left when the largest are gone.
        hole = weight.clone()
        hole.view(-1)[largest] = 0
        rows = affine.split(hole, "group", 128)
        nearest = affine.join(affine.fit(rows, 3, False).nearest(rows), (weight.shape[0], weight.shape[1]))
        assert torch.equal(rebuilt[~restored], nearest[~restored])
    assert 0.03 <= exact / total < 0.035  # 3 % kept, and the few that the grid hits by chance
    plain = Rtn(bits=3)
    sparse = quantised.bits() - sum(store(plain.quantize(layer.weight, None, None), name).bits for name, layer in model.matrices().items())
    kept = round(0.03 * total)
    assert 16 * kept + 6 * kept <= sparse <= (16 + 8) * kept + 10 * sum(layer.out_features for layer in model.matrices().values()) + 3000


def test_restoring_by_the_integral_beats_restoring_by_size_at_equal_bits(tmp_path: Path):
    task = LmWeights(preset="smoke", models=1, calibration=8, windows=64)
    context = LocalContext(tmp_path)
    found = {
        select: task.run(ReQuant(bits=2, outliers=0.0, restored=0.03, select=select, rounds=1, windows=32), 0, context).metrics
        for select in ("pqi", "magnitude")
    }
    assert found["pqi"]["bits_per_weight"] == pytest.approx(found["magnitude"]["bits_per_weight"], rel=0.01)
    assert found["pqi"]["bits_per_byte_increase"] < 0.6 * found["magnitude"]["bits_per_byte_increase"]  # seen: .35


def test_a_model_quantizer_must_return_every_matrix():
    class Half(StraightThrough):
        def quantize_model(self, model, text, generator):
            return dict(list(super().quantize_model(model, text, generator).items())[:2])

    model = Gpt(16, 1, 2, 16)
    initialise(model, torch.Generator().manual_seed(0))
    with pytest.raises(InvalidResult, match="exactly the model's matrices"):
        quantise_model(Half(steps=1), model.requires_grad_(False), standard_library().train, torch.Generator().manual_seed(0))


def test_relative_increase_and_size_reduction_by_hand(tmp_path: Path):
    task = LmWeights(preset="smoke", models=1, calibration=8, windows=16)
    measured = task.run(Rtn(bits=4), 0, LocalContext(tmp_path))
    metrics, base = measured.metrics, measured.info["float32_bits_per_byte"]
    assert metrics["relative_increase"] == pytest.approx(metrics["bits_per_byte_increase"] / base, rel=1e-4)
    model = Gpt(64, 2, 4, 128)
    total, inside = (
        sum(p.numel() for p in parameters) for parameters in (model.parameters(), [m.weight for m in model.matrices().values()])
    )
    expected = 1 - (metrics["bits_per_weight"] * inside + 16 * (total - inside)) / (16 * total)
    assert metrics["size_reduction"] == pytest.approx(expected, rel=1e-9)
    assert math.isfinite(metrics["kl"])
