"""Compressed training data: bounds hold, bytes come back, quality is measured on untouched inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InvalidResult
from tasks.quantization.methods.data_lossless import Lossless
from tasks.quantization.methods.data_raw import Raw
from tasks.quantization.methods.data_rows import RowSample
from tasks.quantization.methods.data_truncate import Truncated
from tasks.quantization.methods.data_uniform import ErrorBounded
from tasks.quantization.training_data import InputCompressor, TrainingData, entropy_coded, entropy_decoded, table


def through(method: InputCompressor, x: np.ndarray) -> tuple[np.ndarray, int]:
    data = method.compress(x)
    return type(method).decompress(data, x.shape), len(data)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 31), st.integers(0, 1000))
def test_entropy_coding_comes_back(rows: int, columns: int, bits: int, seed: int):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (rows, columns))
    np.testing.assert_array_equal(entropy_decoded(entropy_coded(codes), codes.shape), codes)


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "digits", "iris", "diabetes"])
@pytest.mark.parametrize("bound", [0.001, 0.05, 0.2])
def test_no_entry_breaks_the_bound(name, bound: float):
    x, _ = table(name)
    rebuilt, size = through(ErrorBounded(bound=bound), x)
    assert bool((np.abs(rebuilt.astype(np.float64) - x) <= bound * np.ptp(x.astype(np.float64), axis=0)).all())
    assert size < x.nbytes


def test_lossless_and_raw_are_exact_for_any_sign():
    x = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    for method in (Lossless(), Raw()):
        np.testing.assert_array_equal(through(method, x)[0], x)
    assert through(Raw(), x)[1] == x.nbytes


@pytest.mark.parametrize("mantissa", [0, 3, 22])
def test_truncation_errs_by_at_most_half_a_unit_in_the_last_place(mantissa: int):
    x = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32) * 1e3
    rebuilt, _ = through(Truncated(mantissa=mantissa), x)
    assert float(np.max(np.abs(rebuilt - x) / np.abs(x))) <= 2.0 ** -(mantissa + 1)


def test_constant_columns_survive():
    x = np.ones((20, 3), dtype=np.float32) * np.array([0, 5, -2], dtype=np.float32)
    np.testing.assert_array_equal(through(ErrorBounded(), x)[0], x)


def test_uncompressed_data_lose_nothing_and_coarse_data_lose_something():
    raw = TrainingData(dataset="digits").run(Raw(), 0, None).metrics
    assert raw["quality_loss"] == 0
    assert raw["compression_ratio"] == 1
    coarse = [TrainingData(dataset="digits").run(ErrorBounded(bound=0.49), seed, None).metrics for seed in range(3)]
    assert np.mean([each["quality_loss"] for each in coarse]) > 0.005
    assert min(each["compression_ratio"] for each in coarse) > 20


def test_seeds_split_and_methods_share_the_split():
    task = TrainingData(dataset="diabetes")
    first, again, other = (task.run(Raw(), seed, None) for seed in (0, 0, 1))
    lossless = task.run(Lossless(), 0, None)
    assert first.metrics["quality"] == again.metrics["quality"] == lossless.metrics["quality"]
    assert first.info["uncompressed_quality"] != other.info["uncompressed_quality"]


def test_row_sampling_equals_training_on_the_first_rows():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    task = TrainingData(dataset="wine")
    measured = task.run(RowSample(keep=4), 3, None).metrics
    x, y = table("wine")
    state = int(task.streams(3).numpy("data").integers(1 << 31))
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=state, stratify=y)
    scaler = StandardScaler().fit(x_train[:31])
    model = LogisticRegression(max_iter=2000).fit(scaler.transform(x_train[:31]), y_train[:31])
    assert measured["quality"] == model.score(scaler.transform(x_test), y_test)
    assert measured["compressed_share"] == 31 / 124
    assert measured["largest_error"] == 0
    with pytest.raises(InvalidResult, match="1 rows were kept, of fewer than two classes"):
        task.run(RowSample(keep=255), 0, None)


def test_a_compressor_that_returns_something_else_is_refused():
    class Bad(Raw):
        def compress(self, x):
            return x

    class Short(Raw):
        @staticmethod
        def decompress(data, shape):
            return np.zeros((1, 1))

    with pytest.raises(InvalidResult, match="must return bytes"):
        TrainingData().run(Bad(), 0, None)
    with pytest.raises(InvalidResult, match="finite values of shape"):
        TrainingData().run(Short(), 0, None)
