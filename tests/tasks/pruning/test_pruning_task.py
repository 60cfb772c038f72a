"""The task: what it counts, what it refuses, what its network is like."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.errors import InvalidResult
from tasks.pruning.methods.magnitude import Magnitude
from tasks.pruning.methods.mfac import MFac
from tasks.pruning.methods.random import Random
from tasks.pruning.oneshot import SPARSITIES, DigitsOneShot
from tasks.pruning.protocol import Pruner
from tasks.testing import LocalContext


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return LocalContext(tmp_path_factory.mktemp("pruning"))


@pytest.fixture(scope="module")
def spy_results(context):
    """What the task hands to a method."""
    seen = {}

    class Spy(Magnitude, name="spy"):
        def prune(self, network, data, keep, rng):
            seen.update(network=network, data=data, keep=list(keep))
            return super().prune(network, data, keep, rng)

    DigitsOneShot().run(Spy(), 0, context)
    return seen


def test_method_gets_budgets_and_training_data_only(spy_results):
    weights = 64 * 256 + 256 * 128 + 128 * 10
    assert spy_results["keep"] == [weights * (100 - s) // 100 for s in SPARSITIES]
    assert spy_results["data"].inputs.shape == (1000, 64)
    network, data = spy_results["network"], spy_results["data"]
    assert (network.logits(data.inputs).argmax(axis=1) == data.labels).mean() > 0.99
    with pytest.raises(ValueError, match="read-only"):
        network.weights[0][0, 0] = 1.0


def test_scores_are_counted_from_the_weights_and_the_curve(context):
    measured = DigitsOneShot().run(Magnitude(), 0, context)
    steps, curve = measured.curves["accuracy"]
    assert steps == list(SPARSITIES)
    assert [measured.metrics[f"accuracy_at_{s}"] for s in SPARSITIES] == curve
    assert measured.metrics["nonzeros_at_90"] == 5043
    by_hand = sum((b - a) * (p + q) / 2 for a, b, p, q in zip(steps, steps[1:], curve, curve[1:], strict=False)) / 48
    assert measured.metrics["sparsity_auc"] == pytest.approx(by_hand)
    assert measured.metrics["dense_accuracy"] > 0.94


def test_methods_order_as_the_literature_has_it_with_a_wide_margin(context):
    """Random far below magnitude; M-FAC with four Fisher recomputations above it (.94 against .81 on five seeds)."""
    auc = {
        method: np.mean([DigitsOneShot().run(method, seed, context).metrics["sparsity_auc"] for seed in (0, 1)])
        for method in (Random(), Magnitude(), MFac(recomputations=4))
    }
    random, magnitude, mfac = auc.values()
    assert magnitude > random + 0.2
    assert mfac > magnitude + 0.04


class Broken(Pruner):
    """Returns whatever `change` makes of magnitude pruning's result."""

    def prune(self, network, data, keep, rng):
        good = Magnitude().prune(network, data, keep, rng)
        return self.change(good)


def refuse(change, sentence, context):
    method = type("Changed", (Broken,), {"change": staticmethod(change), "__module__": __name__})()
    with pytest.raises(InvalidResult, match=sentence):
        DigitsOneShot(network="narrow").run(method, 0, context)


def with_layer(results, index, layer):
    """`results` with the first layer at sparsity `index` replaced."""
    return [[layer(weights[0]), *weights[1:]] if k == index else weights for k, weights in enumerate(results)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda results: results[:3], r"returned 3 results where one per sparsity \(6\)"),
        (lambda results: None, "returned NoneType where one per sparsity"),
        (lambda results: with_layer(results, 2, lambda w: np.full(w.shape, 0.1)), "At 80 % the pruner kept .* at most 1292 may be nonzero"),
        (lambda results: with_layer(results, 0, lambda w: w * np.nan), "At 50 % .* not finite"),
        (lambda results: with_layer(results, 5, lambda w: w[1:]), "At 98 % .* of shapes .* were due"),
        (lambda results: [["dense"]] * 6, "not a list of weight arrays"),
        (lambda results: [3.0] * 6, "not a list of weight arrays"),
        (lambda results: [[torch.zeros(2, requires_grad=True)]] * 6, "not a list of weight arrays .*requires grad"),
    ],
)
def test_what_is_not_a_sparse_network_is_refused_in_one_sentence(change, sentence, context):
    refuse(change, sentence, context)


def test_tiny_weights_count_as_nonzero(context):
    refuse(lambda results: with_layer(results, 3, lambda w: np.where(w == 0, 1e-30, w)), "At 90 % the pruner kept", context)
