"""Weights and activations of small networks: torch's own operators, hand counts and invariants as oracles."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tasks.errors import InvalidResult
from tasks.quantization import affine
from tasks.quantization.digit_base import DigitsNetwork, accuracy, split
from tasks.quantization.digit_nets import Cnn, DigitNet, Vit, initialised
from tasks.quantization.methods.hqq import HalfQuadratic
from tasks.quantization.methods.rtn import Rtn
from tasks.quantization.methods.smoothquant import SmoothQuant
from tasks.quantization.methods.wa_lsq import NetworkLsq
from tasks.quantization.methods.wa_static import StaticRanges
from tasks.quantization.networks import ActivationGrid, NetworkProblem, activation_grid, deploy, observe
from tasks.quantization.protocol import CALIBRATION, Packed, Part
from tasks.quantization.w_and_a import WeightsAndActivations, layer_inputs
from tasks.testing import LocalContext

TASK = WeightsAndActivations(width=8, base_epochs=3, calibration=64, epochs=2)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> LocalContext:
    return LocalContext(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def cnn(context: LocalContext) -> DigitNet:
    return context.fixture(TASK.base(0))


def problem(network: DigitNet, bits: int = 8) -> NetworkProblem:
    return NetworkProblem(copy.deepcopy(network), split(0).images[:64], bits, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("offset", [0.0, 0.4, 7.0], ids=["signed", "skewed", "positive"])
def test_rounded_activations_equal_torch_fake_quantize_bit_for_bit(bits: int, offset: float):
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(bits)) + offset
    x = x.relu() if offset > 1 else x
    grid = activation_grid(x[:1000], bits)
    ties = (torch.arange(-40.0, 40.0) + 0.5) * grid.scale
    for values in (x, ties):
        expected = torch.fake_quantize_per_tensor_affine(values, grid.scale, grid.zero, 0, (1 << bits) - 1)
        assert torch.equal(grid.quantise(values), expected)


@pytest.mark.parametrize("offset", [0.0, 0.3, 5.0])
def test_minmax_range_equals_torch_minmax_observer(offset: float):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization.observer import MinMaxObserver

        x = torch.randn(5000, generator=torch.Generator().manual_seed(1)) + offset
        observer = MinMaxObserver(dtype=torch.quint8)
        observer(x)
        scale, zero = observer.calculate_qparams()
    grid = activation_grid(x, 8)
    assert grid.scale == pytest.approx(float(scale), rel=1e-6)
    assert grid.zero == int(zero)


def test_squared_error_range_is_the_best_of_eighty_by_brute_force_and_percentile_drops_outliers():
    x = torch.randn(2000, generator=torch.Generator().manual_seed(2))
    x[:1] = 50.0
    best = activation_grid(x, 4, "mse")
    low, high = float(x.min()), float(x.max())

    def error(share: float) -> float:
        scale = share * (high - low) / 15
        zero = round(-share * low / scale)
        return float((((x / scale).round() + zero).clamp(0, 15).sub(zero).mul(scale) - x).double().square().sum())

    errors = [error(1 - step / 100) for step in range(80)]
    assert float((best.quantise(x) - x).double().square().sum()) == pytest.approx(min(errors), rel=1e-3)
    assert activation_grid(x, 4, "percentile").scale < 0.2 * activation_grid(x, 4).scale


@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_per_output_equal_torch_fake_quantize_per_channel(symmetric: bool, cnn: DigitNet):
    rows = cnn.folded().matrices()["first.conv"].weight.detach().flatten(1)
    grid = affine.fit(rows, 4, symmetric)
    expected = torch.fake_quantize_per_channel_affine(rows, grid.scale.flatten(), grid.zero.flatten(), 0, 0, 15)
    assert torch.allclose(grid.nearest(rows), expected, rtol=0, atol=1e-6)


def test_folding_batch_norms_leaves_the_function_unchanged(cnn: DigitNet):
    images = split(0).test_images
    assert torch.allclose(cnn(images), cnn.folded()(images), atol=1e-4)
    assert not [module for module in cnn.folded().modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_layer_inputs_times_the_matrix_equal_the_layers_own_output(cnn: DigitNet):
    network, images = cnn.folded(), split(0).images[:5]
    for name, layer in network.matrices().items():
        outputs: list[torch.Tensor] = []
        hook = layer.register_forward_hook(lambda _, args, output, outputs=outputs: outputs.append(output))
        x = layer_inputs(network, layer, images)
        hook.remove()
        assert layer.bias is not None
        product = x @ layer.weight.flatten(1).T + layer.bias
        expected = outputs[0].flatten(2).transpose(1, 2).flatten(0, 1) if outputs[0].ndim > 2 else outputs[0]
        assert torch.allclose(product, expected, atol=1e-5), name


def test_every_matrix_meets_exactly_one_site_and_the_vit_has_four_more_per_block():
    assert len(Cnn(4).matrices()) == len(Cnn(4).sites()) == 5
    vit = Vit(8, 3)
    assert len(vit.matrices()) == 3 * 4 + 2
    assert len(vit.sites()) == 3 * 8 + 2
    assert set(observe(vit, torch.zeros(1, 1, 8, 8))) == set(vit.sites())
    cnn = Cnn(4)
    assert list(observe(cnn, torch.zeros(1, 1, 8, 8))) == list(cnn.sites()) == [*(f"{name}.site" for name in cnn.units()), "site"]


def test_smoothquant_is_exact_in_float_and_balances_activations_with_weights():
    network = initialised("vit", 16, 2, 0).eval()
    images = split(0).images[:32]
    method = SmoothQuant(migration=0.5)
    given = problem(network)
    given = replace(given, calibration=images)
    smooth = copy.deepcopy(network)
    with torch.no_grad():
        # Channels of unequal size, as large models have them: without, there is nothing to smooth.
        for block in (*network.blocks, *smooth.blocks):  # type: ignore[misc]
            block.norm1.weight.mul_(torch.logspace(-1, 1, 16))
        method.smooth(smooth, given)
        assert torch.allclose(network(images), smooth(images), atol=1e-5)
        x = observe(smooth, images)["blocks.0.site_qkv"].flatten(0, -2).abs().amax(0)
        w = smooth.get_submodule("blocks.0.qkv").weight.abs().amax(0)
        assert torch.allclose(x, w, rtol=1e-3)  # at a = 1/2 both sides meet at sqrt(max|x| max|w|)
        before = observe(network, images)["blocks.0.site_qkv"].flatten(0, -2).abs().amax(0)
        assert float(before.max() / before.min()) > 3 * float(x.max() / x.min())


def test_smoothquant_of_the_cnn_is_exact_in_float_and_balances_what_a_stream_feeds(cnn: DigitNet):
    given = problem(cnn)
    plain = cnn.folded()
    smooth = copy.deepcopy(plain)
    with torch.no_grad():
        # Channels of unequal size: the residual stream of the first half is made by two convolutions and read by two.
        factors = torch.logspace(-1, 1, 8)
        for network in (plain, smooth):
            for unit in (network.stem, network.first):  # type: ignore[attr-defined]
                unit.conv.weight.mul_(factors[:, None, None, None])
                unit.conv.bias.mul_(factors)
        SmoothQuant(migration=0.5).smooth(smooth, given)
        assert torch.allclose(plain(given.calibration), smooth(given.calibration), rtol=1e-4, atol=1e-4)
        before, after = (observe(network, given.calibration) for network in (plain, smooth))
        streams = {("first.site", "down.site"): ("first.conv", "down.conv"), ("second.site", "site"): ("second.conv", "head")}
        for sites, layers in streams.items():
            x, smoothed = (torch.stack([largest(seen[site]) for site in sites]).amax(0) for seen in (before, after))
            w = torch.stack([largest(plain.get_submodule(name).weight) for name in layers]).amax(0)
            assert torch.allclose(smoothed, (x * w).sqrt(), rtol=1e-3, atol=1e-4)  # a = 1/2: x / sqrt(x / w)


def largest(x: torch.Tensor) -> torch.Tensor:
    """Magnitude by channel of the second axis."""
    return x.transpose(0, 1).flatten(1).abs().amax(1)


def test_a_weight_quantizer_and_the_same_rule_as_a_network_method_give_the_same_numbers(context: LocalContext):
    one = TASK.run(Rtn(bits=4, per="channel"), 0, context).metrics
    other = TASK.run(StaticRanges(bits=4), 0, context).metrics
    assert {name: value for name, value in one.items() if name != "quantise_seconds"} == {
        name: value for name, value in other.items() if name != "quantise_seconds"
    }


def test_size_equals_a_count_by_hand(context: LocalContext):
    metrics = TASK.run(StaticRanges(bits=4, symmetric=True), 0, context).metrics
    outputs, weights = (8, 8, 16, 16, 10), (8 * 9, 8 * 72, 16 * 72, 16 * 144, 10 * 16)
    stored = sum(4 * weight + 16 * out for weight, out in zip(weights, outputs, strict=True))
    assert metrics["bits_per_weight"] == pytest.approx(stored / sum(weights))
    assert metrics["size_bytes"] == (stored + 16 * sum(outputs) + 5 * (32 + 8)) / 8


def test_fewer_bits_lose_more_and_learned_steps_lose_less_than_static_ranges(context: LocalContext):
    def ratio(method, bits: int) -> float:
        return WeightsAndActivations(**{**TASK.params(), "activation_bits": bits}).run(method, 0, context).metrics["logit_sqnr"]

    noise = [ratio(StaticRanges(bits=bits), bits) for bits in (8, 6, 4, 3)]
    assert all(more > less + 3 for more, less in pairwise(noise))
    assert ratio(StaticRanges(bits=8), 8) > 25
    narrow = WeightsAndActivations(**{**TASK.params(), "activation_bits": 2})
    trained, rounded = (narrow.run(method, 0, context).metrics["accuracy"] for method in (NetworkLsq(bits=2), StaticRanges(bits=2)))
    assert trained > rounded + 0.1


def test_calibrated_quantizers_see_the_quantised_networks_inputs(context: LocalContext):
    seen: list[torch.Tensor] = []

    class Spy(HalfQuadratic, knowledge=(CALIBRATION,)):
        def quantize(self, weight, inputs, generator):
            seen.append(inputs.x)
            return super().quantize(weight, inputs, generator)

    narrow = WeightsAndActivations(**{**TASK.params(), "activation_bits": 2})
    narrow.run(Spy(bits=2), 0, context)
    assert [x.shape[1] for x in seen] == [9, 72, 72, 144, 16]
    assert all(len(x.unique()) <= 4 for x in seen)


def test_a_network_method_that_breaks_a_rule_is_caught(context: LocalContext, cnn: DigitNet):
    honest = StaticRanges(bits=4).quantize_network(problem(cnn))

    class Wide(StaticRanges):
        def quantize_network(self, problem):
            return super().quantize_network(replace(problem, activation_bits=8))

    class Float(StaticRanges):
        def quantize_network(self, problem):
            return replace(super().quantize_network(problem), activations={})

    narrow = WeightsAndActivations(**{**TASK.params(), "activation_bits": 4})
    for method, width in ((Wide(bits=4), 8), (Float(bits=4), 16)):
        with pytest.raises(InvalidResult, match=f"the activation stem.site has {width} bits; the task allows 4"):
            narrow.run(method, 0, context)

    def deployed(**changes):
        return deploy(cnn, replace(honest, **changes), "test")

    weight = honest.weights["head"]
    float_codes = Packed({**weight.parts, "codes": Part(torch.randn(10, 16), 32)})
    assert deploy(cnn, honest, "test").widths["head"] == 4
    with pytest.raises(InvalidResult, match="must return all matrices"):
        deployed(weights={"head": weight})
    with pytest.raises(InvalidResult, match="do not fit the declared 2 bits"):
        deployed(weights={**honest.weights, "head": Packed({**weight.parts, "codes": Part(weight["codes"], 2)})})
    with pytest.raises(InvalidResult, match="must be codes and scales"):
        deployed(weights={**honest.weights, "head": Packed({**weight.parts, "secret": Part(torch.ones(160), 32)})})
    with pytest.raises(InvalidResult, match="no matrix of shape"):
        deployed(weights={**honest.weights, "head": Packed({**weight.parts, "codes": Part(weight["codes"][:3], 4)})})
    with pytest.raises(InvalidResult, match="160 scales for 10 outputs"):
        deployed(weights={**honest.weights, "head": Packed({**weight.parts, "scales": Part(torch.ones(10, 16).half(), 16)})})
    with pytest.raises(InvalidResult, match="the codes are integers"):
        deployed(weights={**honest.weights, "head": float_codes})
    with pytest.raises(InvalidResult, match="has no site 'nowhere'"):
        deployed(activations={"nowhere": ActivationGrid(1.0, 0, 8)})
    with pytest.raises(InvalidResult, match="needs a positive scale"):
        deployed(activations={"site": ActivationGrid(0.0, 0, 8)})
    with pytest.raises(InvalidResult, match=r"head.bias must be finite and of shape \(10,\)"):
        deployed(rest={**honest.rest, "head.bias": torch.full((10,), float("nan"))})
    with pytest.raises(InvalidResult, match="it must return a QuantisedNetwork"):
        deploy(cnn, None, "test")  # type: ignore[arg-type]


def test_a_trained_network_is_right_and_its_split_is_stratified_and_disjoint(tmp_path: Path):
    data = split(3)
    counts = np.bincount(data.labels.numpy()) / len(data.labels) - np.bincount(data.test_labels.numpy()) / len(data.test_labels)
    assert np.abs(counts).max() < 0.005
    assert (len(data.labels), len(data.test_labels)) == (1257, 540)
    network = LocalContext(tmp_path).fixture(DigitsNetwork(width=8, epochs=10, seed=3))
    assert accuracy(network, data.test_images, data.test_labels) > 0.8
    logits = network(data.test_images)
    assert float(F.cross_entropy(logits, data.test_labels)) < 1.0
