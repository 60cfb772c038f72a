"""Adaptive queries: a reused holdout overfits, protected answers don't; the mechanisms against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.bandit_regret.adaptive_holdout import AdaptiveHoldout, HoldoutMethod
from tasks.bandit_regret.methods.holdout_answers import NaiveHoldout, NoisyHoldout, ThresholdMechanism, Thresholdout
from tasks.errors import InvalidResult

SMALL = {"n": 1000, "features": 1000}


def test_published_effect_of_paper_213_naive_reuse_overfits_by_more_than_a_tenth_and_thresholdout_does_not():
    task = AdaptiveHoldout(**SMALL)
    naive, protected = ([task.run(method, seed, None).metrics for seed in range(4)] for method in (NaiveHoldout(), Thresholdout()))
    assert np.mean([one["bias"] for one in naive]) > 0.1
    assert np.mean([one["overfitting"] for one in protected]) < 0.05
    assert all(abs(one["fresh_accuracy"] - 0.5) < 4 * 0.5 / np.sqrt(10_000) for one in naive + protected)


def test_one_query_without_selection_has_no_bias():
    biases = [
        AdaptiveHoldout(n=400, features=1, strength=0.5, signal=1).run(NaiveHoldout(), seed, None).metrics["bias"] for seed in range(100)
    ]
    assert abs(np.mean(biases)) < 4 * np.std(biases) / 10


def test_noise_has_the_declared_size():
    mechanism = NoisyHoldout(scale=2.0).mechanism()
    mechanism.reset(400, 16, np.random.default_rng(0))
    answers = np.array([mechanism.answer(0.0, 0.3) for _ in range(5000)])
    assert answers.mean() == pytest.approx(0.3, abs=4 * 0.2 / np.sqrt(5000))
    assert answers.std() == pytest.approx(2 * 16**0.25 / 20, rel=0.05)


def test_thresholdout_answers_from_training_while_the_sets_agree_and_near_the_holdout_otherwise():
    mechanism = ThresholdMechanism(1.0)
    mechanism.reset(10_000, 100, np.random.default_rng(1))
    agreeing = [mechanism.answer(0.2, 0.2) for _ in range(200)]
    assert np.mean([answer == 0.2 for answer in agreeing]) > 0.6
    apart = np.array([mechanism.answer(0.9, 0.1) for _ in range(200)])
    assert np.abs(apart - 0.1).max() < 0.2
    assert np.mean(apart) == pytest.approx(0.1, abs=0.01)


def test_an_answer_that_is_no_number_is_invalid():
    class Broken(HoldoutMethod, name="broken-holdout"):
        def mechanism(self):
            mechanism = ThresholdMechanism(1.0)
            mechanism.answer = lambda train, holdout: float("nan")
            return mechanism

    with pytest.raises(InvalidResult, match="must return a number"):
        AdaptiveHoldout(n=50, features=5).run(Broken(), 0, None)


def test_board_split_comes_from_the_secret_alone_and_its_signal_is_there():
    task = AdaptiveHoldout(n=2000, features=20, signal=1, strength=0.5)
    one, again, other = (task.board_split(np.random.default_rng(secret)) for secret in (1, 1, 2))
    assert all(np.array_equal(getattr(one, name), getattr(again, name)) for name in one.__dataclass_fields__)
    assert 0.4 < (one.board_labels != other.board_labels).mean() < 0.6
    assert (one.board.shape, one.development.shape) == ((2000, 20), (2000, 20))
    for inputs, labels in ((one.board, one.board_labels), (one.development, one.development_labels)):
        assert set(labels) == {0, 1}
        agree = (inputs == 2 * labels[:, None] - 1).mean(axis=0)
        assert agree[0] == pytest.approx(0.75, abs=0.04)
        assert agree[1:] == pytest.approx(0.5, abs=0.05)
