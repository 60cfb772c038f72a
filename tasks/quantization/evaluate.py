"""How the evaluator quantises and measures a language model: capture inputs, store, rebuild, compare with the float32 model."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.errors import InvalidResult
from tasks.quantization.decoder import decoder
from tasks.quantization.gpt import Gpt
from tasks.quantization.protocol import CALIBRATION, Inputs, ModelQuantizer, Packed, Quantizer
from tasks.quantization.storage import Stored, store

BATCH = 32  #: windows per forward pass


@dataclass(frozen=True, slots=True)
class Layer:
    """One quantised matrix as the evaluator counted and rebuilt it."""

    weight: Tensor
    bits: int  #: of the parts, without the note
    note: bytes
    names: bytes  #: of the parts


@dataclass(frozen=True, slots=True)
class Quantised:
    """A quantised model: the rebuilt matrices by name, and the CPU seconds the method took."""

    layers: Mapping[str, Layer]
    seconds: float

    def bits(self) -> int:
        """Stored bits of all matrices; a note shared by several is stored once, as is a set of names that is not the first matrix's."""
        layers = list(self.layers.values())
        notes = {layer.note for layer in layers}
        names = {layer.names for layer in layers if layer.names != layers[0].names}
        return sum(layer.bits for layer in layers) + 8 * sum(map(len, [*notes, *names]))


@dataclass(frozen=True)
class Reference:
    """What the float32 model does on a set of windows: log-probabilities [windows, context, 256], loss per window, input Gram matrices."""

    log_probabilities: Tensor
    bits_per_byte: Tensor
    grams: Mapping[str, Tensor]


#: Stored parts, the matrix's shape and a name for messages -> matrix [out, in] float32 as a NumPy array.
Decode = Callable[[Stored, tuple[int, int], str], np.ndarray]


@contextmanager
def decoding(method: type[Quantizer] | type[ModelQuantizer], *models: Iterable[nn.Module]) -> Iterator[Decode]:
    """The method's `dequantize` in a process that is forked now and has no weights of `models` (the layers of each): open it before the
    first call of `quantize`."""
    weights = [weight for layers in models for layer in layers for weight in layer.parameters()]
    with decoder(lambda stored, shape, where: dequantize(method, stored, shape, where), method.name, weights) as decode:
        yield decode


def dequantize(method: type[Quantizer] | type[ModelQuantizer], stored: Stored, shape: tuple[int, int], where: str) -> np.ndarray:
    """The matrix [out, in] float32 that `method` makes of what was stored; InvalidResult when it makes none."""
    try:
        rebuilt = method.dequantize(stored.read(), shape)
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidResult(f"{where}: dequantize can't read the stored parts: {type(error).__name__}: {error}.") from error
    if not isinstance(rebuilt, Tensor) or tuple(rebuilt.shape) != shape or not rebuilt.is_floating_point():
        raise InvalidResult(f"{where}: dequantize must return a float tensor of shape {shape}.")
    if not bool(torch.isfinite(rebuilt).all()):
        raise InvalidResult(f"{where}: the dequantized weights hold NaN or infinity.")
    matrix: np.ndarray = rebuilt.detach().float().contiguous().numpy()
    return matrix


def rebuild(decode: Decode, packed: Packed, weight: Tensor, where: str) -> Layer:
    """Store `packed` and rebuild the matrix from nothing but what was stored."""
    stored = store(packed, where)
    return Layer(torch.from_numpy(decode(stored, (weight.shape[0], weight.shape[1]), where)), stored.bits, stored.note, stored.names)


class Blockwise(Protocol):
    """A model that is embedding, blocks and a head, and can be quantised block by block."""

    @property
    def blocks(self) -> nn.ModuleList: ...

    def embed(self, tokens: Tensor) -> Tensor: ...

    def matrices(self) -> dict[str, nn.Linear]: ...


def quantise(
    method: Quantizer, model: Blockwise, calibration: Callable[[], list[Tensor]], generator: torch.Generator, only: str = ""
) -> Quantised:
    """Quantise every matrix of `model`, block by block.

    A method that asks for calibration text sees the inputs that its layer gets when all earlier blocks are quantised already;
    `calibration` makes batches of tokens [n, length]; matrices whose name does not contain `only` are left alone.
    """
    layers: dict[str, Layer] = {}
    seconds = 0.0
    needs_inputs = CALIBRATION in method.knowledge
    working = copy.deepcopy(model)
    hidden = [working.embed(batch) for batch in calibration()] if needs_inputs else []
    with decoding(type(method), model.blocks, working.blocks) as decode:
        for number, block in enumerate(working.blocks):
            named = {name: layer for name, layer in block.named_modules() if isinstance(layer, nn.Linear)}
            matrices = {name: layer for name, layer in named.items() if only in f"blocks.{number}.{name}"}
            captured = capture(block, matrices, hidden) if needs_inputs else {}
            for name, layer in matrices.items():
                where = f"blocks.{number}.{name}"
                inputs = Inputs(captured[name]) if needs_inputs else None
                started = time.thread_time()
                packed = method.quantize(layer.weight.detach().clone(), inputs, generator)
                seconds += time.thread_time() - started
                layers[where] = rebuild(decode, packed, layer.weight, f"{method.name} on {where}")
            for name, layer in matrices.items():
                layer.weight.copy_(layers[f"blocks.{number}.{name}"].weight)
            hidden = [block(batch) for batch in hidden]
    return Quantised(layers, seconds)


def quantise_model(method: ModelQuantizer, model: Gpt, text: np.ndarray, generator: torch.Generator) -> Quantised:
    """Quantise all matrices in one call, on a copy of the model."""
    with decoding(type(method), model.blocks) as decode:
        started = time.thread_time()
        with torch.enable_grad():
            packed = method.quantize_model(copy.deepcopy(model), text, generator)
        seconds = time.thread_time() - started
        matrices = model.matrices()
        if set(packed) != set(matrices):
            raise InvalidResult(f"{method.name}: quantize_model must return exactly the model's matrices: {', '.join(matrices)}.")
        return Quantised(
            {name: rebuild(decode, packed[name], layer.weight, f"{method.name} on {name}") for name, layer in matrices.items()}, seconds
        )


def capture(module: nn.Module, matrices: Mapping[str, nn.Linear], batches: list[Tensor]) -> dict[str, Tensor]:
    """Inputs [samples, in] of each matrix while `module` runs on the batches."""
    seen: dict[str, list[Tensor]] = {name: [] for name in matrices}
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args[0].detach().flatten(0, -2)))
        for name, layer in matrices.items()
    ]
    try:
        for batch in batches:
            module(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def install(model: Gpt, layers: Mapping[str, Layer]) -> Gpt:
    """A copy of `model` with the rebuilt matrices."""
    quantised = copy.deepcopy(model)
    for name, matrix in quantised.matrices().items():
        matrix.weight.copy_(layers[name].weight)
    return quantised


@contextmanager
def gram_matrices(model: Blockwise) -> Iterator[dict[str, Tensor]]:
    """While the context is open, sums x x^T of every matrix's inputs: [in, in] float64 by name."""
    matrices = model.matrices()
    grams = {name: torch.zeros(layer.in_features, layer.in_features, dtype=torch.float64) for name, layer in matrices.items()}

    def add(name: str, x: Tensor) -> None:
        x = x.flatten(0, -2)
        grams[name] += (x.T @ x).double()

    hooks = [layer.register_forward_pre_hook(lambda _, args, name=name: add(name, args[0])) for name, layer in matrices.items()]
    try:
        yield grams
    finally:
        for hook in hooks:
            hook.remove()


def reference(model: Gpt, windows: Tensor) -> Reference:
    """Run the float32 model once on the evaluation windows."""
    with gram_matrices(model) as grams:
        log_probabilities = torch.cat([F.log_softmax(model(batch[:, :-1]), -1) for batch in windows.split(BATCH)])
    return Reference(log_probabilities, _bits(log_probabilities, windows), grams)


def _bits(log_probabilities: Tensor, windows: Tensor) -> Tensor:
    """Mean bits per byte of each window."""
    return -log_probabilities.gather(-1, windows[:, 1:, None]).double().mean((1, 2)) / np.log(2)


def measure(model: Gpt, quantised: Quantised, windows: Tensor, base: Reference) -> tuple[dict[str, float], dict[str, Any]]:
    """Metrics of a quantised model on the windows of `base`, and per-layer details."""
    rebuilt = install(model, quantised.layers)
    bits, divergence = [], 0.0
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        log_probabilities = F.log_softmax(rebuilt(batch[:, :-1]), -1)
        bits.append(_bits(log_probabilities, batch))
        truth = base.log_probabilities[start : start + BATCH]
        divergence += float((truth.exp() * (truth - log_probabilities)).sum())
    per_window = torch.cat(bits)
    errors = {name: errors_of(layer.weight, quantised.layers[name].weight, base.grams[name]) for name, layer in model.matrices().items()}
    weights = sum(layer.weight.numel() for layer in model.matrices().values())
    total = sum(parameter.numel() for parameter in model.parameters())
    metrics = {
        "bits_per_byte_increase": float((per_window - base.bits_per_byte).mean()),
        "bits_per_byte": float(per_window.mean()),
        "bits_per_weight": quantised.bits() / weights,
        "relative_increase": float((per_window - base.bits_per_byte).mean() / base.bits_per_byte.mean()),
        "size_reduction": 1 - (quantised.bits() + 16 * (total - weights)) / (16 * total),
        "kl": divergence / (windows.shape[0] * (windows.shape[1] - 1)) / float(np.log(2)),
        "output_error": float(np.mean([error[1] for error in errors.values()])),
        "weight_error": float(np.mean([error[0] for error in errors.values()])),
        "quantise_seconds": quantised.seconds,
    }
    info = {
        "float32_bits_per_byte": round(float(base.bits_per_byte.mean()), 6),
        "layers": {
            name: {
                "bits_per_weight": round(quantised.layers[name].bits / quantised.layers[name].weight.numel(), 5),
                "weight_error": float(f"{error[0]:.4g}"),
                "output_error": float(f"{error[1]:.4g}"),
            }
            for name, error in errors.items()
        },
    }
    return metrics, info


def errors_of(weight: Tensor, rebuilt: Tensor, gram: Tensor) -> tuple[float, float]:
    """Relative squared errors ||D||^2 / ||W||^2 and tr(D G D^T) / tr(W G W^T) with D = rebuilt - weight, in float64."""
    w, d = weight.double(), (rebuilt - weight).double()
    return float(d.square().sum() / w.square().sum()), float(((d @ gram) * d).sum() / ((w @ gram) * w).sum())


class References:
    """The last few float32 references of this process: methods that share a model and windows need one forward pass between them."""

    def __init__(self, size: int = 4) -> None:
        self.size = size
        self.kept: OrderedDict[object, Reference] = OrderedDict()

    def get(self, key: object, make: Callable[[], Reference]) -> Reference:
        if key not in self.kept:
            self.kept[key] = make()
            while len(self.kept) > self.size:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]
