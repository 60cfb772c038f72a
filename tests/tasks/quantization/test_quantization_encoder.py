"""The pretrained encoder against a plain float64 BERT, and its measures against scipy and hand counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import erf
from scipy.stats import spearmanr

from tasks.quantization import encoder
from tasks.quantization.docstrings import pairs, pairs_sha256
from tasks.quantization.encoder_weights import EncoderWeights, fidelity, reciprocal_rank
from tasks.quantization.methods.obq import Obq
from tasks.quantization.methods.rtn import Rtn
from tasks.testing import LocalContext

needs_weights = pytest.mark.skipif(encoder.missing() is not None, reason="the extra `encoder` is not installed")


def test_fidelity_equals_scipy_and_hand_counts():
    generator = torch.Generator().manual_seed(0)
    truth = torch.nn.functional.normalize(torch.randn(2, 30, 8, generator=generator), dim=2)
    found = torch.nn.functional.normalize(truth + 0.1 * torch.randn(2, 30, 8, generator=generator), dim=2)
    measured = fidelity(truth, found)
    scores, kept = (truth[0] @ truth[1].T).numpy(), (found[0] @ found[1].T).numpy()
    overlaps = [len(set(np.argsort(-a)[:10]) & set(np.argsort(-b)[:10])) / 10 for a, b in zip(scores, kept, strict=True)]
    assert measured["rank_correlation"] == pytest.approx(np.mean([spearmanr(a, b).statistic for a, b in zip(scores, kept, strict=True)]))
    assert measured["top10_overlap"] == pytest.approx(np.mean(overlaps))
    assert measured["cosine"] == pytest.approx(float((truth * found).sum(2).mean()))
    same = fidelity(truth, truth)
    assert (same["cosine"], same["top10_overlap"], same["rank_correlation"], same["mrr_change"]) == pytest.approx((1, 1, 1, 0))


def test_reciprocal_rank_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.2]])
    assert reciprocal_rank(scores) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)  # the tie in the last row counts against it


def test_docstring_pairs_are_many_distinct_and_stable():
    found = pairs()
    assert len(found) > 2000
    assert len({document for _, document in found}) == len(found)
    assert all(len(document) <= 300 and len(document.split()) >= 2 for _, document in found)
    assert any(query == "textwrap wrap" for query, _ in found)
    assert len(pairs_sha256()) == 64


def test_layers_too_large_for_a_method_are_infeasible():
    assert "at most 512 inputs" in str(EncoderWeights().infeasible(Obq()))


@needs_weights
def test_encoder_equals_a_plain_float64_bert():
    from safetensors.numpy import load_file

    stored = {
        name: value.astype(np.float64)
        for name, value in load_file(encoder._folder() / "model.safetensors").items()
        if value.dtype.kind == "f"
    }

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * stored[f"{name}.weight"] + stored[
            f"{name}.bias"
        ]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ stored[f"{name}.weight"].T + stored[f"{name}.bias"]

    (ids,) = encoder.tokenize(["Return the absolute value of a number."])
    embeddings = "embeddings"
    x = stored[f"{embeddings}.word_embeddings.weight"][ids] + stored[f"{embeddings}.position_embeddings.weight"][: len(ids)]
    x = norm(x + stored[f"{embeddings}.token_type_embeddings.weight"][0], f"{embeddings}.LayerNorm")
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        q, k, v = (dense(x, f"{at}.attention.self.{part}").reshape(len(ids), 12, 32) for part in ("query", "key", "value"))
        logits = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(32)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = np.einsum("hij,jhd->ihd", weights, v).reshape(len(ids), 384)
        x = norm(x + dense(attended, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        hidden = dense(x, f"{at}.intermediate.dense")
        x = norm(x + dense(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    expected = x.mean(0) / np.linalg.norm(x.mean(0))
    with torch.no_grad():
        found = encoder.pretrained()(torch.tensor([ids]))[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


@needs_weights
def test_tokens_frame_the_text_and_batches_keep_the_order():
    tokens = encoder.tokenize(["hello world", "a", "hello there world", "word " * 500])
    assert tokens[0] == [101, 7592, 2088, 102]
    assert len(tokens[3]) == encoder.MAX_TOKENS
    places = [place for part, ids in encoder.batches(tokens) for place in part]
    assert sorted(places) == [0, 1, 2, 3]
    with torch.no_grad():
        together = encoder.embed(encoder.pretrained(), encoder.batches(tokens))
        alone = encoder.pretrained()(torch.tensor([tokens[2]]))[0]
    assert torch.allclose(together[2], alone, atol=1e-5)


@needs_weights
def test_eight_bits_keep_the_embeddings_and_two_do_not(tmp_path: Path):
    task = EncoderWeights(pairs=20, calibration=2, only="blocks.0")
    fine, coarse = (task.run(Rtn(bits=bits), 0, LocalContext(tmp_path)).metrics for bits in (8, 2))
    assert fine["cosine"] > 0.999
    assert coarse["cosine"] < fine["cosine"] - 0.01
    assert fine["bits_per_weight"] == pytest.approx(8 + 24 / 128)
