"""Vector quantization: rate-distortion bounds, scikit-learn's k-means, and an evaluator that counts for itself."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch

from tasks.errors import InvalidResult
from tasks.quantization.lloyd import assign, lloyd
from tasks.quantization.methods.vq_autoencoder import FrameAutoencoder, _few_bits
from tasks.quantization.methods.vq_kmeans import KmeansVectors
from tasks.quantization.methods.vq_largest import LargestEntries
from tasks.quantization.methods.vq_product import Product
from tasks.quantization.methods.vq_residual import Residual
from tasks.quantization.methods.vq_residual_ema import ResidualAverages
from tasks.quantization.methods.vq_scalar import ScalarGrid
from tasks.quantization.methods.vq_sums import CellSums, _sums
from tasks.quantization.methods.vq_transform import TransformCoding
from tasks.quantization.vq import Code, VectorQuantization, _groups
from tasks.quantization.vq_sources import ar1, draw, least_distortion, showers

SMALL = VectorQuantization(vectors=4000)
METHODS = [KmeansVectors(codes=64), Residual(stages=2, codes=8), ResidualAverages(stages=2, codes=8, steps=50), Product(codes=8),
           ScalarGrid(), TransformCoding(), LargestEntries(count=2)]  # fmt: skip


def measured(method, source="gaussian", seed: int = 0, vectors: int = 4000) -> dict[str, float]:
    return dict(VectorQuantization(source=source, vectors=vectors).run(method, seed, None).metrics)


@pytest.mark.parametrize("bits", [0.5, 2.0, 8.0, 24.0])
def test_least_distortion_of_white_noise_is_shannons_formula(bits: float):
    assert least_distortion(np.ones(8), bits) == pytest.approx(4 ** (-bits / 8), rel=1e-9)


def test_least_distortion_of_a_correlated_source_is_the_geometric_mean_at_high_rate():
    spectrum = np.linalg.eigvalsh(ar1())
    assert least_distortion(spectrum, 40.0) == pytest.approx(np.exp(np.log(spectrum).mean()) * 4 ** (-40 / 8), rel=1e-9)
    assert least_distortion(spectrum, 0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("source", ["gaussian", "correlated"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_no_code_beats_the_rate_distortion_bound(method, source: str):
    """Up to the sampling error of 4000 held-out vectors."""
    assert measured(method, source)["excess_db"] > -0.15


def test_one_stage_equals_a_flat_codebook():
    flat, residual = (measured(method) for method in (KmeansVectors(codes=64), Residual(stages=1, codes=64)))
    assert {k: v for k, v in flat.items() if k != "fit_seconds"} == {k: v for k, v in residual.items() if k != "fit_seconds"}


def test_lloyd_is_as_good_as_scikit_learns_kmeans():
    from sklearn.cluster import KMeans

    x = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    ours = lloyd(x, 16, 100, np.random.default_rng(1))
    theirs = KMeans(16, n_init=1, init="random", random_state=0, max_iter=100).fit(x)
    np.testing.assert_array_equal(assign(x, theirs.cluster_centers_.astype(np.float32)), theirs.labels_)
    inertia = float(np.square(x - ours[assign(x, ours)]).sum())
    assert inertia < 1.05 * theirs.inertia_


def test_lloyd_from_scikit_learns_start_reaches_its_solution():
    from sklearn.cluster import KMeans

    x = np.random.default_rng(3).normal(size=(500, 2)).astype(np.float32)

    class Given:
        def permutation(self, n):
            return np.arange(n)

        def integers(self, n, size):
            return np.zeros(size, dtype=int)

    ours = lloyd(x, 8, 300, Given())
    theirs = KMeans(8, n_init=1, init=x[:8], max_iter=300, tol=0).fit(x)
    np.testing.assert_allclose(ours, theirs.cluster_centers_, atol=1e-3)


def test_lloyd_moves_dead_codewords_and_takes_few_rows():
    x = np.repeat(np.array([[0.0, 0.0], [5.0, 5.0]], dtype=np.float32), 50, 0)
    book = lloyd(x, 2, 50, np.random.default_rng(0))
    assert float(np.square(x - book[assign(x, book)]).sum()) == 0
    assert lloyd(x[:1], 4, 5, np.random.default_rng(0)).shape == (4, 2)


@pytest.mark.parametrize("method", [Residual, ResidualAverages])
def test_residual_distortion_falls_with_every_stage(method):
    errors = [measured(method(stages=stages, codes=16), seed=1)["distortion"] for stages in (1, 2, 3, 4)]
    assert all(later < 0.9 * earlier for earlier, later in pairwise(errors))


def test_order_of_methods_on_correlated_vectors():
    """Flat beats residual beats scalar at one bit per dimension; a rotation makes scalars good."""
    flat, residual, rotated, scalar = (
        measured(method, "correlated", vectors=10_000)["distortion"]
        for method in (KmeansVectors(), Residual(), TransformCoding(), ScalarGrid())
    )
    assert flat < residual < 0.5 * scalar
    assert rotated < 0.5 * scalar


def test_scalar_distortion_is_that_of_the_lloyd_max_grid():
    """The published distortion of four levels."""
    assert measured(ScalarGrid(levels=4), vectors=20_000)["distortion"] == pytest.approx(0.117482, rel=0.03)


@pytest.mark.parametrize("source", ["gaussian", "correlated", "digits", "showers"])
def test_sources_repeat_and_split(source):
    first, again = (draw(source, 200, np.random.default_rng(4)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0][:50], first[1][:50])


def test_digit_patches_put_together_are_the_images():
    from tasks.datasets import digits

    train, _ = draw("digits", 8, np.random.default_rng(0))
    image = digits()[0][np.random.default_rng(0).permutation(len(digits()[0]))[0]].reshape(8, 8)
    np.testing.assert_array_equal(train[0].reshape(2, 4), image[:2, :4])
    np.testing.assert_array_equal(train[1].reshape(2, 4), image[:2, 4:])
    np.testing.assert_array_equal(train[2].reshape(2, 4), image[2:4, :4])


def test_showers_are_shares_and_sums_agree_with_pooling():
    x = showers(100, np.random.default_rng(0))
    np.testing.assert_allclose(x.sum(1), 1, rtol=1e-5)
    assert (x >= 0).all()
    pooled = 4 * torch.nn.functional.avg_pool2d(torch.from_numpy(x).view(-1, 3, 4, 4), 2).flatten(1).numpy()
    np.testing.assert_allclose(_sums(x), pooled, atol=1e-6)
    np.testing.assert_allclose(x @ _groups("showers"), pooled, atol=1e-6)


def test_the_encoders_weights_take_no_more_values_than_their_bits_allow():
    weight = torch.randn(30, 30, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rounded = _few_bits(weight, 3)
    assert len(rounded.unique()) <= 7
    rounded.sum().backward()
    assert torch.equal(weight.grad, torch.ones(30, 30))


def test_training_through_the_rounding_beats_rounding_afterwards_at_three_bits():
    aware, after = (
        np.mean([measured(FrameAutoencoder(weight_bits=3, aware=aware, steps=300), "showers", seed)["distortion"] for seed in range(2)])
        for aware in (True, False)
    )
    assert aware < 0.9 * after


def test_frame_methods_name_the_frames_they_need():
    for method in (FrameAutoencoder(), CellSums()):
        assert "48 dimensions" in SMALL.infeasible(method)
        assert VectorQuantization(source="showers").infeasible(method) is None
    assert measured(CellSums(bits=8), "showers")["coarse_error"] < 1e-3
    assert measured(LargestEntries(count=48, bits=12), "showers")["distortion"] < 1e-3


def test_rates_are_counted_by_the_evaluator():
    assert measured(Residual(stages=3, codes=5))["bits_per_dimension"] == pytest.approx(3 * np.log2(5) / 8)
    assert measured(TransformCoding(bits=0))["distortion"] == pytest.approx(1, abs=0.01)
    assert measured(TransformCoding(bits=13), "correlated")["bits_per_dimension"] == pytest.approx(13 / 8)


def test_lies_are_refused():
    class Outside(KmeansVectors):
        def fit(self, x, rng):
            code = super().fit(x, rng)
            return Code(code.encode, (2,), code.tables)

    class Floats(KmeansVectors):
        def fit(self, x, rng):
            return Code(lambda vectors: vectors[:, :1], (256,), {})

    class Keeps(KmeansVectors):
        seen: ClassVar[list[np.ndarray]] = []

        def fit(self, x, rng):
            type(self).seen.append(x)
            return super().fit(x, rng)

        @staticmethod
        def decode(tables, indices):
            return Keeps.seen[0] if Keeps.seen else tables["book"][indices[:, 0]]

    class Infinite(KmeansVectors):
        @staticmethod
        def decode(tables, indices):
            return np.full((len(indices), 8), np.inf)

    with pytest.raises(InvalidResult, match="outside its size"):
        SMALL.run(Outside(codes=16), 0, None)
    with pytest.raises(InvalidResult, match="must return integers"):
        SMALL.run(Floats(), 0, None)
    with pytest.raises(InvalidResult, match="finite vectors"):
        SMALL.run(Infinite(), 0, None)
    assert measured(Keeps(codes=16))["distortion"] == measured(KmeansVectors(codes=16))["distortion"]
