"""Hugging Face models: every figure against transformers' own forward pass on tiny checkpoints that the tests save."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from quantization_problems import generator

from tasks.quantization import hf_model
from tasks.quantization.corpus import standard_library
from tasks.quantization.hf_lm import HfLm
from tasks.quantization.hf_model import CausalLm, Unusable, matrices, weight_of
from tasks.quantization.methods.gptq import Gptq
from tasks.quantization.methods.obq import Obq
from tasks.quantization.methods.rtn import Rtn
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed, Quantizer
from tasks.testing import LocalContext, check_task_method

transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")

ARCHITECTURES = ("llama", "gpt2", "gemma2", "neox")
SMALL = {"length": 32, "windows": 6, "calibration": 8}


def config(architecture: str):
    """Two or three layers, 32 wide; Gemma alternates two kinds of attention and caps its logits, GPT-2 stores weights transposed."""
    common = {"vocab_size": 300, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    sizes = common | {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    if architecture == "llama":
        return transformers.LlamaConfig(**sizes, num_key_value_heads=2)
    if architecture == "gemma2":
        more = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
        return transformers.Gemma2Config(**sizes, **more)
    if architecture == "neox":
        return transformers.GPTNeoXConfig(**sizes)
    return transformers.GPT2Config(**common, n_embd=32, n_layer=3, n_head=4, n_positions=64)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints with random weights, large enough that rounding them matters, and a byte-level BPE tokenizer trained on the text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    root = tmp_path_factory.mktemp("checkpoints")
    text = bytes(standard_library().validation[:60_000]).decode(errors="ignore")
    (root / "text.txt").write_text(text, encoding="utf-8")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator([text], trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>"], initial_alphabet=alphabet))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="<s>")
    found = {"text": root / "text.txt"}
    for name in ARCHITECTURES:
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config(name))
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.data.normal_(std=0.2)
        folder = root / name
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found[name] = folder
    return found


def task(checkpoints: dict[str, Path], name: str, **params) -> HfLm:
    return HfLm(model=str(checkpoints[name]), text=str(checkpoints["text"]), **(SMALL | params))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("method", [Rtn(bits=3, group=16), Gptq(bits=4, group=16)])
def test_every_figure_equals_transformers_own_forward_pass(checkpoints, name: str, method: Quantizer, tmp_path: Path):
    problem = task(checkpoints, name)
    measured = problem.run(method, 3, LocalContext(tmp_path))
    # Both models whole, and the same windows.
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoints[name])
    text = checkpoints["text"].read_text(encoding="utf-8")
    ids = tokenizer(text)["input_ids"]
    half = torch.tensor(ids).tensor_split(2)[1]
    places = np.sort(problem.streams(3).numpy("eval").permutation(len(half) // 32)[:6])
    windows = torch.stack([half[32 * place : 32 * place + 32] for place in places])
    original = transformers.AutoModelForCausalLM.from_pretrained(checkpoints[name])
    changed = transformers.AutoModelForCausalLM.from_pretrained(checkpoints[name])
    if isinstance(method, Rtn):
        count = 0
        for module_name, module in changed.named_modules():
            linear = isinstance(module, (torch.nn.Linear, transformers.pytorch_utils.Conv1D))
            if linear and "head" not in module_name and "embed_out" not in module_name:
                weight = module.weight if isinstance(module, torch.nn.Linear) else module.weight.T
                weight.data.copy_(Rtn.dequantize(method.quantize(weight.detach().contiguous(), None, generator()), tuple(weight.shape)))
                count += 1
        assert count == len(measured.info["layers"])
        with torch.no_grad():
            truth, found = (F.log_softmax(model(windows).logits[:, :-1].double(), -1) for model in (original, changed))
        nats = [-part.gather(-1, windows[:, 1:, None]).mean().item() for part in (truth, found)]
        bits = 1 / math.log(2) / (len(text.encode()) / len(ids))
        assert measured.metrics["perplexity"] == pytest.approx(math.exp(nats[1]), rel=1e-4)
        assert measured.metrics["perplexity_ratio"] == pytest.approx(math.exp(nats[1] - nats[0]), rel=1e-4)
        assert measured.metrics["bits_per_byte_increase"] == pytest.approx((nats[1] - nats[0]) * bits, rel=1e-3, abs=1e-5)
        assert measured.metrics["kl"] == pytest.approx((truth.exp() * (truth - found)).sum(-1).mean().item() * bits, rel=1e-3)
        assert measured.metrics["agreement"] == pytest.approx((truth.argmax(-1) == found.argmax(-1)).double().mean().item())
    assert measured.info["original_perplexity"] == pytest.approx(math.exp(F.cross_entropy(
        original(windows).logits[:, :-1].flatten(0, 1), windows[:, 1:].flatten()).item()), rel=1e-4)  # fmt: skip
    assert 0 < measured.metrics["output_error"] < 0.2
    assert math.exp(4) > measured.metrics["perplexity_ratio"] > 0.5


class Watcher(Quantizer, name="watcher", knowledge=(CALIBRATION,)):
    """Rounds to eight bits and remembers what it was shown."""

    def quantize(self, weight: torch.Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        SEEN.append((weight, inputs))
        return Rtn(bits=2, group=16).quantize(weight, None, generator)

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> torch.Tensor:
        return Rtn.dequantize(packed, shape)


SEEN: list[tuple[torch.Tensor, Inputs | None]] = []


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_calibration_inputs_come_from_the_quantised_layers_before(checkpoints, name: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tasks.quantization.hf_lm.SAMPLES", 64)
    SEEN.clear()
    problem = task(checkpoints, name)
    problem.run(Watcher(), 0, LocalContext(tmp_path))
    # The same model with its first layer rounded, run whole on the calibration windows: what enters the second layer's matrices?
    folder = checkpoints[name]
    ids = hf_model.tokens_of(folder, str(checkpoints["text"]))[0].tensor_split(2)[0]
    places = np.sort(problem.streams(0).numpy("data").permutation(len(ids) // 32)[:8])
    windows = torch.stack([ids[32 * place : 32 * place + 32] for place in places])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    layers = model.model.layers if name == "llama" else model.transformer.h
    first = list(matrices(layers[0]).values())
    for layer in first:
        weight = weight_of(layer)
        packed = Rtn(bits=2, group=16).quantize(weight.detach().contiguous(), None, generator())
        weight.data.copy_(Rtn.dequantize(packed, tuple(weight.shape)))
    seen: dict[str, torch.Tensor] = {}
    for place, layer in matrices(layers[1]).items():
        layer.register_forward_pre_hook(lambda _, args, place=place: seen.update({place: args[0].flatten(0, -2)}))
    with torch.no_grad():
        model(windows)
    second = SEEN[len(first) : 2 * len(first)]
    assert len(seen) == len(second)
    for x, (weight, inputs) in zip(seen.values(), second, strict=True):
        assert inputs is not None
        assert weight.shape[1] == x.shape[1]
        torch.testing.assert_close(inputs.gram, (x.T @ x).double() / len(x), rtol=1e-4, atol=1e-4)
        assert len(inputs.x) == 64
        torch.testing.assert_close(inputs.x, x[::4], rtol=1e-4, atol=1e-4)


def test_it_keeps_the_contract_of_a_task(checkpoints, tmp_path: Path):
    problems = [check for check in check_task_method(task(checkpoints, "llama"), Gptq(group=16), tmp_path) if check.problem]
    assert not problems


def test_layers_stay_where_they_are_until_they_run(checkpoints):
    model = CausalLm(checkpoints["llama"], "cpu", torch.float64)
    assert all(parameter.dtype == torch.float32 for layer in model.layers for parameter in layer.parameters())
    assert {parameter.dtype for parameter in model.block(0).parameters()} == {torch.float64}
    assert model.embed(torch.zeros(1, 5, dtype=torch.int64)).dtype == torch.float64


def test_separate_calibration_text_leaves_the_whole_text_to_evaluate(checkpoints, tmp_path: Path):
    other = tmp_path / "other.txt"
    other.write_text("def f(x):\n    return x + 1\n" * 60)
    whole = len(hf_model.tokens_of(checkpoints["llama"], str(checkpoints["text"]))[0]) // 32
    both = task(checkpoints, "llama", calibration_text=str(other), windows=whole, calibration=4)
    assert both.infeasible(Rtn()) is None
    assert "lower `windows`" in str(task(checkpoints, "llama", windows=whole).infeasible(Rtn()))


def test_only_names_the_matrices_that_are_quantised(checkpoints, tmp_path: Path, monkeypatch):
    measured = task(checkpoints, "llama", only="mlp.down").run(Rtn(group=16), 0, LocalContext(tmp_path))
    assert list(measured.info["layers"]) == ["layers.0.mlp.down_proj", "layers.1.mlp.down_proj"]
    assert measured.metrics["quantised_share"] == pytest.approx(2 * 32 * 64 / transformers.AutoModelForCausalLM.from_pretrained(
        checkpoints["llama"]).num_parameters())  # fmt: skip
    with pytest.raises(Exception, match=r"those of layer 0 are: self_attn\.q_proj, "):
        task(checkpoints, "llama", only="nothing").run(Rtn(), 0, LocalContext(tmp_path))
    monkeypatch.setattr(Obq, "largest_inputs", 16)
    with pytest.raises(Exception, match=r"OBQ handles layers of at most 16 inputs; layers\.0\.self_attn\.q_proj has 32"):
        task(checkpoints, "llama").run(Obq(), 0, LocalContext(tmp_path))


def test_trial_keys_follow_the_content_of_weights_and_texts(checkpoints, tmp_path: Path):
    folder, text = tmp_path / "model", tmp_path / "text.txt"
    shutil.copytree(checkpoints["llama"], folder)
    shutil.copy(checkpoints["text"], text)

    def fingerprint() -> str:
        return HfLm(model=str(folder), text=str(text)).data_fingerprint()

    before = fingerprint()
    assert before == task(checkpoints, "llama").data_fingerprint()  # content, not place
    text.write_text(text.read_text(encoding="utf-8") + "x", encoding="utf-8")
    changed = fingerprint()
    weights = next(folder.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert len({before, changed, fingerprint()}) == 3


def test_a_hub_id_is_read_from_the_hubs_cache(checkpoints, tmp_path: Path, monkeypatch):
    commit = "0" * 40
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(checkpoints["llama"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hf_model.folder_of.cache_clear()
    problem = HfLm(model="someone/tiny", text=str(checkpoints["text"]), **SMALL)
    assert problem.infeasible(Rtn()) is None
    assert problem.data_fingerprint() == task(checkpoints, "llama").data_fingerprint()
    assert "the Hugging Face hub did not give it" in str(HfLm(model="someone/else", text=str(checkpoints["text"])).infeasible(Rtn()))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": ""}, "Name a checkpoint"),
        ({"text": ""}, "Name a text"),
        ({"text": "/nowhere/text.txt"}, "The text /nowhere/text.txt can't be read: No such file"),
        ({"length": 65}, "was made for 64 tokens; `length` asks for 65"),
        ({"windows": 100_000}, "windows=100000 asks for more: lower `windows` or `length`"),
    ],
)
def test_what_can_not_run_is_said_in_one_sentence_before_anything_runs(checkpoints, params: dict, message: str):
    given = {"model": str(checkpoints["llama"]), "text": str(checkpoints["text"])} | SMALL | params
    assert message in str(HfLm(**given).infeasible(Rtn()))


def test_folders_that_are_no_checkpoint(checkpoints, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    problem = HfLm(model=str(tmp_path / "empty"), text=str(checkpoints["text"]))
    assert "is no checkpoint: there is no config.json in" in str(problem.infeasible(Rtn()))
    assert problem.data_fingerprint().startswith("no data: ")
    shutil.copytree(checkpoints["llama"], tmp_path / "vit")
    transformers.ViTConfig().save_pretrained(tmp_path / "vit")
    with pytest.raises(Unusable, match="holds a vit, which transformers does not know as a causal language model"):
        hf_model.context_of(tmp_path / "vit")
    shutil.copytree(checkpoints["llama"], tmp_path / "broken")
    (tmp_path / "broken" / "tokenizer.json").write_text("{")
    assert "tokenizer" in str(HfLm(model=str(tmp_path / "broken"), text=str(checkpoints["text"]), **SMALL).infeasible(Rtn()))
