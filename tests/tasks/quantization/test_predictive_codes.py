"""Predictive codes: probes and information against scikit-learn and closed forms, cheats, and what VQ-APC learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from tasks.errors import InvalidResult
from tasks.quantization.methods.codes_kmeans import KmeansCodes
from tasks.quantization.methods.codes_vq_apc import VqApc
from tasks.quantization.phones import FEATURES, FRAMES, PHONES, SPEAKERS, STAY, draw
from tasks.quantization.predictive_codes import FrameCodes, PredictiveCodes, checked_codes, entropy, information, phone_accuracy
from tasks.testing import LocalContext


def test_information_equals_scikit_learn_up_to_the_bias_correction():
    rng = np.random.default_rng(0)
    codes, labels = rng.integers(0, 5, 4000), rng.integers(0, 3, 4000)
    labels = np.where(rng.random(4000) < 0.5, codes % 3, labels)
    plain = mutual_info_score(codes, labels) / np.log(2)
    assert information(codes, labels) == pytest.approx(plain - (15 - 5 - 3 + 1) / (2 * 4000 * np.log(2)))
    assert entropy(np.bincount([0, 1, 2, 3])) == 2


def test_codes_that_say_nothing_have_no_information_and_probe_at_chance():
    """Without the correction 256 random codes seem to know 0.14 bits of 16 phones in 20,000 frames."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(5):
        codes, labels = rng.integers(0, 256, (2, 20_000)), rng.integers(0, 16, (2, 20_000))
        found.append(information(codes[1], labels[1]))
        assert phone_accuracy(codes[0], labels[0], codes[1], labels[1], 256) == pytest.approx(1 / 16, abs=0.01)
    assert abs(np.mean(found)) < 0.01
    assert mutual_info_score(codes[1], labels[1]) / np.log(2) > 0.1


def test_the_language_is_as_described():
    train, test = draw(400, np.random.default_rng(2))
    assert train.frames.shape == test.frames.shape == (400, FRAMES, FEATURES)
    assert (np.diff(train.phones) == 0).mean() == pytest.approx(STAY, abs=0.01)
    followers = [np.unique(train.phones[:, 1:][train.phones[:, :-1] == phone]) for phone in range(PHONES)]
    assert all(len(each) == 4 for each in followers)  # itself and three successors
    assert all(np.array_equal(each, np.unique(test.phones[:, 1:][test.phones[:, :-1] == phone])) for phone, each in enumerate(followers))
    assert np.bincount(train.speakers).tolist() == [50] * SPEAKERS


def test_codes_that_are_the_phones_are_recognised():
    train, test = draw(200, np.random.default_rng(5))
    means = np.stack([train.frames[train.phones == phone].mean(0) for phone in range(PHONES)])
    nearest = np.square(test.frames[:, :, None] - means).sum(-1).argmin(-1)
    share = (nearest == test.phones).mean()
    found = phone_accuracy(test.phones, test.phones, nearest, test.phones, PHONES)
    assert found == share
    assert information(test.phones, test.phones) == pytest.approx(entropy(np.bincount(test.phones.ravel())), abs=1e-2)
    assert abs(information(test.phones, test.speakers[:, None])) < 0.05  # an utterance's phones are not independent


def test_kmeans_prediction_is_the_median_of_what_followed():
    train, _ = draw(40, np.random.default_rng(3))
    codes = KmeansCodes(codes=8).fit(train.frames, 2, np.random.default_rng(0))
    found = codes.encode(train.frames)
    for code in range(8):
        later = train.frames[:, 2:][found[:, :-2] == code]
        np.testing.assert_allclose(codes.predictions[code], np.median(later, 0))


def test_drawn_codes_follow_the_softmax_and_carry_its_gradient():
    method = VqApc(codes=3, temperature=0.5)
    logits = torch.tensor([1.0, 0.0, -1.0]).expand(20_000, 3).clone().requires_grad_(True)
    drawn = method._draw(logits, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.detach(), torch.nn.functional.one_hot(drawn.argmax(1), 3).float())
    # Gumbel-max (Gumbel 1954): the largest of logits with Gumbel noise is distributed as their softmax, whatever the temperature.
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.0, 0.0, -1.0]).softmax(0), atol=0.01, rtol=0)
    drawn[:, 0].sum().backward()
    assert bool((logits.grad[:, 0] >= 0).all())
    assert bool((logits.grad[:, 1:] <= 0).all())
    torch.testing.assert_close(logits.grad.sum(1), torch.zeros(20_000), atol=1e-6, rtol=0)  # the softmax's Jacobian
    assert float(logits.grad[:, 0].mean()) > 0.1


def test_vq_apc_predicts_better_than_the_median_and_its_codes_tell_phones(tmp_path: Path):
    task = PredictiveCodes(utterances=96)
    measured = task.run(VqApc(codes=32, hidden=32, epochs=12), 0, LocalContext(tmp_path)).metrics
    assert measured["prediction_error"] < 0.97
    assert measured["phone_information"] > 0.1
    assert measured["phone_accuracy"] > 2 / PHONES
    assert measured["code_entropy"] <= measured["bits_per_frame"] == 5


def test_an_encoder_that_looks_ahead_or_returns_something_else_is_refused():
    train, _ = draw(16, np.random.default_rng(4))
    honest = KmeansCodes(codes=4).fit(train.frames, 3, np.random.default_rng(0))
    assert checked_codes(honest, train.frames, "test").shape == (16, FRAMES)

    def ahead(frames: np.ndarray) -> np.ndarray:
        return honest.encode(np.concatenate([frames[:, 3:], frames[:, :3]], 1))

    with pytest.raises(InvalidResult, match="the encoder looks ahead"):
        checked_codes(replace(honest, encode=ahead), train.frames, "test")
    with pytest.raises(InvalidResult, match="an integer below 4 for every frame"):
        checked_codes(replace(honest, encode=lambda frames: honest.encode(frames) + 1), train.frames, "test")
    with pytest.raises(InvalidResult, match="predictions must be finite"):
        checked_codes(FrameCodes(honest.encode, 4, np.zeros((3, FEATURES))), train.frames, "test")
