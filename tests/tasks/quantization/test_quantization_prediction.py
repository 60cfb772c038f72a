"""Predictions of the loss increase against closed forms, finite differences and each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.quantization.byte_gpt import windows_of
from tasks.quantization.corpus import standard_library
from tasks.quantization.gpt import Gpt, initialise, loss_of, train
from tasks.quantization.loss_prediction import LossPrediction
from tasks.quantization.methods.predict_first_order import FirstOrder
from tasks.quantization.methods.predict_fisher import Fisher
from tasks.quantization.methods.predict_pqi import PostQuantizationIntegral
from tasks.quantization.methods.predict_second_order import SecondOrder
from tasks.testing import LocalContext


@pytest.fixture(scope="module")
def model() -> Gpt:
    torch.set_num_threads(1)
    built = Gpt(32, 1, 2, 32)
    initialise(built, torch.Generator().manual_seed(0))
    train(built, standard_library().train, 60, 8, np.random.default_rng(0))
    built.requires_grad_(False)
    for layer in built.matrices().values():
        layer.weight.requires_grad_(True)
    return built


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    return windows_of(standard_library().train, 32, 12, np.random.default_rng(1))


def changes(model: Gpt, size: float) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        name: size * layer.weight.norm().item() / layer.weight.numel() ** 0.5 * torch.randn(layer.weight.shape, generator=generator)
        for name, layer in model.matrices().items()
    }


def loss_at(model: Gpt, moved: dict[str, torch.Tensor], factor: float, windows: torch.Tensor) -> float:
    with torch.no_grad():
        for name, layer in model.matrices().items():
            layer.weight.add_(factor * moved[name])
        found = float(loss_of(model, windows).double())
        for name, layer in model.matrices().items():
            layer.weight.sub_(factor * moved[name])
    return found


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_first_and_second_order_equal_finite_differences(model: Gpt, windows: torch.Tensor):
    moved = changes(model, 1.0)
    step = 0.05
    up, down, here = (loss_at(model, moved, factor, windows) for factor in (step, -step, 0.0))
    slope, curvature = (up - down) / (2 * step), (up + down - 2 * here) / step**2
    assert FirstOrder().predict(model, moved, windows, generator()) == pytest.approx(slope, rel=0.1, abs=2e-3)
    assert SecondOrder().predict(model, moved, windows, generator()) == pytest.approx(slope + curvature / 2, rel=0.1)


def test_the_integral_equals_the_increase_and_converges_with_the_square_of_the_step(model: Gpt, windows: torch.Tensor):
    """Fundamental theorem of calculus; the midpoint rule's error falls fourfold when intervals double."""
    moved = changes(model, 1.0)
    actual = loss_at(model, moved, 1.0, windows) - loss_at(model, moved, 0.0, windows)

    def error(intervals: int) -> float:
        state = {name: layer.weight.detach().clone() for name, layer in model.matrices().items()}
        found = PostQuantizationIntegral(intervals=intervals).predict(model, moved, windows, generator())
        with torch.no_grad():
            for name, layer in model.matrices().items():
                layer.weight.copy_(state[name])
        return abs(found - actual)

    assert error(32) < 2e-3 * abs(actual)
    assert 2.5 < error(2) / error(4) < 6.5


def test_fisher_per_window_is_smaller_by_about_the_length_of_a_window(model: Gpt, windows: torch.Tensor):
    moved = changes(model, 0.2)
    by_window = Fisher(average="window").predict(model, moved, windows, generator())
    by_position = Fisher(average="position").predict(model, moved, windows, generator())
    assert 32 / 8 < by_position / by_window < 32 * 3


def test_the_task_measures_the_truth_itself(tmp_path: Path):
    measured = (
        LossPrediction(preset="smoke", models=1, windows=4, bits=2).run(PostQuantizationIntegral(), 0, LocalContext(tmp_path)).metrics
    )
    assert measured["relative_error"] < 0.02
    assert measured["predicted_increase"] == pytest.approx(measured["bits_per_byte_increase"], rel=0.02)
    assert measured["shortfall"] == pytest.approx(1 - measured["predicted_share"])
