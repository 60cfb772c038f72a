"""Mixed precision: which layers of the language model deserve more bits?"""

from __future__ import annotations

import time
from typing import ClassVar

import torch
from pydantic import Field

from tasks.api import Context, Fixture, Measured, Method, Metric
from tasks.errors import InvalidResult
from tasks.quantization.allocation import OPTIONS, BitAllocator, Budget, exact_optimum
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.curvature import ByteGptCurvature
from tasks.quantization.evaluate import Quantised, decoding, measure, rebuild
from tasks.quantization.lm_task import LanguageModelTask
from tasks.quantization.methods.higgs import Higgs
from tasks.quantization.sensitivity import ByteGptSensitivity


class MixedPrecision(
    LanguageModelTask,
    name="mixed-precision",
    label="Mixed-precision allocation",
    accepts=(BitAllocator,),
    timeout=600.0,
    seconds=4.0,
):
    """Distribute an average number of code bits over the matrices of a byte-level GPT; every matrix is then quantised by HIGGS with p=1.

    The problem handed to the allocator carries each layer's sensitivity, estimated on training text. The evaluator checks the budget,
    quantises and measures on held-out windows. A seed is a model, its sensitivities, evaluation windows and the rotations' signs.
    """

    average: float = Field(3.0, ge=2.0, le=8.0, description="average code bits per weight; scales cost 1/8 bit more")

    check_params: ClassVar = {"preset": "smoke", "models": 1, "windows": 8}
    metrics: ClassVar = (
        Metric(
            "bits_per_byte_increase",
            "bit/byte",
            "lower",
            "held-out cross-entropy of the quantised model minus that of its float32 base on the same windows",
            primary=True,
        ),
        Metric("kl", "bit/byte", "lower", "mean divergence KL(float32 || quantised) of the next-byte distributions", low=-1e-6),
        Metric("bits_per_weight", "bit/weight", "lower", "bits of everything stored for the quantised matrices per weight", low=0),
        Metric("predicted_increase", "bit/byte", "none", "sum of alpha t^2 over the layers, alpha from noise on training text"),
        Metric(
            "objective_excess",
            "1",
            "lower",
            "predicted increase over that of the exact optimum of the method's objective, minus 1",
            low=-1e-9,
        ),
        Metric("allocate_seconds", "s", "lower", "CPU seconds of the allocation, sensitivities not included", low=0),
    )

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        base = self.base(seed)
        return (base, ByteGptSensitivity(base=base), ByteGptCurvature(base=base))

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, BitAllocator)
        sensitivity = context.fixture(ByteGptSensitivity(base=self.base(seed)))
        with one_thread(), torch.no_grad():
            model = context.fixture(self.base(seed))
            sizes = {name: layer.weight.numel() for name, layer in model.matrices().items()}
            chosen = (
                context.fixture(ByteGptCurvature(base=self.base(seed)))
                if method.sensitivity == "hessian"
                else sensitivity.of(method.sensitivity)
            )
            # A sensitivity below zero is noise of the estimate: such a layer costs nothing.
            problem = Budget(sizes, {name: max(0.0, alpha) for name, alpha in chosen.items()}, self.average)
            started = time.thread_time()
            allocation = method.allocate(problem)
            seconds = time.thread_time() - started
            check_allocation(allocation, problem, method.name)
            generator = self.streams(seed).torch("method")
            layers = {}
            with decoding(Higgs) as decode:
                for name, layer in model.matrices().items():
                    quantizer = Higgs(bits=allocation[name], p=1, group=128)
                    layers[name] = rebuild(decode, quantizer.quantize(layer.weight.detach().clone(), None, generator), layer.weight, name)
            windows, truth = self.held_out(model, seed)
            metrics, info = measure(model, Quantised(layers, seconds), windows, truth)
        optimum = exact_optimum(problem)
        noise = Budget(sizes, sensitivity.noise, self.average)
        return Measured(
            {
                "bits_per_byte_increase": metrics["bits_per_byte_increase"],
                "kl": metrics["kl"],
                "bits_per_weight": metrics["bits_per_weight"],
                "predicted_increase": noise.predicted(allocation),
                "objective_excess": problem.predicted(allocation) / optimum - 1 if optimum > 0 else 0.0,
                "allocate_seconds": seconds,
            },
            info={"model_seed": self.base(seed).seed, "allocation": allocation, "float32_bits_per_byte": info["float32_bits_per_byte"]},
        )


def check_allocation(allocation: dict[str, int], problem: Budget, name: str) -> None:
    """Raise InvalidResult unless every layer has one of the options and the budget holds."""
    if set(allocation) != set(problem.sizes):
        raise InvalidResult(f"{name}: the allocation must name exactly the layers of the problem.")
    if wrong := {layer: bits for layer, bits in allocation.items() if bits not in OPTIONS}:
        raise InvalidResult(f"{name}: {wrong} are not among the options {OPTIONS}.")
    if problem.cost(allocation) > problem.capacity:
        raise InvalidResult(f"{name}: {problem.cost(allocation)} units of {problem.unit} bits exceed the budget of {problem.capacity}.")
