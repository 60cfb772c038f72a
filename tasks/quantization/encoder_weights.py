"""Weight-only quantization of a pretrained sentence encoder."""

from __future__ import annotations

import copy
import hashlib
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.errors import InvalidResult
from tasks.quantization import encoder
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.docstrings import pairs, pairs_sha256
from tasks.quantization.evaluate import errors_of, gram_matrices, quantise
from tasks.quantization.protocol import Quantizer

TOP = 10


class EncoderWeights(
    Task, family="quantization", name="encoder-weights", label="Encoder weights", accepts=(Quantizer,), timeout=900.0, seconds=20.0
):
    """Quantise the 36 matrices of MiniLM-L6 (10.6 M weights) and compare its embeddings with the float32 model's.

    Texts are names and docstrings of the standard library: find the docstring of a name. Fidelity to float32 is the measure, because the
    retrieval score itself hardly reacts above 3 bits. A seed draws the evaluated pairs, disjoint calibration docstrings and the method's
    randomness; there is one model, so intervals over seeds speak about texts.
    """

    pairs: int = Field(300, ge=TOP, le=1500, description="evaluated (name, docstring) pairs")
    calibration: int = Field(256, ge=1, le=1500, description="calibration docstrings, disjoint from the evaluated ones")

    only: str = Field("", description="quantise only matrices whose name contains this, for instance 'down'")

    presets: ClassVar = {"quick": {"pairs": 50, "calibration": 32, "only": "blocks.0"}, "standard": {}}
    check_params: ClassVar = {"pairs": 10, "calibration": 4, "only": "blocks.0.query"}
    metrics: ClassVar = (
        Metric("cosine", "1", "higher", "mean cosine between quantised and float32 embeddings", primary=True, low=-1.0001, high=1.0001),
        Metric("top10_overlap", "fraction", "higher", "share of a query's ten best documents that stay among its ten best", low=0, high=1),
        Metric(
            "rank_correlation",
            "1",
            "higher",
            "mean Spearman correlation of a query's document scores with float32's",
            low=-1.0001,
            high=1.0001,
        ),
        Metric("mrr_change", "1", "higher", "mean reciprocal rank of the right docstring minus that of the float32 model", low=-1, high=1),
        Metric("bits_per_weight", "bit/weight", "lower", "bits of everything stored for the quantised matrices per weight", low=0),
        Metric(
            "output_error",
            "1",
            "lower",
            "||(Q(W)-W)x||^2 / ||Wx||^2 on the float32 model's inputs on the evaluated texts, mean over layers",
            low=0,
        ),
        Metric("weight_error", "1", "lower", "||Q(W)-W||^2 / ||W||^2, mean over layers", low=0),
        Metric("quantise_seconds", "s", "lower", "CPU seconds spent in the method's quantize, all layers", low=0),
    )

    def data_fingerprint(self) -> str:
        if encoder.missing():
            return "encoder not installed"
        return hashlib.sha256((encoder.weights_sha256() + pairs_sha256()).encode()).hexdigest()

    def infeasible(self, method: Method) -> str | None:
        if isinstance(method, Quantizer) and method.largest_inputs is not None and method.largest_inputs < 4 * encoder.WIDTH:
            return f"{method.label} handles layers of at most {method.largest_inputs} inputs; the encoder's have up to {4 * encoder.WIDTH}."
        return encoder.missing() or super().infeasible(method)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, Quantizer)
        streams = self.streams(seed)
        order = streams.numpy("data").permutation(len(pairs()))
        chosen, rest = order[: self.pairs], order[self.pairs : self.pairs + self.calibration]
        with one_thread(), torch.no_grad():
            model = encoder.pretrained()
            truth, grams = _reference(tuple(chosen.tolist()))
            quantised = quantise(method, model, lambda: [ids for _, ids in _grouped(rest, 1)], streams.torch("method"), self.only)
            if not quantised.layers:
                raise InvalidResult(f"No matrix of the encoder has {self.only!r} in its name; they are called blocks.0.query and so on.")
            rebuilt = copy.deepcopy(model)
            chosen_matrices = {name: layer for name, layer in rebuilt.matrices().items() if name in quantised.layers}
            for name, layer in chosen_matrices.items():
                layer.weight.copy_(quantised.layers[name].weight)
            found = torch.stack([encoder.embed(rebuilt, _grouped(chosen, side)) for side in (0, 1)])
            errors = [
                errors_of(layer.weight, quantised.layers[name].weight, grams[name])
                for name, layer in model.matrices().items()
                if name in quantised.layers
            ]
        weights = sum(layer.weight.numel() for layer in chosen_matrices.values())
        return Measured(
            {
                **fidelity(truth, found),
                "bits_per_weight": quantised.bits() / weights,
                "output_error": float(np.mean([error[1] for error in errors])),
                "weight_error": float(np.mean([error[0] for error in errors])),
                "quantise_seconds": quantised.seconds,
            },
            info={"float32_mrr": reciprocal_rank(truth[0] @ truth[1].T)},
        )


def _grouped(places: np.ndarray, side: int) -> list[tuple[list[int], Tensor]]:
    return encoder.batches(encoder.tokenize([pairs()[place][side] for place in places]))


@lru_cache(maxsize=2)
def _reference(places: tuple[int, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """float32 embeddings [2, pairs, 384] of queries and documents, and each layer's input Gram matrix on them."""
    model = encoder.pretrained()
    with gram_matrices(model) as grams:
        found = torch.stack([encoder.embed(model, _grouped(np.array(places), side)) for side in (0, 1)])
    return found, grams


def fidelity(truth: Tensor, found: Tensor) -> dict[str, float]:
    """How well embeddings [2, n, d] keep those of the float32 model: cosine, neighbours, ranks, retrieval."""
    scores, kept = truth[0] @ truth[1].T, found[0] @ found[1].T
    best, still = (part.topk(TOP, 1).indices for part in (scores, kept))
    overlap = (best[:, :, None] == still[:, None, :]).any(2).float().mean()
    ranks = [part.argsort(1).argsort(1).double() for part in (scores, kept)]
    centred = [rank - rank.mean(1, keepdim=True) for rank in ranks]
    correlation = (centred[0] * centred[1]).sum(1) / (centred[0].norm(dim=1) * centred[1].norm(dim=1))
    return {
        "cosine": float((truth * found).sum(2).mean()),
        "top10_overlap": float(overlap),
        "rank_correlation": float(correlation.mean()),
        "mrr_change": reciprocal_rank(kept) - reciprocal_rank(scores),
    }


def reciprocal_rank(scores: Tensor) -> float:
    """Mean reciprocal rank of document i for query i; a tie counts against it."""
    right = scores.diagonal()[:, None]
    return float((1 / (scores >= right).sum(1)).mean())
