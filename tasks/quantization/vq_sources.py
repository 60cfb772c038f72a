"""Where the vectors of the vector-quantization task come from, and the least distortion that any code can have on them."""

from __future__ import annotations

from typing import Literal

import numpy as np

SourceName = Literal["gaussian", "correlated", "digits", "showers"]
DIMENSIONS: dict[SourceName, int] = {"gaussian": 8, "correlated": 8, "digits": 8, "showers": 48}
#: Name and version of the generators below: raise the version when a draw changes.
GENERATOR = "assay vector sources 1"
CORRELATION = 0.9


def draw(source: SourceName, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out vectors, [count, d] float32 each (digits: at most what there is)."""
    if source == "digits":
        from tasks.datasets import digits

        images = digits()[0][rng.permutation(len(digits()[0]))]
        # Image rows in pairs, columns in fours: eight patches of 2 x 4 pixels.
        patches = images.reshape(-1, 4, 2, 2, 4).transpose(0, 1, 3, 2, 4).reshape(len(images), 8, 8)
        cut = round(0.7 * len(images))
        train, test = (np.ascontiguousarray(part.reshape(-1, 8)) for part in (patches[:cut], patches[cut:]))
        return train[:count], test[:count]
    make = {"gaussian": _gaussian, "correlated": _correlated, "showers": showers}[source]
    return make(count, rng), make(count, rng)


def _gaussian(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(count, 8)).astype(np.float32)


def _correlated(count: int, rng: np.random.Generator) -> np.ndarray:
    return (rng.normal(size=(count, 8)) @ np.linalg.cholesky(ar1()).T).astype(np.float32)


def ar1() -> np.ndarray:
    """Covariance [8, 8] of the correlated source: 0.9^|i - j|."""
    place = np.arange(8)
    return CORRELATION ** np.abs(place[:, None] - place[None]).astype(np.float64)


def showers(count: int, rng: np.random.Generator) -> np.ndarray:
    """Energy shares [count, 48] of particle showers in 3 layers of 4x4 cells: 1 + Poisson(0.5) particles, exponential energies, Gaussian
    transverse profiles that widen with depth, a Gamma-like longitudinal profile, and Poisson(0.3) pile-up of mean energy 0.2 per cell."""
    centres = np.stack(np.meshgrid(np.arange(4) + 0.5, np.arange(4) + 0.5, indexing="ij"), -1).reshape(16, 2)
    energy = rng.poisson(0.3, size=(count, 3, 16)) * rng.exponential(0.2, size=(count, 3, 16))
    particles = 1 + rng.poisson(0.5, size=count)
    for k in range(int(particles.max())):
        alive = (particles > k).astype(np.float64)
        position = rng.uniform(0, 4, size=(count, 2))
        width = rng.uniform(0.4, 0.7, size=count)
        depth = rng.uniform(0.6, 2.4, size=count)
        total = rng.exponential(10.0, size=count) * alive
        for layer in range(3):
            spread = width * (1 + 0.4 * layer)
            profile = np.exp(-np.square(centres[None] - position[:, None]).sum(-1) / (2 * spread[:, None] ** 2))
            along = (layer + 1) ** depth * np.exp(-(layer + 1.0) * depth / 2)
            energy[:, layer] += total[:, None] * along[:, None] * profile / (2 * np.pi * spread[:, None] ** 2)
    flat = energy.reshape(count, 48)
    return np.asarray(flat / np.maximum(flat.sum(1, keepdims=True), 1e-12), dtype=np.float32)


def covariance(source: SourceName, test: np.ndarray) -> np.ndarray:
    """The source's covariance: exact for the Gaussian ones, that of the held-out vectors for the others."""
    if source == "gaussian":
        return np.eye(8)
    if source == "correlated":
        return ar1()
    return np.atleast_2d(np.cov(test.astype(np.float64).T))


def least_distortion(spectrum: np.ndarray, bits: float) -> float:
    """Least mean squared error over the variance of any code of `bits` per vector for a Gaussian vector whose covariance has these
    eigenvalues: reverse water-filling (Cover & Thomas, theorem 10.3.3). For N(0, I_d) it is 4^(-bits / d)."""
    spectrum = np.asarray(spectrum, dtype=np.float64)
    positive = spectrum[spectrum > 1e-12 * spectrum.max()]
    low, high = np.log(positive.min()) - 2 * np.log(2) * bits - 1, np.log(positive.max())
    for _ in range(200):
        level = np.exp((low + high) / 2)
        rate = 0.5 * np.log2(np.maximum(positive / level, 1)).sum()
        low, high = ((low + high) / 2, high) if rate > bits else (low, (low + high) / 2)
    return float(np.minimum(positive, np.exp(high)).sum() / spectrum.sum())
