"""Weight-only quantization of any Hugging Face causal language model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.errors import InvalidResult
from tasks.quantization import hf_model
from tasks.quantization.byte_gpt import windows_of
from tasks.quantization.evaluate import Decode, Layer, Quantised, decoding, rebuild
from tasks.quantization.hf_model import CausalLm, Unusable, batches, matrices, weight_of
from tasks.quantization.protocol import CALIBRATION, Inputs, Quantizer

SAMPLES = 4096  #: calibration tokens of a layer that a method sees one by one; the Gram matrix is over all of them
Forward = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class StreamedInputs(Inputs):
    """Inputs of a layer whose Gram matrix is over more tokens than `x` holds."""

    total: Tensor  #: E[x x^T], [in, in] float64

    @cached_property
    def gram(self) -> Tensor:
        return self.total


class HfLm(
    Task, family="quantization", name="hf-lm", label="Hugging Face language model", accepts=(Quantizer,), timeout=86400.0, seconds=600.0
):
    """Quantise the linear layers of every decoder layer of a causal language model; embeddings, norms, biases and head stay as they are.

    `text` is tokenised whole and cut into windows that don't overlap, as papers measure the perplexity of WikiText-2; a seed draws which
    windows are evaluated and which calibrate, and the method's randomness. Without `calibration_text` the first half of `text` calibrates
    and the second is evaluated. The model and its quantised copy run side by side, one decoder layer at a time: the device
    (`assay run --device cuda`) holds two layers, embeddings and head; memory holds the hidden states of all windows, twice.
    Both paths enter the trial's key as they are written, and so does the content of the files behind them.
    """

    model: str = Field("", description="folder of a checkpoint (safetensors), or a Hugging Face hub id")
    revision: str = Field("", description="branch, tag or commit on the hub; empty: its main branch")
    text: str = Field("", description="text to evaluate on, a file in UTF-8")
    calibration_text: str = Field("", description="text to calibrate on; empty: the first half of `text`")
    length: int = Field(2048, ge=8, description="tokens per window")
    windows: int = Field(64, ge=1, description="evaluated windows")
    calibration: int = Field(128, ge=1, description="calibration windows, for methods that want them")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of weights and hidden states while the model runs")
    only: str = Field("", description="quantise only matrices whose name contains this, for instance 'mlp'")

    presets: ClassVar = {"quick": {"windows": 8, "calibration": 8}, "standard": {}}
    check_params: ClassVar = {"length": 16, "windows": 2, "calibration": 2}
    metrics: ClassVar = (
        Metric(
            "bits_per_byte_increase",
            "bit/byte",
            "lower",
            "cross-entropy of the quantised model minus that of the original on the same windows, over the text's bytes per token",
            primary=True,
        ),
        Metric("perplexity", "1", "lower", "exp of the mean cross-entropy per token of the quantised model", low=1),
        Metric("perplexity_ratio", "1", "lower", "perplexity over that of the original", low=0),
        Metric("kl", "bit/byte", "lower", "mean divergence KL(original || quantised) of the next-token distributions", low=-1e-6),
        Metric("agreement", "1", "higher", "share of tokens for which both find the same next token likeliest", low=0, high=1),
        Metric("bits_per_weight", "bit/weight", "lower", "bits of everything stored for the quantised matrices per weight", low=0),
        Metric("quantised_share", "1", "none", "share of the model's parameters that were quantised", low=0, high=1),
        Metric("size_reduction", "1", "higher", "1 - bytes over those of the model in 16 bits; what is not quantised has 16 bits in both"),
        Metric("output_error", "1", "lower", "||(Q(W)-W)x||^2 / ||Wx||^2 on the original's inputs, mean over layers", low=0),
        Metric("weight_error", "1", "lower", "||Q(W)-W||^2 / ||W||^2, mean over layers", low=0),
        Metric("quantise_seconds", "s", "lower", "CPU seconds spent in the method's quantize, all layers", low=0),
    )

    def data_fingerprint(self) -> str:
        try:
            return hf_model.fingerprint(hf_model.folder_of(self.model, self.revision), [self.text, self.calibration_text or self.text])
        except (Unusable, ImportError) as problem:
            return f"no data: {problem}"

    def infeasible(self, method: Method) -> str | None:
        if problem := hf_model.missing():
            return problem
        try:
            context = hf_model.context_of(hf_model.folder_of(self.model, self.revision))
            if context and context < self.length:
                return f"{self.model} was made for {context} tokens; `length` asks for {self.length}."
            self._texts()
        except Unusable as problem:
            return str(problem)
        return super().infeasible(method)

    def _texts(self) -> tuple[Tensor, Tensor, float]:
        """Token ids to evaluate on and to calibrate on, and bytes per token of the former's text; Unusable when one is too short."""
        folder = hf_model.folder_of(self.model, self.revision)
        evaluated, bytes_per_token = hf_model.tokens_of(folder, self.text)
        if self.calibration_text:
            calibrating = hf_model.tokens_of(folder, self.calibration_text)[0]
        else:
            calibrating, evaluated = evaluated.tensor_split(2)
        parts = (("windows", self.text, evaluated), ("calibration", self.calibration_text or self.text, calibrating))
        for name, text, ids in parts:
            available, wanted = len(ids) // self.length, getattr(self, name)
            if available < wanted:
                part = "The text" if self.calibration_text else "Half of the text"
                raise Unusable(
                    f"{part} {text} has {available} windows of {self.length} tokens, {name}={wanted} asks for more: "
                    f"lower `{name}` or `length`, or name a longer text."
                )
        return evaluated, calibrating, bytes_per_token

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, Quantizer)
        streams = self.streams(seed)
        try:
            evaluated, calibrating, bytes_per_token = self._texts()
            chosen = windows_of(evaluated.numpy(), self.length - 1, self.windows, streams.numpy("eval"))
            calibration = windows_of(calibrating.numpy(), self.length - 1, self.calibration, streams.numpy("data"))
            with torch.no_grad():
                model = CausalLm(hf_model.folder_of(self.model, self.revision), context.device, getattr(torch, self.dtype))
                run = _Run(model, list(batches(chosen)), list(batches(calibration)), self.only)
                run.quantise(method, streams.torch("method"))
                found = run.compare()
        except Unusable as problem:
            raise InvalidResult(str(problem)) from problem
        quantised = run.quantised
        weights = sum(layer.weight.numel() for layer in quantised.layers.values())
        scale = 1 / (math.log(2) * bytes_per_token)
        return Measured(
            {
                "bits_per_byte_increase": (found["nats"] - found["original"]) * scale,
                "perplexity": math.exp(min(found["nats"], 700.0)),
                "perplexity_ratio": math.exp(min(found["nats"] - found["original"], 700.0)),
                "kl": found["kl"] * scale,
                "agreement": found["agreement"],
                "bits_per_weight": quantised.bits() / weights,
                "quantised_share": weights / model.parameters,
                "size_reduction": 1 - (quantised.bits() + 16 * (model.parameters - weights)) / (16 * model.parameters),
                "output_error": float(np.mean([error["output_error"] for error in run.errors.values()])),
                "weight_error": float(np.mean([error["weight_error"] for error in run.errors.values()])),
                "quantise_seconds": quantised.seconds,
            },
            info={
                "original_perplexity": round(math.exp(min(found["original"], 700.0)), 5),
                "bytes_per_token": round(bytes_per_token, 4),
                "device": context.device,
                "layers": run.errors,
            },
        )


class _Run:
    """The original and its quantised copy on their way through the layers, side by side."""

    def __init__(self, model: CausalLm, windows: list[Tensor], calibration: list[Tensor], only: str) -> None:
        self.model, self.windows, self.calibration, self.only = model, windows, calibration, only
        self.hidden = [model.embed(ids) for ids in windows]
        self.moved = list(self.hidden)
        self.errors: dict[str, dict[str, float]] = {}
        self.quantised = Quantised({}, 0.0)

    def quantise(self, method: Quantizer, generator: torch.Generator) -> None:
        """Every layer in turn; what calibrates a layer has passed the quantised layers before it."""
        layers: dict[str, Layer] = {}
        seconds = 0.0
        needs_inputs = CALIBRATION in method.knowledge
        calibrating = [self.model.embed(ids) for ids in self.calibration] if needs_inputs else []
        with decoding(type(method), self.model.layers) as decode:
            for number in range(len(self.model.layers)):
                block, changed = self.model.block(number), self.model.block(number)

                def forward(module: nn.Module, hidden: Tensor, number: int = number) -> Tensor:
                    return self.model.run(module, number, hidden)

                chosen = {name: layer for name, layer in matrices(changed).items() if self.only in f"layers.{number}.{name}"}
                inputs = captured(changed, chosen, calibrating, forward) if needs_inputs else {}
                for name, layer in chosen.items():
                    where = f"layers.{number}.{name}"
                    rebuilt, spent = _quantised(method, decode, layer, inputs.get(name), generator, where)
                    layers[where], seconds = rebuilt, seconds + spent
                self.hidden = self._measured(block, matrices(block), chosen, f"layers.{number}.", forward)
                self.moved, calibrating = ([forward(changed, hidden) for hidden in part] for part in (self.moved, calibrating))
        if not layers:
            names = ", ".join(matrices(self.model.layers[0])) or "none"
            raise Unusable(f"No linear layer has {self.only!r} in its name; those of layer 0 are: {names}.")
        self.quantised = Quantised(layers, seconds)

    def _measured(
        self, block: nn.Module, originals: dict[str, nn.Module], changed: dict[str, nn.Module], prefix: str, forward: Forward
    ) -> list[Tensor]:
        """The original's hidden states behind `block`; notes the errors of the quantised matrices on its inputs."""
        sums = {name: [0.0, 0.0] for name in changed}

        def add(name: str, x: Tensor) -> None:
            weight = weight_of(originals[name])
            for place, matrix in enumerate((weight_of(changed[name]) - weight, weight)):
                sums[name][place] += float(F.linear(x, matrix).double().square().sum())

        hooks = [originals[name].register_forward_pre_hook(lambda _, args, name=name: add(name, args[0])) for name in changed]
        found = [forward(block, hidden) for hidden in self.hidden]
        for hook in hooks:
            hook.remove()
        for name, (noise, signal) in sums.items():
            w = weight_of(originals[name]).double()
            error = float((weight_of(changed[name]).double() - w).square().sum() / w.square().sum().clamp(min=1e-30))
            self.errors[prefix + name] = {
                "weight_error": float(f"{error:.4g}"),
                "output_error": float(f"{noise / max(signal, 1e-30):.4g}"),
            }
        return found

    def compare(self) -> dict[str, float]:
        """Cross-entropy per token of the original and of the quantised model in nats, their divergence and their agreement."""
        totals = dict.fromkeys(("original", "nats", "kl", "agreement"), 0.0)
        count = 0
        for ids, hidden, moved in zip(self.windows, self.hidden, self.moved, strict=True):
            truth, found = (self.model.log_probabilities(ids, part) for part in (hidden, moved))
            target = ids[:, 1:, None].to(truth.device)
            totals["original"] -= float(truth.gather(-1, target).double().sum())
            totals["nats"] -= float(found.gather(-1, target).double().sum())
            totals["kl"] += float(F.kl_div(found, truth, reduction="sum", log_target=True))
            totals["agreement"] += float((truth.argmax(-1) == found.argmax(-1)).sum())
            count += target.numel()
        return {name: total / count for name, total in totals.items()}


def captured(block: nn.Module, chosen: dict[str, nn.Module], hidden: list[Tensor], forward: Forward) -> dict[str, Inputs]:
    """What each matrix sees while `block` runs on batches of hidden states: the Gram matrix of all tokens and an even sample of them."""
    tokens = sum(part.shape[0] * part.shape[1] for part in hidden)
    every = -(-tokens // SAMPLES)
    grams: dict[str, Tensor] = {}
    samples: dict[str, list[Tensor]] = {name: [] for name in chosen}
    counts = dict.fromkeys(chosen, 0)

    def add(name: str, x: Tensor) -> None:
        x = x.flatten(0, -2).float()
        gram = (x.T @ x).cpu().double()
        grams[name] = grams[name] + gram if name in grams else gram
        samples[name].append(x[::every].cpu())
        counts[name] += len(x)

    hooks = [layer.register_forward_pre_hook(lambda _, args, name=name: add(name, args[0])) for name, layer in chosen.items()]
    for part in hidden:
        forward(block, part)
    for hook in hooks:
        hook.remove()
    if idle := [name for name, count in counts.items() if not count]:
        raise Unusable(f"No calibration token reached {', '.join(idle)}: raise `calibration`, or choose other matrices by `only`.")
    return {name: StreamedInputs(torch.cat(samples[name]), grams[name] / counts[name]) for name in chosen}


def _quantised(
    method: Quantizer, decode: Decode, layer: nn.Module, inputs: Inputs | None, generator: torch.Generator, where: str
) -> tuple[Layer, float]:
    """The matrix as rebuilt from what the method stored, now in `layer` too, and the method's CPU seconds."""
    weight = weight_of(layer)
    matrix = weight.float().cpu().contiguous()
    if method.largest_inputs is not None and matrix.shape[1] > method.largest_inputs:
        raise Unusable(f"{method.label} handles layers of at most {method.largest_inputs} inputs; {where} has {matrix.shape[1]}.")
    started = time.thread_time()
    packed = method.quantize(matrix.clone(), inputs, generator)
    seconds = time.thread_time() - started
    rebuilt = rebuild(decode, packed, matrix, f"{method.name} on {where}")
    weight.copy_(rebuilt.weight)
    return rebuilt, seconds
