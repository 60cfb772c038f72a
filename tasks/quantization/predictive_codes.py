"""One discrete code per frame of speech-like sequences: what it predicts of the future, and what it keeps of phone and speaker."""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.errors import InvalidResult
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.phones import FEATURES, FRAMES, GENERATOR, PHONES, SPEAKERS, Speech, draw


@dataclass(frozen=True)
class FrameCodes:
    """A fitted encoder: `encode` turns frames [n, t, d] into codes [n, t] below `size`, each from its own and earlier frames; row c of
    `predictions` [size, d] is the frame that is expected `ahead` frames after code c."""

    encode: Callable[[np.ndarray], np.ndarray]
    size: int
    predictions: np.ndarray


class FrameEncoder(Method, family="quantization"):
    """Learns a code per frame from unlabelled sequences."""

    @abstractmethod
    def fit(self, frames: np.ndarray, ahead: int, rng: np.random.Generator) -> FrameCodes:
        """Learn from training frames [utterances, t, d] float32 to predict the frame `ahead` frames later in absolute error."""


class PredictiveCodes(
    Task,
    family="quantization",
    name="predictive-codes",
    label="Predictive codes",
    accepts=(FrameEncoder,),
    timeout=300.0,
    seconds=10.0,
):
    """Code every frame of a sequence by one index so that the index predicts the frame some steps later; probe what else it tells.

    The sequences stand in for the speech of paper 179: a hidden Markov chain of 16 phones, uttered by 8 speakers with an offset each, in
    autocorrelated noise (16 features). The encoder learns without labels; the task fits the probes itself, and checks that a code does not
    look ahead. A seed is a language, its speakers and utterances, and the method's randomness.
    """

    utterances: int = Field(400, ge=16, description="training utterances of 100 frames, and as many held out")
    ahead: int = Field(3, ge=1, le=20, description="frames between the newest frame a code may see and the one it predicts")

    presets: ClassVar = {"quick": {"utterances": 40}, "standard": {}}
    check_params: ClassVar = {"utterances": 16}
    metrics: ClassVar = (
        Metric("prediction_error", "1", "lower", "held-out mean absolute error over that of the best constant", primary=True, low=0),
        Metric("phone_accuracy", "1", "higher", "held-out frames whose phone is its code's commonest in training", low=0, high=1),
        Metric("phone_information", "1", "higher", "mutual information of code and phone over the phones' entropy", low=-0.2, high=1.05),
        Metric("speaker_information", "1", "lower", "the same with the speaker in the phone's place", low=-0.2, high=1.05),
        Metric("speaker_accuracy", "1", "lower", "held-out speakers told by logistic regression on an utterance's counts", low=0, high=1),
        Metric("bits_per_frame", "bit", "lower", "log2 of the number of codes", low=0),
        Metric("code_entropy", "bit", "lower", "entropy of the codes on held-out frames", low=0),
        Metric("used_codes", "1", "higher", "share of codes that occur on held-out frames", low=0, high=1),
        Metric("fit_seconds", "s", "lower", "CPU seconds to fit", low=0),
    )

    def data_fingerprint(self) -> str:
        return hashlib.sha256(GENERATOR.encode()).hexdigest()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, FrameEncoder)
        streams = self.streams(seed)
        train, test = draw(self.utterances, streams.numpy("data"))
        with one_thread():
            started = time.thread_time()
            codes = method.fit(train.frames.copy(), self.ahead, streams.numpy("method"))
            seconds = time.thread_time() - started
            found = [checked_codes(codes, part.frames, method.name) for part in (train, test)]
        error = self._error(codes.predictions[found[1]], test.frames) / self._error(
            np.median(train.frames.reshape(-1, FEATURES), 0)[None, None], test.frames
        )
        counts = np.bincount(found[1].ravel(), minlength=codes.size)
        return Measured(
            {
                "prediction_error": error,
                "phone_accuracy": phone_accuracy(found[0], train.phones, found[1], test.phones, codes.size),
                "phone_information": information(found[1], test.phones) / entropy(np.bincount(test.phones.ravel())),
                "speaker_information": information(found[1], test.speakers[:, None]) / entropy(np.bincount(test.speakers)),
                "speaker_accuracy": speaker_accuracy(found[0], train, found[1], test, codes.size),
                "bits_per_frame": float(np.log2(codes.size)),
                "code_entropy": entropy(counts),
                "used_codes": float((counts > 0).mean()),
                "fit_seconds": seconds,
            },
            info={"chance": {"phone": 1 / PHONES, "speaker": 1 / SPEAKERS}},
        )

    def _error(self, predicted: np.ndarray, frames: np.ndarray) -> float:
        """Mean absolute error of frames [n, t, d] predicted `ahead` frames before they come."""
        predicted = np.broadcast_to(predicted, frames.shape)
        return float(np.abs(predicted[:, : -self.ahead].astype(np.float64) - frames[:, self.ahead :]).mean())


def checked_codes(codes: FrameCodes, frames: np.ndarray, name: str) -> np.ndarray:
    """Codes [n, t] of the frames; InvalidResult when they are no codes, can't predict, or depend on frames that come later."""
    if codes.predictions.shape != (codes.size, FEATURES) or not np.isfinite(codes.predictions).all():
        raise InvalidResult(f"{name}: predictions must be finite, one frame of {FEATURES} features for each of the {codes.size} codes.")
    found = np.asarray(codes.encode(frames.copy()))
    if found.shape != frames.shape[:2] or not np.issubdtype(found.dtype, np.integer) or found.min() < 0 or found.max() >= codes.size:
        raise InvalidResult(f"{name}: encode must return an integer below {codes.size} for every frame.")
    half = FRAMES // 2
    early = np.asarray(codes.encode(frames[:, :half].copy()))
    # A near tie may fall the other way when sums are taken in another order; looking ahead changes far more.
    if early.shape != (len(frames), half) or (early != found[:, :half]).mean() > 1e-3:
        raise InvalidResult(f"{name}: codes of the first {half} frames change when later frames are cut off: the encoder looks ahead.")
    return found.astype(np.int64)


def phone_accuracy(train: np.ndarray, train_phones: np.ndarray, test: np.ndarray, test_phones: np.ndarray, size: int) -> float:
    """The best probe that sees one code: its commonest phone in training."""
    table = np.zeros((size, PHONES))
    np.add.at(table, (train.ravel(), train_phones.ravel()), 1)
    return float((table.argmax(1)[test] == test_phones).mean())


def speaker_accuracy(train: np.ndarray, told: Speech, test: np.ndarray, asked: Speech, size: int) -> float:
    """Logistic regression from the shares of codes in an utterance to its speaker."""
    from sklearn.linear_model import LogisticRegression

    def shares(codes: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(row, minlength=size) for row in codes]) / codes.shape[1]

    return float(LogisticRegression(C=100.0, max_iter=1000).fit(shares(train), told.speakers).score(shares(test), asked.speakers))


def entropy(counts: np.ndarray) -> float:
    """Of the empirical distribution, in bits."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def information(codes: np.ndarray, labels: np.ndarray) -> float:
    """Mutual information of codes [n, t] and labels that broadcast to them, in bits: plug-in estimates of the three entropies, each with
    the Miller-Madow correction (occupied cells - 1) / (2 n ln 2), without which many codes seem to know more."""
    codes, labels = (part.ravel() for part in np.broadcast_arrays(codes, labels))
    joint = np.zeros((codes.max() + 1, labels.max() + 1))
    np.add.at(joint, (codes, labels), 1)
    parts = [(joint.sum(1), 1), (joint.sum(0), 1), (joint.ravel(), -1)]
    return sum(sign * (entropy(counts) + ((counts > 0).sum() - 1) / (2 * codes.size * np.log(2))) for counts, sign in parts)
