"""A Hugging Face causal language model that runs one decoder layer at a time, its checkpoint and its text (extra `hf`)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

#: What of a checkpoint decides its results: weights, configuration and tokenizer.
FILES = ("*.safetensors", "*.json", "*.model", "*.txt")


class Unusable(Exception):
    """One sentence that says why a checkpoint or a text can't be used."""


def missing() -> str | None:
    """One sentence when the library that reads checkpoints is not installed."""
    if find_spec("transformers") is None:
        return "Hugging Face models need transformers: install the extra `hf` (pip install 'assay-bench[hf]')."
    return None


@lru_cache(maxsize=8)
def folder_of(model: str, revision: str) -> Path:
    """The checkpoint's folder: `model` itself, or what the hub's cache holds of the repository `model`, downloaded if need be.

    Unusable when there is neither, or when the folder lacks a configuration or safetensors weights.
    """
    if not model:
        raise Unusable("Name a checkpoint: `model` is a local folder or a Hugging Face hub id such as org/name.")
    folder = Path(model).expanduser()
    if not folder.exists():
        folder = _from_hub(model, revision)
    for pattern in ("config.json", "*.safetensors"):
        if not folder.is_dir() or not any(folder.glob(pattern)):
            raise Unusable(f"{model} is no checkpoint: there is no {pattern} in {folder}; save one with save_pretrained.")
    return folder


def _from_hub(model: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    # Weights of other frameworks stay where they are.
    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(FILES)}
    try:
        try:
            return Path(snapshot_download(model, local_files_only=True, **wanted))
        except FileNotFoundError:
            return Path(snapshot_download(model, **wanted))
    except Exception as error:  # the hub's own errors, and whatever the network raises below it
        reason = str(error).strip() or type(error).__name__
        first = reason.splitlines()[0].split(". ")[0].rstrip(".")
        raise Unusable(f"There is no folder {model}, and the Hugging Face hub did not give it: {first}.") from error


def read_text(text: str) -> bytes:
    """The bytes of a text file; Unusable when it can't be read as UTF-8."""
    if not text:
        raise Unusable("Name a text: `text` is a file in UTF-8, for instance the test split of WikiText-2.")
    try:
        data = Path(text).expanduser().read_bytes()
        data.decode()
    except OSError as error:
        raise Unusable(f"The text {text} can't be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise Unusable(f"The text {text} is not UTF-8 (byte {error.start}).") from None
    return data


def fingerprint(folder: Path, texts: list[str]) -> str:
    """sha256 over the checkpoint's weights, configuration and tokenizer and the texts. Files are read once per process while unchanged."""
    files = sorted({file for pattern in FILES for file in folder.glob(pattern)})
    parts = [(file.name, _digest(file, *_stamp(file))) for file in files]
    parts += [("", hashlib.sha256(read_text(text)).hexdigest()) for text in texts]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4096)
def _digest(file: Path, size: int, modified: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def tokens_of(folder: Path, text: str) -> tuple[Tensor, float]:
    """Token ids [n] of the whole text as the checkpoint's tokenizer gives them, and the text's UTF-8 bytes per token."""
    data = read_text(text)
    return _tokens(folder, data)


@lru_cache(maxsize=4)
def _tokens(folder: Path, data: bytes) -> tuple[Tensor, float]:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise Unusable(f"The tokenizer in {folder} can't be read: {str(error).splitlines()[0]}") from error
    ids = torch.tensor(tokenizer(data.decode(), verbose=False)["input_ids"], dtype=torch.int64)
    return ids, len(data) / max(1, len(ids))


@lru_cache(maxsize=8)
def context_of(folder: Path) -> int | None:
    """The most tokens the model was made for, where its configuration says so; Unusable when it is no causal language model."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise Unusable(f"The configuration in {folder} can't be read: {str(error).splitlines()[0]}") from error
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise Unusable(f"{folder} holds a {config.model_type}, which transformers does not know as a causal language model.")
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(found) if found else None


def matrices(block: nn.Module) -> dict[str, nn.Module]:
    """The linear layers of a decoder layer by name; GPT-2's own kind, which stores its weight transposed, is one."""
    from transformers.pytorch_utils import Conv1D

    return {name: module for name, module in block.named_modules() if isinstance(module, (nn.Linear, Conv1D))}


def weight_of(layer: nn.Module) -> Tensor:
    """A view [out, in] of a linear layer's weight."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight if isinstance(layer, nn.Linear) else weight.T


class _Stub(nn.Module):
    """Stands where a decoder layer stood: notes how the model calls it and passes the hidden states on, or others in their place."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.__dict__["layer"] = layer  # not a submodule: it stays on the CPU when the model moves
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self.seen = self.given = torch.empty(0)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["layer"], name)  # models ask their layers for things such as the kind of attention

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.seen, self.arguments = hidden, (args, kwargs)
        return self.given if self.given.numel() else hidden


class CausalLm:
    """A checkpoint whose embeddings, last norm and head live on `device` in `dtype`; decoder layers stay on disk, mapped into memory as
    they were stored, until `block` makes a copy of one. Hidden states are [windows, tokens, width]."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.device, self.dtype = device, dtype
        try:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
        except (OSError, ValueError) as error:
            raise Unusable(f"The checkpoint in {folder} can't be loaded: {str(error).splitlines()[0]}") from error
        model.requires_grad_(False).eval()
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        depth = model.config.get_text_config().num_hidden_layers
        stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == depth]
        if not stacks:
            raise Unusable(f"The model in {folder} has no list of {depth} decoder layers.")
        self.layers = list(stacks[0])
        self._stubs = [_Stub(layer) for layer in self.layers]
        for number, stub in enumerate(self._stubs):
            stacks[0][number] = stub
        self._model = model.to(device, dtype)
        self._arguments: dict[torch.Size, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}

    def block(self, number: int) -> nn.Module:
        """A copy of a decoder layer, on the device."""
        return copy.deepcopy(self.layers[number]).to(self.device, self.dtype)

    def embed(self, ids: Tensor) -> Tensor:
        """What token ids [windows, tokens] enter the first layer as."""
        self._stubs[-1].given = torch.empty(0)
        self._model.base_model(input_ids=ids.to(self.device), use_cache=False)
        called = [stub.arguments for stub in self._stubs]
        known = self._arguments.setdefault(ids.shape, called)
        if known is not called and not _same(known, called):
            raise Unusable(f"{type(self._model).__name__} hands its layers more than hidden states that depends on the tokens.")
        return self._stubs[0].seen.cpu()

    def run(self, block: nn.Module, number: int, hidden: Tensor) -> Tensor:
        """Hidden states behind a copy of layer `number`. Their shape must be one that `embed` has seen."""
        args, kwargs = self._arguments[hidden.shape[:2]][number]
        out = block(hidden.to(self.device), *args, **kwargs)
        return (out if isinstance(out, Tensor) else out[0]).cpu()

    def log_probabilities(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """Of the next token, [windows, tokens - 1, vocabulary] float32, from the hidden states behind the last layer."""
        self._stubs[-1].given = hidden.to(self.device)
        logits = self._model(input_ids=ids.to(self.device), use_cache=False).logits[:, :-1]
        return torch.log_softmax(logits.float(), -1)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(_same(*pair) for pair in zip(a, b, strict=True))
    return type(a) is type(b)


def batches(windows: Tensor, tokens: int = 4096) -> Iterator[Tensor]:
    """Windows [n, length] in batches of about so many tokens."""
    yield from windows.split(max(1, tokens // windows.shape[1]))
