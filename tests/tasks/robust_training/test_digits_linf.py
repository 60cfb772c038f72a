"""The task: splits, noise, presets, what it refuses, what it counts, and effects large enough to be certain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.datasets import digits
from tasks.errors import InvalidParams, InvalidResult
from tasks.registry import resolve
from tasks.robust_training.data import flip, load, stratified
from tasks.robust_training.digits import DigitsLinf, accepted
from tasks.robust_training.evaluation import attack
from tasks.robust_training.methods.fgsm import Fgsm
from tasks.robust_training.methods.pgd_at import PgdAt
from tasks.robust_training.methods.standard import Standard
from tasks.robust_training.models import build
from tasks.robust_training.protocol import Problem, Recipe, Trainer
from tasks.testing import LocalContext

CHEAP = DigitsLinf(**DigitsLinf.check_params)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def context(tmp_path: Path) -> LocalContext:
    return LocalContext(tmp_path)


def test_split_is_stratified_disjoint_and_new_for_each_seed():
    images, labels = digits()
    first, again, other = (load(1203, 0.0, DigitsLinf().streams(seed).numpy("data")) for seed in (0, 0, 1))
    assert first.train_images.shape == (1203, 64)
    assert first.test_images.shape == (594, 64)
    assert np.array_equal(first.test_images, again.test_images)
    assert not np.array_equal(first.test_labels, other.test_labels)
    share = np.bincount(labels) * 594 / 1797
    assert (np.abs(np.bincount(first.test_labels) - share) < 1).all()
    both = np.concatenate([first.train_images, first.test_images])
    assert np.array_equal(np.sort(both @ np.arange(1, 65)), np.sort(images @ np.arange(1, 65)))


def test_test_set_does_not_depend_on_training_size_or_noise():
    streams = DigitsLinf().streams(4)
    full, small = load(1203, 0.0, streams.numpy("data")), load(100, 0.4, streams.numpy("data"))
    assert np.array_equal(full.test_images, small.test_images)
    assert np.array_equal(full.test_labels, small.test_labels)
    assert len(small.train_labels) == 100


def test_label_noise_flips_the_exact_share_to_other_classes_evenly():
    labels = np.repeat(np.arange(10), 1000)
    noisy = flip(labels, 0.4, 10, np.random.default_rng(0))
    changed = noisy != labels
    assert changed.sum() == 4000
    counts = np.bincount((noisy[changed] - labels[changed]) % 10, minlength=10)
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 4000 / 9) < 5 * np.sqrt(4000 / 9)).all()
    assert np.array_equal(flip(labels, 0.0, 10, np.random.default_rng(0)), labels)


def test_stratified_counts_are_nearest_to_shares():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    mask = stratified(labels, 10, np.random.default_rng(0))
    assert np.bincount(labels[mask]).tolist() == [5, 3, 2]


def test_presets_fill_in_what_is_not_given_and_survive_json():
    assert DigitsLinf().epochs == 25
    assert (DigitsLinf(preset="standard").epochs, DigitsLinf(preset="standard").width) == (60, 256)
    custom = DigitsLinf(preset="standard", epochs=7)
    assert (custom.epochs, custom.width) == (7, 256)
    assert DigitsLinf(**json.loads(json.dumps(custom.params()))) == custom


@pytest.mark.parametrize(
    ("params", "text"),
    [({"epsilon": 0}, "epsilon=0"), ({"n_train": 2000}, "n_train=2000"), ({"preset": "huge"}, "preset='huge'"), ({"eps": 1}, "'eps'")],
)
def test_wrong_parameters_are_named(params: dict, text: str):
    with pytest.raises(InvalidParams, match=text):
        resolve(DigitsLinf, params, "robust_training/digits-linf")


def test_initial_weights_depend_on_the_seed_only():
    torch.manual_seed(0)
    first = build("cnn-bn", 32, 5).state_dict()
    torch.rand(100)
    state = torch.get_rng_state()
    again, other = build("cnn-bn", 32, 5).state_dict(), build("cnn-bn", 32, 6).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["1.weight"], other["1.weight"])


class Spy(Trainer):
    """Returns the initial network and keeps what it was shown."""

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        global shown
        shown = problem
        return model


def test_method_sees_training_data_only(context: LocalContext):
    task = DigitsLinf(label_noise=0.2, n_train=200, width=32)
    task.run(Spy(), 0, context)
    data = load(200, 0.2, task.streams(0).numpy("data"))
    assert np.array_equal(shown.images.numpy(), data.train_images)
    assert np.array_equal(shown.labels.numpy(), data.train_labels)
    evaluation = task.streams(0).integer("eval")
    assert evaluation not in {shown.order.initial_seed(), shown.noise.initial_seed()}
    assert set(Problem.__slots__) == {"images", "labels", "epsilon", "recipe", "order", "noise"}


class Returns(Trainer):
    """Returns whatever a test wants."""

    what: str

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        first = next(model.parameters())
        with torch.no_grad():
            if self.what == "nan":
                first[0, 0] = torch.nan
            elif self.what == "overflow":
                for parameter in model.parameters():
                    parameter.fill_(1e30)
        return {"wrong": build("mlp", 48, 0), "tensor": first, "wrapped": nn.Sequential(model)}.get(self.what, model)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("nan", "not finite"),
        ("overflow", "overflow"),
        ("wrong", "instead of"),
        ("tensor", "instead of a torch module"),
        ("wrapped", "not the architecture"),
    ],
)
def test_a_network_that_is_not_what_was_asked_for_is_invalid(what: str, text: str, context: LocalContext):
    with pytest.raises(InvalidResult, match=text):
        CHEAP.run(Returns(what=what), 0, context)


class Trick(nn.Sequential):
    """Hides its gradients from attacks."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach()) + 0 * x.sum()


def test_tricks_of_the_returned_module_do_not_reach_the_evaluation():
    fresh = build("mlp", 32, 0)
    trick = Trick(*build("mlp", 32, 1))
    model = accepted(trick, fresh)
    assert type(model) is nn.Sequential
    assert not model.training
    assert all(torch.equal(value, trick.state_dict()[name]) for name, value in model.state_dict().items())


def test_suite_counts_each_example_once_and_orders_the_attacks():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(100, 64, generator=generator), torch.randint(10, (100,), generator=generator)
    model = build("mlp", 32, 0).eval()
    labels[:80] = model(images[:80]).argmax(1)
    verdict = attack(model, images, labels, 0.02, torch.Generator().manual_seed(1))
    assert verdict.clean >= verdict.fgsm >= verdict.robust
    assert verdict.clean >= verdict.pgd20 >= verdict.pgd50 >= verdict.robust
    assert sum(verdict.first_broken.values()) == 100 - round(100 * verdict.robust)
    assert verdict.first_broken["clean"] == 100 - round(100 * verdict.clean)


def test_suite_breaks_what_torchattacks_apgdt_breaks():
    """Recorded with torchattacks 3.5.1 on this network: APGDT (9 targets, 50 steps) leaves 0.3081, Square (200 queries) 0.488.

    Its FGSM and PGD-50 points equal ours to 2e-8. Other versions of torch train a slightly other network, hence the tolerance.
    """
    streams = DigitsLinf().streams(0)
    data = load(1203, 0.0, streams.numpy("data"))
    problem = Problem(
        torch.tensor(data.train_images),
        torch.tensor(data.train_labels),
        0.2,
        Recipe(15, 64, "sgd", 0.1, 0.9, 5e-4, "cosine"),
        streams.torch("order"),
        streams.torch("method"),
    )
    model = Fgsm().train(build("mlp", 128, streams.integer("init")), problem).eval()
    verdict = attack(model, torch.tensor(data.test_images), torch.tensor(data.test_labels), 0.2, torch.Generator().manual_seed(0))
    assert verdict.robust == pytest.approx(0.3081, abs=0.02)
    assert verdict.pgd20 > verdict.robust + 0.05  # what PGD-20 alone would have claimed
    assert min(verdict.first_broken[name] for name in ("fgsm", "pgd20", "pgd50", "pgd50-margin", "apgd-targeted")) > 0


def test_a_constant_classifier_keeps_its_accuracy_under_every_attack():
    model = build("mlp", 32, 0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[-1].bias[3] = 1.0
    labels = torch.tensor([3] * 30 + [4] * 70)
    verdict = attack(model, torch.rand(100, 64), labels, 0.2, torch.Generator().manual_seed(1))
    assert (verdict.clean, verdict.fgsm, verdict.pgd20, verdict.robust) == (0.3, 0.3, 0.3, 0.3)


def test_adversarial_training_withstands_what_breaks_standard_training(context: LocalContext):
    """Published ordering on MNIST-like data: standard training falls to PGD, adversarial training doesn't, and clean accuracy stays."""
    task = DigitsLinf(epochs=12)
    standard, fgsm, pgd = (task.run(method, 0, context).metrics for method in (Standard(), Fgsm(), PgdAt(steps=5)))
    assert standard["robust_accuracy"] < 0.65
    assert fgsm["robust_accuracy"] > standard["robust_accuracy"] + 0.1
    assert pgd["robust_accuracy"] > standard["robust_accuracy"] + 0.15
    assert min(metrics["clean_accuracy"] for metrics in (standard, fgsm, pgd)) > 0.93
