"""The task `pruning/digits-oneshot`: prune a trained network to six sparsities without training it again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from kernels.mlp import Mlp
from tasks.api import Context, Measured, Method, Metric, Task
from tasks.datasets import digits, digits_fingerprint
from tasks.errors import InvalidResult
from tasks.pruning.base_model import PruningBaseModel
from tasks.pruning.protocol import Pruner, TrainingData

#: Percent of weights that must be zero.
SPARSITIES = (50, 70, 80, 90, 95, 98)

#: Hidden widths of the network that is pruned.
NETWORKS: dict[str, tuple[int, ...]] = {"mlp": (256, 128), "narrow": (64, 32)}


class DigitsOneShot(
    Task, family="pruning", name="digits-oneshot", label="One-shot pruning, digits", accepts=(Pruner,), timeout=300, seconds=0.5
):
    """One-shot unstructured pruning of an MLP trained on 1,000 of scikit-learn's digits, to 50, 70, 80, 90, 95 and 98 % zeros.

    The network has 50,432 weights (64-256-128-10), or 6,464 (narrow: 64-64-32-10). The method sees it and its training data and returns the
    weights for every sparsity; biases are kept. The task counts the nonzeros and measures accuracy on the 797 other digits.
    """

    metrics = (
        Metric(
            "sparsity_auc",
            "1",
            "higher",
            "area under test accuracy over sparsity, 50 to 98 %, divided by its width",
            primary=True,
            low=0,
            high=1,
        ),
        *(Metric(f"accuracy_at_{s}", "1", "higher", f"test accuracy with {s} % of the weights pruned", low=0, high=1) for s in SPARSITIES),
        *(Metric(f"nonzeros_at_{s}", "weights", "none", f"nonzero weights counted at {s} %", low=0) for s in SPARSITIES),
        Metric("dense_accuracy", "1", "none", "test accuracy of the network before pruning", low=0, high=1),
        Metric("prune_seconds", "s", "lower", "processor time of pruning to all sparsities", low=0),
        Metric("accuracy", "1", "higher", "test accuracy at each sparsity", curve="sparsity (%)", low=0, high=1),
    )

    check_params: ClassVar[Mapping[str, Any]] = {"network": "narrow"}

    network: Literal["mlp", "narrow"] = Field("mlp", description="mlp: 64-256-128-10; narrow: 64-64-32-10")

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def fixtures(self, seed: int) -> tuple[PruningBaseModel, ...]:
        return (PruningBaseModel(hidden=NETWORKS[self.network], seed=seed),)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, Pruner)
        fixture = self.fixtures(seed)[0]
        network: Mlp = context.fixture(fixture)
        images, labels = digits()
        train, test = fixture.split()
        weights = sum(weight.size for weight in network.weights)
        keep = [weights * (100 - sparsity) // 100 for sparsity in SPARSITIES]
        start = time.process_time()
        results = method.prune(network, TrainingData(images[train], labels[train]), keep, self.streams(seed).numpy("method"))
        seconds = time.process_time() - start

        def accuracy(candidate: Mlp) -> float:
            return float((candidate.logits(images[test]).argmax(axis=1) == labels[test]).mean())

        pruned = checked_networks(network, results, keep)
        curve = [accuracy(candidate) for candidate in pruned]
        steps = [float(sparsity) for sparsity in SPARSITIES]
        return Measured(
            {
                "sparsity_auc": float(np.trapezoid(curve, steps)) / (steps[-1] - steps[0]),
                **{f"accuracy_at_{s}": value for s, value in zip(SPARSITIES, curve, strict=True)},
                **{f"nonzeros_at_{s}": float(nonzeros(candidate)) for s, candidate in zip(SPARSITIES, pruned, strict=True)},
                "dense_accuracy": accuracy(network),
                "prune_seconds": seconds,
            },
            curves={"accuracy": (steps, curve)},
        )


def nonzeros(network: Mlp) -> int:
    """How many weights are not zero, biases left aside."""
    return sum(int(np.count_nonzero(weight)) for weight in network.weights)


def checked_networks(dense: Mlp, results: Any, keep: Sequence[int]) -> list[Mlp]:
    """One network per budget from what a pruner returned, or InvalidResult: wrong shapes, not finite, too dense."""
    if not isinstance(results, Sequence) or len(results) != len(keep):
        found = f"{len(results)} results" if isinstance(results, Sequence) else type(results).__name__
        raise InvalidResult(f"The pruner returned {found} where one per sparsity ({len(keep)}) was due.")
    networks = []
    for sparsity, count, layers in zip(SPARSITIES, keep, results, strict=True):
        try:
            weights = tuple(np.asarray(layer, dtype=np.float32) for layer in layers)
        except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor that requires grad
            raise InvalidResult(f"At {sparsity} % the pruner returned something that is not a list of weight arrays ({error}).") from None
        shapes, due = [weight.shape for weight in weights], [weight.shape for weight in dense.weights]
        if shapes != due:
            raise InvalidResult(f"At {sparsity} % the pruner returned weights of shapes {shapes} where {due} were due.")
        if not all(np.isfinite(weight).all() for weight in weights):
            raise InvalidResult(f"At {sparsity} % the pruner returned weights that are not finite.")
        network = Mlp(weights, dense.biases)
        if nonzeros(network) > count:
            raise InvalidResult(f"At {sparsity} % the pruner kept {nonzeros(network)} weights; at most {count} may be nonzero.")
        networks.append(network)
    return networks
