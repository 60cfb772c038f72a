"""The evaluator's store: exact round trips, exact sizes, and no way to hand over more than is declared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InvalidResult
from tasks.quantization.evaluate import Layer, Quantised, decoding, rebuild
from tasks.quantization.protocol import Packed, Part, Quantizer
from tasks.quantization.storage import from_bytes, store, to_bytes


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 32), st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_integers_round_trip_and_take_exactly_their_bits(bits: int, count: int, seed: int):
    values = torch.from_numpy(np.random.default_rng(seed).integers(0, 1 << bits, count))
    data = to_bytes(Part(values, bits))
    assert len(data) == -(-count * bits // 8)
    assert torch.equal(from_bytes(data, bits, torch.int64, (count,)), values)


def test_empty_parts_take_no_bits():
    stored = store(Packed({"a": Part(torch.zeros(0).half(), 16), "b": Part(torch.zeros(0, dtype=torch.int32), 3)}), "here")
    assert stored.bits == 0
    assert stored.read()["a"].dtype == torch.float16
    assert stored.read()["b"].shape == (0,)


def test_packing_equals_python_integers():
    values = [5, 0, 7, 1, 6, 2, 3]
    number = sum(value << (3 * i) for i, value in enumerate(values))
    assert to_bytes(Part(torch.tensor(values), 3)) == number.to_bytes(3, "little")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_floats_round_trip(dtype: torch.dtype):
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    stored = store(Packed({"w": Part(values, 16 if dtype != torch.float32 else 32)}), "here")
    assert torch.equal(stored.read()["w"], values)
    assert stored.read()["w"].dtype == dtype
    assert stored.bits == 15 * (32 if dtype == torch.float32 else 16)
    assert stored.note == b""


def test_non_contiguous_and_bool_parts():
    values = torch.arange(12).reshape(3, 4).T
    stored = store(Packed({"a": Part(values, 4), "b": Part(values > 5, 1)}), "here")
    assert torch.equal(stored.read()["a"], values)
    assert torch.equal(stored.read()["b"].bool(), values > 5)
    assert stored.bits == 6 * 8 + 2 * 8


LIES = {
    "too wide": (Part(torch.tensor([0, 16]), 4), "do not fit the declared 4 bits"),
    "negative": (Part(torch.tensor([-1]), 8), "do not fit"),
    "floats as codes": (Part(torch.tensor([0.5]), 4), "declared as 4 bits"),
    "float32 as 16": (Part(torch.tensor([0.5]), 16), "float32 counts 32"),
    "float64": (Part(torch.tensor([0.5], dtype=torch.float64), 32), "float64"),
    "complex": (Part(torch.tensor([1j]), 32), "complex"),
    "no bits": (Part(torch.tensor([0]), 0), "integers take 1 to 32"),
    "nan": (Part(torch.tensor([float("nan")]), 32), "NaN or infinity"),
    "five dimensions": (Part(torch.zeros(1, 1, 1, 1, 1, dtype=torch.int64), 1), "at most 4"),
    "not a tensor": (Part([1, 2], 2), "a part is Part"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", LIES)
def test_a_part_that_is_not_what_it_declares_is_refused(case: str):
    part, message = LIES[case]
    with pytest.raises(InvalidResult, match=message):
        store(Packed({"w": part}), "rtn on blocks.0.qkv")


def test_notes_and_names_cannot_carry_weights():
    with pytest.raises(InvalidResult, match="at most 16"):
        store(Packed({f"p{i}": Part(torch.zeros(0), 32) for i in range(17)}), "x")
    for name in ("p" * 33, "", "P", "\U0001f600", "1", "a b"):
        with pytest.raises(InvalidResult, match="at most 32 characters: a to z"):
            store(Packed({name: Part(torch.zeros(0), 32)}), "x")
    for shape in ((0, 12345), (7, 0, 9)):
        with pytest.raises(InvalidResult, match=r"has the shape \(0,\)"):
            store(Packed({"p": Part(torch.zeros(shape), 32)}), "x")
    with pytest.raises(InvalidResult, match="not JSON"):
        store(Packed({}, {"weights": torch.zeros(3)}), "x")
    assert len(store(Packed({}, {"weights": [0.5, 0.25]}), "x").note) == len('{"weights":[0.5,0.25]}')


def test_names_that_differ_from_the_first_matrixs_are_counted_once_each():
    def layer(*names: str) -> Layer:
        stored = store(Packed({name: Part(torch.tensor([1]), 1) for name in names}), "x")
        return Layer(torch.zeros(1, 1), stored.bits, stored.note, stored.names)

    same = Quantised({"a": layer("codes"), "b": layer("codes")}, 0.0)
    assert same.bits() == 2 * 8
    mixed = Quantised({"a": layer("codes"), "b": layer("wide"), "c": layer("wide", "codes"), "d": layer("wide")}, 0.0)
    assert mixed.bits() == 8 * (1 + 1 + 2 + 1) + 8 * (len("wide") + len("codes\nwide"))


class Smuggler(Quantizer):
    """Ties the float weights to its codes as a Python attribute."""

    def quantize(self, weight, inputs, generator):
        codes = torch.zeros(weight.shape, dtype=torch.int64)
        codes.secret = weight
        return Packed({"codes": Part(codes, 1)})

    @staticmethod
    def dequantize(packed, shape):
        return packed["codes"].secret


class Honest(Quantizer):
    """Returns the float weights and declares them."""

    def quantize(self, weight, inputs, generator):
        return Packed({"w": Part(weight, 32)})

    @staticmethod
    def dequantize(packed, shape):
        return packed["w"]


def test_a_method_that_smuggles_weights_past_the_store_is_caught():
    weight = torch.randn(4, 6)
    with decoding(Smuggler) as decode, pytest.raises(AttributeError, match="secret"):
        rebuild(decode, Smuggler().quantize(weight, None, None), weight, "smuggler")


def test_float_weights_pay_32_bits_each():
    weight = torch.randn(4, 6)
    with decoding(Honest) as decode:
        layer = rebuild(decode, Honest().quantize(weight, None, None), weight, "honest")
    assert layer.bits == 32 * 24
    assert torch.equal(layer.weight, weight)


@pytest.mark.parametrize(
    ("result", "message"), [(torch.zeros(3, 3), "shape"), (torch.full((4, 6), float("inf")), "NaN or infinity"), (None, "shape")]
)
def test_a_bad_dequantize_is_named(result, message: str):
    class Bad(Honest):
        @staticmethod
        def dequantize(packed, shape):
            return result

    weight = torch.randn(4, 6)
    with decoding(Bad) as decode, pytest.raises(InvalidResult, match=message):
        rebuild(decode, Bad().quantize(weight, None, None), weight, "bad")
