"""A stand-in for speech: a hidden Markov chain of phones that several speakers utter, each with an offset of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Name and version of the generator: raise the version when a draw changes.
GENERATOR = "assay phones 1"
PHONES, SPEAKERS, FEATURES, FRAMES = 16, 8, 16, 100
SUCCESSORS = 3  #: phones that can follow a phone
STAY = 0.8  #: probability that a phone lasts another frame: five frames on average
OFFSET, NOISE, MEMORY = 0.5, 0.6, 0.7  #: deviation of a speaker's offset and of the noise (phones: 1); autocorrelation of the noise


@dataclass(frozen=True)
class Speech:
    """Utterances: `frames` [n, FRAMES, FEATURES] float32, the phone of each frame [n, FRAMES], the speaker of each utterance [n]."""

    frames: np.ndarray
    phones: np.ndarray
    speakers: np.ndarray


def draw(count: int, rng: np.random.Generator) -> tuple[Speech, Speech]:
    """Training and held-out utterances of the same speakers in the same language, `count` each; a draw makes its own language."""
    means = rng.normal(size=(PHONES, FEATURES))
    offsets = OFFSET * rng.normal(size=(SPEAKERS, FEATURES))
    followers = np.stack([rng.permutation(np.delete(np.arange(PHONES), phone))[:SUCCESSORS] for phone in range(PHONES)])
    train, test = (_utter(count, means, offsets, followers, rng) for _ in range(2))
    return train, test


def _utter(count: int, means: np.ndarray, offsets: np.ndarray, followers: np.ndarray, rng: np.random.Generator) -> Speech:
    speakers = rng.permutation(np.arange(count) % SPEAKERS)
    phones = np.empty((count, FRAMES), dtype=np.int64)
    noise = np.empty((count, FRAMES, FEATURES))
    phones[:, 0], noise[:, 0] = rng.integers(PHONES, size=count), NOISE * rng.normal(size=(count, FEATURES))
    for t in range(1, FRAMES):
        next_phone = followers[phones[:, t - 1], rng.integers(SUCCESSORS, size=count)]
        phones[:, t] = np.where(rng.random(count) < STAY, phones[:, t - 1], next_phone)
        fresh = NOISE * np.sqrt(1 - MEMORY**2) * rng.normal(size=(count, FEATURES))
        noise[:, t] = MEMORY * noise[:, t - 1] + fresh
    return Speech((means[phones] + offsets[speakers][:, None] + noise).astype(np.float32), phones, speakers)
