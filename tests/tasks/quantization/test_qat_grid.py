"""Quantised training: costs by hand, learned steps against torch's own operator, exact bits, the elastic network's invariants."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from tasks.quantization.digit_base import split
from tasks.quantization.digit_nets import Cnn, DigitNet, initialised, multiplications
from tasks.quantization.elastic import BITS, LearnedAffine, Mode, Supernet, random_modes, shape_penalty, trained_supernet
from tasks.quantization.lsq import LearnedStep, activation_quantizer, attach, bits_of, detach, train_steps
from tasks.quantization.methods.bit_wise import BitPlanes, BitWise
from tasks.quantization.methods.eq_net import ElasticNetwork
from tasks.quantization.methods.eq_net_search import (
    CHOICES,
    SearchedElasticNetwork,
    average_bits,
    fitted_predictor,
    genes_of,
    modes_of,
)
from tasks.quantization.methods.net_float import FloatNetwork
from tasks.quantization.methods.net_lsq import DedicatedNetwork
from tasks.quantization.methods.net_ptq import RoundedNetwork
from tasks.quantization.networks import NetworkProblem, deploy, trainable
from tasks.quantization.qat_grid import QuantisedTraining, costs
from tasks.testing import LocalContext

TASK = QuantisedTraining(widths=(4, 8), base_epochs=2, epochs=1, calibration=32)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> LocalContext:
    return LocalContext(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def base(context: LocalContext) -> DigitNet:
    return context.fixture(TASK.base(0, 8))


def problem(network: DigitNet, epochs: int = 1, examples: int = 256) -> NetworkProblem:
    data = split(0)
    given = NetworkProblem(copy.deepcopy(network), data.images[:32], 8, torch.Generator().manual_seed(0))
    return given.with_training(data.images[:examples], data.labels[:examples], epochs, np.random.default_rng(0))


def test_multiplications_and_bit_operations_equal_a_count_by_hand(context: LocalContext):
    """Width 4: 64 positions of 9x4 and 36x4, 16 positions of 36x8 and 72x8, 8x10."""
    assert list(multiplications(Cnn(4)).values()) == [2304, 9216, 4608, 9216, 80]
    narrow = QuantisedTraining(widths=(4,), base_epochs=0, epochs=0, calibration=32)
    found = {bits: narrow.run(RoundedNetwork(width=4, bits=bits), 0, context).metrics for bits in (8, 4, 2)}
    ends, inner = 2304 + 80, 9216 + 4608 + 9216
    for bits, metrics in found.items():
        assert metrics["linear_cost"] == ends / 2 + inner * bits / 16
        assert metrics["quadratic_cost"] == ends / 4 + inner * bits**2 / 256
    floats = narrow.run(FloatNetwork(width=4), 0, context).metrics
    assert floats["linear_cost"] == floats["quadratic_cost"] == ends + inner == 25_424
    assert floats["bits_per_weight"] == 16


def test_a_product_of_unequal_widths_costs_the_wider_factor_or_both(base: DigitNet):
    quantised = RoundedNetwork(bits=4, ends=8).train(problem(base, epochs=0))
    wide = {name: replace(grid, bits=8) if name == "first.site" else grid for name, grid in quantised.activations.items()}
    four, mixed = (costs(deploy(base, replace(quantised, activations=grids), "test")) for grids in (quantised.activations, wide))
    first = 64 * 8 * 8 * 9
    assert mixed[0] - four[0] == pytest.approx(first * (8 - 4) / 16)
    assert mixed[1] - four[1] == pytest.approx(first * (4 * 8 - 4 * 4) / 256)


@pytest.mark.parametrize(("low", "high"), [(-8, 7), (0, 15)])
def test_learned_step_equals_torch_learnable_fake_quantize_forward_and_backward(low: int, high: int):
    """Apart from values within half a step outside the range: torch passes their gradient on, the paper (and this) does not."""
    x = torch.randn(400, generator=torch.Generator().manual_seed(1)) * 3
    x[((x / 0.25 - low).abs() < 0.6) | ((x / 0.25 - high).abs() < 0.6)] = 1.0
    upstream = torch.randn(400, generator=torch.Generator().manual_seed(2))
    ours = LearnedStep(torch.tensor(0.25), low, high, 400)
    mine, theirs = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    y = ours(mine)
    (y * upstream).sum().backward()
    scale, zero = torch.tensor([0.25], requires_grad=True), torch.tensor([0.0], requires_grad=True)
    expected = torch._fake_quantize_learnable_per_tensor_affine(theirs, scale, zero, low, high, 1 / math.sqrt(400 * high))
    (expected * upstream).sum().backward()
    assert torch.equal(y, expected)
    assert mine.grad is not None
    assert torch.equal(mine.grad, theirs.grad)
    assert ours.step.grad is not None
    assert float(ours.step.grad) == pytest.approx(float(scale.grad), rel=1e-4)


def test_gradient_of_a_learned_step_equals_its_closed_form():
    """LSQ, equation 3, times 1 / sqrt(N Q): round(v / s) - v / s inside the range, its ends outside."""
    v, quantizer = torch.tensor([0.31, -0.44, 5.0, -9.0]), LearnedStep(torch.tensor(0.25), -8, 7, 4)
    quantizer(v).sum().backward()
    closed = (round(0.31 / 0.25) - 0.31 / 0.25) + (round(-0.44 / 0.25) + 0.44 / 0.25) + 7 - 8
    assert quantizer.step.grad is not None
    assert float(quantizer.step.grad) == pytest.approx(closed / math.sqrt(4 * 7), rel=1e-5)


def test_a_deployed_network_computes_what_the_trained_one_did(base: DigitNet):
    given = problem(base)
    network = trainable(given.network)
    activations = attach(network, given.calibration, *bits_of(network, 4, 8))
    train_steps(network, given, 1e-3)
    images = split(0).test_images
    with torch.no_grad():
        before = network(images)
    deployed = deploy(base, detach(network, activations), "test")
    with torch.no_grad():
        after = deployed.network(images)
    # Scales and biases become float16, and a value near a tie may then fall on the other side.
    assert float((after - before).square().sum() / before.square().sum()) < 5e-3
    assert list(deployed.widths.values()) == list(deployed.activation_widths.values()) == [8, 4, 4, 4, 8]


def test_signed_activations_get_a_symmetric_grid_and_positive_ones_an_unsigned():
    signed, positive = torch.randn(64, 8), torch.rand(64, 8)
    assert (activation_quantizer(signed, 4).low, activation_quantizer(signed, 4).high) == (-8, 7)
    assert (activation_quantizer(positive, 4).low, activation_quantizer(positive, 4).high) == (0, 15)


def test_bit_wise_weights_reconstruct_exactly_and_keep_a_message_in_bits_that_are_not_trained(base: DigitNet):
    """The card's check: bytes written into frozen low planes before training are read back from the stored codes."""
    message = np.random.default_rng(5).integers(0, 2, (4, 8, 8, 3, 3)).astype(np.float32)
    planes: list[BitPlanes] = []
    original = BitPlanes.__init__

    def spy(self, shape, magnitude, trained, sign, generator):
        original(self, shape, magnitude, trained, sign, generator)
        if tuple(shape) == (8, 8, 3, 3):
            self.low.data = torch.from_numpy(message - 0.5)
        planes.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BitPlanes, "__init__", spy)
        quantised = BitWise(magnitude=7, trained=3).train(problem(initialised("cnn", 8, 3, 0)))
    for packed, plane in zip(quantised.weights.values(), planes, strict=True):
        codes = packed["codes"] - (1 << 7)
        assert packed.parts["codes"].bits == 8
        assert torch.equal(codes, plane.codes().detach().flatten(1).to(torch.int32))
    magnitudes = (quantised.weights["first.conv"]["codes"] - (1 << 7)).abs().numpy().reshape(8, 8, 3, 3)
    read = np.stack([(magnitudes >> place) & 1 for place in range(4)])
    assert np.array_equal(read, message)


def test_training_moves_only_the_planes_that_are_trained():
    plane = BitPlanes(torch.Size([4, 6]), 5, 2, False, torch.Generator().manual_seed(0))
    plane(torch.empty(4, 6)).square().sum().backward()
    assert plane.sign.grad is None
    assert plane.low.grad is None
    assert plane.high.grad is not None
    weights = plane(torch.empty(4, 6))
    # Straight through: d w / d latent_i = sign 2^i scale, so the gradient of a plane is twice that of the one below.
    assert torch.allclose(plane.high.grad[1], 2 * plane.high.grad[0])
    assert torch.allclose(plane.high.grad[0].abs(), (2 * weights * 2**3 * plane.scale).abs().detach(), rtol=1e-5)
    assert "can't be trained" in (BitWise(magnitude=2, trained=3).infeasible() or "")
    assert "no bit" in (BitWise(magnitude=2, trained=0, sign=False).infeasible() or "")


def test_methods_from_scratch_get_the_bases_epochs_on_top_and_the_untrained_network(context: LocalContext):
    seen: list[tuple[int, bool]] = []

    class Spy(BitWise, name="spy", knowledge=BitWise.knowledge):
        def train(self, problem):
            untrained = torch.equal(problem.network.head.weight, TASK.base(0, 8).fresh().head.weight)
            seen.append((problem.steps, untrained))
            return super().train(problem)

    class Warm(DedicatedNetwork, name="warm", knowledge=DedicatedNetwork.knowledge):
        def train(self, problem):
            seen.append((problem.steps, torch.equal(problem.network.head.weight, TASK.base(0, 8).fresh().head.weight)))
            return super().train(problem)

    for method in (Spy(), Warm()):
        TASK.run(method, 0, context)
    assert seen == [(3 * 20, True), (20, False)]
    assert "no base of width 6" in (TASK.infeasible(FloatNetwork(width=6)) or "")


def test_weight_penalty_is_zero_for_a_uniform_distribution_and_equals_scipy_moments():
    uniform = torch.linspace(-3, 5, 100_001, dtype=torch.float64)
    assert float(shape_penalty([uniform])) == pytest.approx(0, abs=1e-9)
    w = torch.from_numpy(np.random.default_rng(0).gamma(3.0, size=500))
    expected = 0.015 * (stats.kurtosis(w, fisher=False) - 1.8) ** 2 + stats.skew(w) ** 2
    assert float(shape_penalty([w])) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_elastic_codes_and_parameters_reconstruct_what_training_used(bits: int, symmetric: bool):
    from tasks.quantization.networks import decoded

    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(bits)) + 0.2
    for rows, shape in ((weight.flatten(1), (-1, 1, 1, 1)), (weight.reshape(1, -1), (1, 1, 1, 1))):
        quantizer = LearnedAffine(rows, bits, symmetric, shape)
        gain = torch.linspace(-1.0, 2.0, 6)
        packed = quantizer.packed(weight, gain)
        expected = (quantizer(weight) * gain.view(-1, 1, 1, 1)).flatten(1).detach()
        assert torch.allclose(decoded(packed, (6, 27)), expected, rtol=2e-3, atol=4e-3)
        assert len(packed["codes"].unique()) <= 1 << bits


def test_an_elastic_network_deploys_the_same_weights_whatever_the_bits(base: DigitNet):
    eight, two = (ElasticNetwork(bits=bits).train(problem(base)) for bits in (8, 2))
    # The ends are not elastic: the same codes and the same head in both; the inner layers differ only in how they are rounded.
    for name in ("stem.conv", "head"):
        assert torch.equal(eight.weights[name]["codes"], two.weights[name]["codes"])
    assert torch.equal(eight.rest["head.bias"], two.rest["head.bias"])
    inner = (eight.weights["first.conv"], two.weights["first.conv"])
    signs = [packed["codes"] - (1 << (packed.parts["codes"].bits - 1)) for packed in inner]
    large = signs[0].abs() > 64
    assert bool((signs[0].sign() * signs[1].sign() >= 0)[large].all())
    assert [packed.parts["codes"].bits for packed in inner] == [8, 2]


def test_re_estimating_batch_norms_twice_changes_nothing_and_modes_change_the_network(base: DigitNet):
    supernet = Supernet(trainable(base), split(0).images[:64])
    images = split(0).images[:512]
    supernet.switch(Mode(8, 8, "channel", True))
    supernet.recalibrate(images)
    with torch.no_grad():
        first = supernet.network(images)
        supernet.recalibrate(images)
        assert torch.equal(first, supernet.network(images))
        supernet.switch(Mode(2, 2, "layer", False))
        supernet.recalibrate(images)
        assert not torch.allclose(first, supernet.network(images), atol=0.1)
        supernet.switch(Mode(8, 8, "channel", True))
        supernet.recalibrate(images)
        assert torch.equal(first, supernet.network(images))


def test_training_through_the_rounding_beats_rounding_afterwards_at_two_bits(context: LocalContext):
    longer = QuantisedTraining(widths=(8,), base_epochs=2, epochs=3, calibration=64)
    trained, rounded = (longer.run(method, 0, context).metrics for method in (DedicatedNetwork(bits=2), RoundedNetwork(bits=2)))
    assert trained["accuracy"] > rounded["accuracy"] + 0.05
    assert trained["linear_cost"] == rounded["linear_cost"]


def test_genetic_search_comes_close_to_the_best_of_all_configurations():
    """Two layers have 38,416 configurations; the objective knows wider is better, with weights of its own and an interaction."""
    method, weights = SearchedElasticNetwork(average=4.0), torch.tensor([3.0, 1.0, 0.5, 0.2, 2.0, 4.0, 0.1, 0.4])

    def predict(candidates) -> torch.Tensor:
        genes = torch.tensor(candidates).float()
        return (weights * torch.exp(-0.5 * genes)).sum(1) + 0.05 * genes[:, 0] * genes[:, 5]

    every = [genes for genes in itertools.product(*(range(count) for count in CHOICES * 2)) if 3.5 < average_bits(genes) <= 4]
    best = float(predict(every).min())
    found = [method.search(predict, 2, torch.Generator().manual_seed(seed)) for seed in range(3)]
    assert all(3.5 < average_bits(genes) <= 4 for genes in found)
    assert max(float(predict([genes])[0]) for genes in found) < 1.05 * best
    median = float(predict(every).median())
    assert median > 1.3 * best  # chance would not do


def test_configurations_survive_their_genes_and_the_predictor_ranks_unseen_sub_networks(context: LocalContext):
    """The paper judges its predictor by Kendall's tau; CQAP needs no more than to rank."""
    given = problem(context.fixture(TASK.base(0, 8)), epochs=4, examples=400)
    supernet = trained_supernet(given, 1e-3, True)
    generator = torch.Generator().manual_seed(1)
    modes = [random_modes(supernet, generator) for _ in range(110)]
    genes = [genes_of(each) for each in modes]
    assert [modes_of(each, list(supernet.elastic)) for each in genes] == modes
    losses = torch.tensor([SearchedElasticNetwork()._loss(supernet, each, given) for each in genes])
    predictor = fitted_predictor(genes[:80], losses[:80], torch.Generator().manual_seed(2))
    assert stats.kendalltau(predictor(genes[80:]).numpy(), losses[80:].numpy()).statistic > 0.5
