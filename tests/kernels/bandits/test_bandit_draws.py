"""Counter-based random numbers and rank-one algebra against scipy and scikit-learn."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from decimal import Context, Decimal

import numpy as np
import pytest
from scipy import special, stats
from sklearn.linear_model import Ridge

from kernels.bandits import draws, exponential, linalg, thompson
from kernels.bandits.ridge import learn


def test_normal_quantile_agrees_with_scipy_ndtri():
    ps = np.concatenate([np.linspace(1e-12, 1 - 1e-12, 4001), 10.0 ** -np.arange(1, 300, 7)])
    ours = np.array([draws.normal_quantile(p) for p in ps])
    theirs = special.ndtri(ps)
    assert np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-2)) < 1e-13


def test_normals_in_a_block_are_the_single_ones_to_the_bit_in_the_far_tail_too():
    counters = np.arange(20_003, dtype=np.uint64) * np.uint64(0x10_0007)
    z = (41 * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64  # SplitMix64's finaliser: this key sends counter 41 to 64 zero bits
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    key = np.uint64(z ^ z >> 31)
    counters[7] = 41
    block = np.empty(counters.size)
    draws.normals(key, counters, block)
    assert block[7] == pytest.approx(special.ndtri(2.0**-53), rel=1e-13)
    np.testing.assert_array_equal(block, [draws.normal(key, 0, counter) for counter in counters])


@pytest.mark.parametrize("largest", [1e-20, 1e-3, 1.0, 40.0, 690.0])
def test_exp_agrees_with_decimal_arithmetic_to_052_units_in_the_last_place(largest):
    for x in np.random.default_rng(0).uniform(-largest, largest, 2000):
        exact, ours = Decimal(x).exp(Context(prec=40)), exponential.exp(x)
        assert abs(Decimal(ours) - exact) <= Decimal("0.52") * Decimal(math.ulp(ours))
    assert [exponential.exp(x) for x in (0.0, -0.0, -800.0, -math.inf)] == [1.0, 1.0, 0.0, 0.0]


def test_exp_has_the_bits_that_the_recorded_runs_were_made_with():
    """Importance weights amplify the last bit; glibc's exp with FMA gave these."""
    values = np.array([exponential.exp(-(2.0**-40) * k * k) for k in range(0, 24_000_000, 1201)])
    assert hashlib.sha256(values.tobytes()).hexdigest()[:16] == "32b4e967d8a32171"


def test_gamma_variates_of_first_attempts_are_those_of_the_rejection_loop_to_the_bit():
    """For shapes from 1 to 10^6; what the vector form leaves open it says, and that is little. Shapes below 1 it leaves open."""
    n, key = 40_000, 5
    shapes = 10.0 ** np.random.default_rng(0).uniform(0, 6, n)
    shapes[:10] = 0.5
    counters = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(1 << 20)
    z, level, work, d, c, x = np.empty(n), np.empty(n), np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n)
    thompson.first_attempts(key, counters, z, level, work)
    for i, shape in enumerate(shapes):
        thompson.set_shape(d, c, i, shape)
    unsettled = thompson.attempt(z, level, d, c, x)
    assert np.all(x[:10] == 0)
    assert unsettled == np.count_nonzero(x == 0) < 0.01 * n
    exact = np.array([draws.gamma(key, t, 0, shape) for t, shape in enumerate(shapes, 1)])
    np.testing.assert_array_equal(x[x > 0], exact[x > 0])


def test_uniforms_pass_kolmogorov_smirnov_and_stay_open():
    sample = np.array([draws.uniform(12345, t, i) for t in range(1, 2001) for i in range(5)])
    assert sample.min() > 0
    assert sample.max() < 1
    assert stats.kstest(sample, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("stride", ["round", "index", "key"])
def test_neighbouring_counters_and_keys_are_uncorrelated(stride):
    n = 20_000
    if stride == "round":
        a = np.array([draws.normal(7, t, 0) for t in range(n + 1)])
        x, y = a[:-1], a[1:]
    elif stride == "index":
        a = np.array([draws.normal(7, 1, i) for i in range(n + 1)])
        x, y = a[:-1], a[1:]
    else:
        x = np.array([draws.normal(7, t, 0) for t in range(n)])
        y = np.array([draws.normal(8, t, 0) for t in range(n)])
    assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(x**2, y**2)[0, 1]) < 4 / np.sqrt(n)


def test_bits_flip_half_of_the_output_when_one_input_bit_flips():
    flips = []
    for bit in range(40):
        for t in range(64):
            a, b = draws.bits(99, t, 3), draws.bits(99, t ^ (1 << bit), 3)
            flips.append(bin(int(a) ^ int(b)).count("1"))
    assert 31.5 < np.mean(flips) < 32.5


def _state(d, arms, lam, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((d, arms))
    features /= np.linalg.norm(features, axis=0)
    squared = np.empty(arms)
    linalg.squared_widths(features, np.eye(d) / lam, squared)
    return rng, features, [np.eye(d) * lam, np.eye(d) / lam, np.zeros(d), np.zeros(d), np.zeros(arms), squared]


@pytest.mark.parametrize("lam", [0.3, 1.0, 10.0])
def test_ridge_update_agrees_with_sklearn_ridge_and_explicit_widths(lam):
    d, arms = 7, 23
    rng, features, state = _state(d, arms, lam)
    chosen, targets = rng.integers(arms, size=200), rng.standard_normal(200)
    for n, (arm, target) in enumerate(zip(chosen, targets, strict=True), 1):
        learn(True, features, arm, target, 1.0, n, *state)
    _gram, inverse, _moments, theta, predictions, squared = state
    rows = features[:, chosen].T
    peer = Ridge(alpha=lam, fit_intercept=False, solver="cholesky").fit(rows, targets)
    exact = np.linalg.inv(rows.T @ rows + lam * np.eye(d))
    np.testing.assert_allclose(theta, peer.coef_, atol=1e-11)
    np.testing.assert_allclose(predictions, features.T @ peer.coef_, atol=1e-11)
    np.testing.assert_allclose(squared, np.einsum("ji,jk,ki->i", features, exact, features), atol=1e-12)
    assert np.array_equal(inverse, inverse.T)


@pytest.mark.parametrize(("lam", "tolerance"), [(0.3, 1e-12), (1.0, 1e-12), (1e-3, 1e-9)])
def test_summed_growth_of_the_determinant_agrees_with_numpy_slogdet(lam, tolerance):
    """What confidence radii use: ln det V / det(lam I), a logarithm per update."""
    d, arms = 7, 23
    rng, features, state = _state(d, arms, lam)
    chosen, targets, total = rng.integers(arms, size=2000), rng.standard_normal(2000), 0.0
    for n, (arm, target) in enumerate(zip(chosen, targets, strict=True), 1):
        total += math.log(learn(True, features, arm, target, 1.0, n, *state))
    rows = features[:, chosen].T
    assert total == pytest.approx(np.linalg.slogdet(rows.T @ rows / lam + np.eye(d)).logabsdet, rel=tolerance)


@pytest.mark.parametrize(("lam", "tolerance"), [(1.0, 1e-9), (1e-3, 1e-6)])
def test_drift_after_a_hundred_thousand_rank_one_updates_against_the_exact_inverse(lam, tolerance):
    d, arms = 16, 10  # fewer arms than dimensions: condition number 1e4 / lam
    rng, features, state = _state(d, arms, lam)
    chosen, targets = rng.integers(arms, size=100_000), rng.standard_normal(100_000)
    for n, (arm, target) in enumerate(zip(chosen, targets, strict=True), 1):
        learn(True, features, arm, target, 1.0, n, *state)
    gram, inverse, moments, theta, predictions, squared = state
    exact = np.linalg.inv(gram)
    assert np.linalg.norm(inverse - exact) / np.linalg.norm(exact) < tolerance
    np.testing.assert_allclose(squared, np.einsum("ji,jk,ki->i", features, exact, features), rtol=1e4 * tolerance)
    np.testing.assert_allclose(predictions, features.T @ theta, atol=1e2 * tolerance)
    np.testing.assert_allclose(theta, exact @ moments, atol=1e2 * tolerance)


def test_cholesky_update_agrees_with_numpy_factorisation():
    rng = np.random.default_rng(3)
    gram, lower = np.eye(6) * 0.5, np.eye(6) * np.sqrt(0.5)
    for _ in range(50):
        x = rng.standard_normal(6)
        gram += np.outer(x, x)
        linalg.cholesky_update(lower, x.copy())
    np.testing.assert_allclose(lower, np.linalg.cholesky(gram), atol=1e-11)


def test_inverse_agrees_with_numpy():
    rng = np.random.default_rng(4)
    root = rng.standard_normal((9, 9))
    gram, out = root @ root.T + np.eye(9), np.empty((9, 9))
    linalg.inverse(gram, out)
    np.testing.assert_allclose(out, np.linalg.inv(gram), atol=1e-12)


def test_argmax_takes_the_lowest_index_among_ties():
    assert linalg.argmax(np.array([0.0, 1.0, 1.0 + 1e-12, 0.5])) == 1
    assert linalg.argmax(np.array([2.0, 1.0])) == 0


def test_the_cache_is_shared_by_processes_and_named_after_the_sources(tmp_path):
    code = (
        "from kernels import compiling\n"
        "from kernels.bandits import draws\n"
        "draws.uniform(1, 2, 3)\n"
        "stats = draws.uniform.stats\n"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), compiling.cache_folder())"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    first, second = (run.stdout.split() for run in runs)
    assert first[:2] == ["0", "1"]
    assert second[:2] == ["1", "0"]
    assert first[2].startswith(str(tmp_path))
    assert list(tmp_path.rglob("*.nbi"))


def test_an_unwritable_cache_folder_is_no_obstacle(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code = "from kernels.bandits import draws; print(draws.uniform(1, 2, 3))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(blocked)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(run.stdout) == draws.uniform(1, 2, 3)
