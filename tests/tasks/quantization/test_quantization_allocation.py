"""Bit allocation against brute force and integer programming; sensitivities against their definition; claims against the suite."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from kernels.quantization.grids import distortion, lloyd_max
from tasks.errors import InvalidResult
from tasks.quantization.allocation import OPTIONS, BitAllocator, Budget, exact_optimum
from tasks.quantization.byte_gpt import windows_of
from tasks.quantization.claims import CLAIMS
from tasks.quantization.corpus import standard_library
from tasks.quantization.curvature import hessian_coefficients
from tasks.quantization.gpt import Gpt, initialise, loss_of, train
from tasks.quantization.methods.allocate_dp import DynamicProgramming
from tasks.quantization.methods.allocate_greedy import Greedy
from tasks.quantization.methods.allocate_uniform import Uniform
from tasks.quantization.methods.allocate_waterfill import WaterFilling
from tasks.quantization.mixed_precision import MixedPrecision, check_allocation
from tasks.quantization.sensitivity import fisher_coefficients, noise_coefficients
from tasks.registry import REGISTRY
from tasks.testing import LocalContext

ALLOCATORS = [Uniform(), DynamicProgramming(), Greedy(), WaterFilling()]


def problem(seed: int, layers: int = 5, average: float = 3.2) -> Budget:
    rng = np.random.default_rng(seed)
    names = [f"l{i}" for i in range(layers)]
    sizes = dict(zip(names, (rng.integers(1, 5, layers) * 1024).tolist(), strict=True))
    return Budget(sizes, dict(zip(names, np.exp(rng.normal(0, 1.5, layers)).tolist(), strict=True)), average)


def brute_force(budget: Budget) -> float:
    candidates = (dict(zip(budget.sizes, bits, strict=True)) for bits in itertools.product(OPTIONS, repeat=len(budget.sizes)))
    return min(budget.predicted(each) for each in candidates if budget.cost(each) <= budget.capacity)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("average", [2.0, 2.7, 4.1])
def test_dp_and_integer_programming_equal_brute_force(seed: int, average: float):
    budget = problem(seed, 4, average)
    best = brute_force(budget)
    assert budget.predicted(DynamicProgramming().allocate(budget)) == pytest.approx(best, rel=1e-12)
    assert exact_optimum(budget) == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("allocator", ALLOCATORS, ids=lambda each: each.name)
@pytest.mark.parametrize("seed", range(8))
def test_every_allocator_keeps_the_budget_and_never_beats_the_optimum(allocator: BitAllocator, seed: int):
    budget = problem(seed, 12, 2.0 + 0.6 * seed)
    allocation = allocator.allocate(budget)
    check_allocation(allocation, budget, allocator.name)
    assert budget.predicted(allocation) >= exact_optimum(budget) * (1 - 1e-9)


def test_equal_layers_get_equal_bits():
    budget = Budget({"a": 64, "b": 64}, {"a": 1.0, "b": 1.0}, 4.0)
    for allocator in ALLOCATORS:
        assert allocator.allocate(budget) == {"a": 4, "b": 4}, allocator.name


def test_prediction_uses_the_grid_constants():
    budget = Budget({"a": 64, "b": 64}, {"a": 2.0, "b": 1.0}, 4.0)
    assert budget.predicted({"a": 4, "b": 2}) == pytest.approx(2 * distortion(lloyd_max(16)) + distortion(lloyd_max(4)))


@pytest.mark.parametrize(
    ("allocation", "message"),
    [({"a": 8, "b": 8}, "exceed the budget"), ({"a": 7, "b": 2}, "not among the options"), ({"a": 4}, "exactly the layers")],
)
def test_a_broken_allocation_is_refused(allocation: dict[str, int], message: str):
    with pytest.raises(InvalidResult, match=message):
        check_allocation(allocation, Budget({"a": 64, "b": 64}, {"a": 1.0, "b": 1.0}, 4.0), "mine")


def small_model() -> tuple[Gpt, torch.Tensor]:
    torch.manual_seed(0)
    model = Gpt(16, 1, 2, 8)
    initialise(model, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in model.matrices().values():
            layer.weight.mul_(20)
    return model.requires_grad_(False), torch.randint(0, 256, (64, 9), generator=torch.Generator().manual_seed(1))


def test_fisher_coefficients_equal_the_trace_from_per_position_gradients():
    """The exact Fisher trace: expectation over the model's own labels, position by position."""
    model, windows = small_model()
    windows = windows[:3]
    name, layer = list(model.matrices().items())[2]
    layer.weight.requires_grad_(True)
    trace = 0.0
    for window in windows.split(1):
        logits = model(window[:, :-1])[0]
        for position in logits:
            log_probabilities = position.log_softmax(-1)
            for label in range(256):
                (gradient,) = torch.autograd.grad(log_probabilities[label], layer.weight, retain_graph=True)
                trace += float(log_probabilities[label].detach().exp() * gradient.square().sum())
    layer.weight.requires_grad_(False)
    exact = 0.5 * trace / 24 * float(layer.weight.square().mean()) / np.log(2)
    sampled = fisher_coefficients(model, windows.repeat(60, 1), torch.Generator().manual_seed(2))[name]
    assert sampled == pytest.approx(exact, rel=0.1)


def test_hessian_coefficients_equal_the_traces_of_explicit_hessians():
    model, windows = small_model()
    windows = windows[:4]
    estimated = hessian_coefficients(model, windows, 1000, torch.Generator().manual_seed(3))
    for layer in model.matrices().values():
        layer.weight.requires_grad_(False)
    name = max(estimated, key=lambda name: abs(estimated[name]))
    layer = model.matrices()[name]
    start = layer.weight.detach().clone()

    def loss(weight: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(model, {f"{name}.weight": weight}, (windows[:, :-1],))
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(loss, start).view(start.numel(), -1)
    exact = float(hessian.trace() * start.square().mean()) / 2 / np.log(2)
    assert estimated[name] == pytest.approx(exact, rel=0.2)  # three standard errors


def test_noise_coefficients_predict_fresh_noise_and_restore_the_weights():
    torch.set_num_threads(1)
    model = Gpt(32, 1, 2, 32)
    initialise(model, torch.Generator().manual_seed(0))
    train(model, standard_library().train, 80, 8, np.random.default_rng(0))  # an untrained model hardly reacts to noise
    model.requires_grad_(False)
    windows = windows_of(standard_library().train, 32, 64, np.random.default_rng(1))
    before = {name: layer.weight.clone() for name, layer in model.matrices().items()}
    estimates = [noise_coefficients(model, windows, torch.Generator().manual_seed(seed)) for seed in range(8)]
    assert all(torch.equal(layer.weight, before[name]) for name, layer in model.matrices().items())
    base = float(loss_of(model, windows))
    alpha = {name: float(np.mean([estimate[name] for estimate in estimates])) for name in before}
    name = max(alpha, key=lambda name: abs(alpha[name]))
    rises = []
    for seed in range(40):
        noise = torch.randn(before[name].shape, generator=torch.Generator().manual_seed(100 + seed))
        noise *= 0.02**0.5 * before[name].norm() / noise.norm()
        for sign in (1, -1):
            model.matrices()[name].weight.copy_(before[name] + sign * noise)
            rises.append((float(loss_of(model, windows)) - base) / np.log(2))
    assert np.mean(rises) == pytest.approx(0.02 * alpha[name], rel=0.35)


def test_mixed_precision_counts_what_was_allocated(tmp_path: Path):
    task = MixedPrecision(preset="smoke", models=1, windows=8, average=3.0)
    measured = task.run(Uniform(), 0, LocalContext(tmp_path))
    assert set(measured.info["allocation"].values()) == {3}
    # Groups of 128 over 64 or 256 inputs: a 64-wide matrix is padded to twice its size.
    assert measured.metrics["bits_per_weight"] > 3.125
    dp = task.run(DynamicProgramming(), 0, LocalContext(tmp_path))
    assert dp.metrics["objective_excess"] == pytest.approx(0, abs=1e-6)


def test_every_claim_names_a_task_a_metric_methods_and_parameters_that_exist():
    REGISTRY.load_family("quantization")
    for claim in CLAIMS:
        task = REGISTRY.tasks[claim.task]
        task(**claim.task_params)
        names = {metric.id for metric in task.metrics}
        assert claim.metric in names, claim.id
        assert claim.options.get("predicted", claim.metric) in names, claim.id
        for arm in (claim.a, claim.b):
            if arm is not None:
                method = REGISTRY.methods[arm.method]
                assert issubclass(method, task.accepts), claim.id
                assert method(**arm.params).infeasible() is None, claim.id


def test_every_claim_is_served_by_the_familys_suite():
    """Each arm matches a configuration that the standard suite runs."""
    suite = yaml.safe_load((Path(__file__).parents[3] / "harness/suites/quantization.yaml").read_text())
    run: dict[str, list[tuple[str, dict]]] = {}
    for block in suite["tasks"]:
        for entry in block["methods"]:
            entry = {"method": entry} if isinstance(entry, str) else entry
            sweep = entry.get("sweep", {})
            points = entry.get("zip") or [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]
            for point in points:
                method = REGISTRY.method(entry["method"], "quantization")
                run.setdefault(block["task"], []).append((method.id(), method(**entry.get("params", {}), **point).params()))
    for claim in CLAIMS:
        for arm in (claim.a, claim.b):
            if arm is not None:
                found = [params for id, params in run[claim.task] if id == arm.method and dict(arm.params).items() <= params.items()]
                assert len(found) == 1, (claim.id, arm, len(found))
