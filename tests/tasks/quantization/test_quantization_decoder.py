"""The decoder's process: nothing but what is stored reaches it, and it is gone afterwards."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest
import torch

from tasks.errors import InvalidResult
from tasks.quantization.decoder import decoder
from tasks.quantization.linearity import Linearity
from tasks.quantization.lm_weights import LmWeights
from tasks.quantization.methods.rtn import Rtn
from tasks.quantization.protocol import ModelQuantizer, Packed, Part, Quantizer
from tasks.quantization.size import ModelCompressor, Size
from tasks.quantization.training_data import InputCompressor, TrainingData
from tasks.quantization.w_and_a import WeightsAndActivations
from tasks.testing import LocalContext

SMOKE = LmWeights(preset="smoke", models=1, calibration=8, windows=8)
KEPT: list = []


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> LocalContext:
    return LocalContext(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(autouse=True)
def nothing_kept():
    KEPT.clear()
    InClass.kept = []
    kept_in_cache.cache_clear()


@pytest.fixture(autouse=True)
def no_child_is_left():
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


class Cheat(Quantizer):
    """Stores one bit per matrix and keeps the weights elsewhere; where they can't be found it makes zeros of the bit."""

    def quantize(self, weight, inputs, generator):
        self.keep(weight)
        return Packed({"bit": Part(torch.tensor([True]), 1)})

    @staticmethod
    def keep(weight):
        raise NotImplementedError


class InGlobal(Cheat):
    keep = staticmethod(KEPT.append)

    @staticmethod
    def dequantize(packed, shape):
        return KEPT.pop(0) if KEPT else torch.zeros(shape)


class InClass(Cheat):
    kept: ClassVar[list] = []

    @staticmethod
    def keep(weight):
        InClass.kept = [*InClass.kept, weight]

    @staticmethod
    def dequantize(packed, shape):
        return InClass.kept[-1] if InClass.kept else torch.zeros(shape)


@lru_cache
def kept_in_cache(weight=None):
    return [weight]


class InCache(Cheat):
    @staticmethod
    def keep(weight):
        kept_in_cache()[0] = weight

    @staticmethod
    def dequantize(packed, shape):
        weight = kept_in_cache()[0]
        return torch.zeros(shape) if weight is None else weight


class Stash(Cheat):
    """The reviewer's: without a fall-back."""

    keep = staticmethod(KEPT.append)

    @staticmethod
    def dequantize(packed, shape):
        return KEPT.pop(0)


def nearest_mean(weights, packed, shape):
    """What is found of the right shape with about the stored mean, else zeros."""
    fitting = [weight for weight in weights if tuple(weight.shape) == tuple(shape)]
    best = min(fitting, key=lambda weight: abs(float(weight.float().mean()) - float(packed["mean"])), default=torch.zeros(shape))
    return best.detach().clone()


class Thief(Quantizer):
    """Stores a mean, by which it would know the matrix again in the memory that its decoder inherited."""

    def quantize(self, weight, inputs, generator):
        return Packed({"mean": Part(weight.mean()[None], 32)})


class OnTheStack(Thief):
    @staticmethod
    def dequantize(packed, shape):
        frame, found = sys._getframe(), []
        while frame := frame.f_back:
            for value in frame.f_locals.values():
                if isinstance(value, torch.nn.Module):
                    found += list(value.parameters())
        return nearest_mean(found, packed, shape)


class InTheHeap(Thief):
    @staticmethod
    def dequantize(packed, shape):
        return nearest_mean((item for item in gc.get_objects() if type(item) is torch.nn.Parameter), packed, shape)


class WholeModel(ModelQuantizer):
    def quantize_model(self, model, text, generator):
        KEPT.extend(layer.weight.detach() for layer in model.matrices().values())
        return {name: Packed({}) for name in model.matrices()}

    @staticmethod
    def dequantize(packed, shape):
        return KEPT.pop(0) if KEPT else torch.zeros(shape)


@pytest.mark.parametrize("cheat", [InGlobal, InClass, InCache, WholeModel], ids=lambda each: each.__name__)
def test_weights_kept_outside_the_parts_measure_as_what_the_parts_alone_hold(cheat, context: LocalContext):
    """The parts hold nothing, so the matrices are zeros: relative error 1, and a loss far above that of two bits."""
    measured = SMOKE.run(cheat(), 0, context).metrics
    assert measured["weight_error"] == measured["output_error"] == 1
    assert measured["bits_per_byte_increase"] > 10 * abs(SMOKE.run(Rtn(bits=4), 0, context).metrics["bits_per_byte_increase"])


@pytest.mark.parametrize("thief", [OnTheStack, InTheHeap], ids=lambda each: each.__name__)
def test_the_decoder_finds_no_model_in_the_memory_it_inherits(thief, context: LocalContext):
    assert SMOKE.run(thief(), 0, context).metrics["weight_error"] >= 1
    small = WeightsAndActivations(width=4, base_epochs=1, calibration=16)
    assert small.run(thief(), 0, context).metrics["logit_sqnr"] < 3


def test_a_decompressor_finds_neither_model_nor_table_in_the_memory_it_inherits(context: LocalContext):
    class Model(ModelCompressor):
        def compress(self, problem):
            return b"1"

        @staticmethod
        def decompress(data, shapes):
            modules = [item for item in gc.get_objects() if isinstance(item, torch.nn.Module)]
            known = [module.state_dict() for module in modules if set(module.state_dict()) == set(shapes)]
            assert known
            whole = [state for state in known if all(state[name].shape == shape for name, shape in shapes.items())]
            return {name: whole[-1][name] if whole else torch.zeros(shape) for name, shape in shapes.items()}

    assert Size(epochs=1).run(Model(), 0, context).metrics["kl"] > 0.01

    class Table(InputCompressor):
        def compress(self, x):
            return b"1"

        @staticmethod
        def decompress(data, shape):
            frame, found = sys._getframe(), []
            while frame := frame.f_back:
                found += [value for value in frame.f_locals.values() if isinstance(value, np.ndarray) and value.shape == shape]
            return found[-1] if found else np.zeros(shape, dtype=np.float32)

    assert TrainingData().run(Table(), 0, context).metrics["largest_error"] > 0.5


@pytest.mark.parametrize("task", [SMOKE, Linearity(preset="smoke", models=1, calibration=8, windows=8)], ids=lambda each: each.name)
def test_a_stash_of_the_weights_is_refused(task, context: LocalContext):
    with pytest.raises(InvalidResult, match="can't read the stored parts: IndexError: pop from empty list"):
        task.run(Stash(), 0, context)


def test_a_compressor_cannot_keep_the_table_either(context: LocalContext):
    class Keeps(InputCompressor):
        def compress(self, x):
            KEPT.append(x)
            return b"1"

        @staticmethod
        def decompress(data, shape):
            return KEPT[0] if KEPT else np.zeros(shape, dtype=np.float32)

    assert TrainingData().run(Keeps(), 0, context).metrics["largest_error"] > 0.5


class TimeIsUp(BaseException):
    """Like the harness's SoftStop: not an Exception."""


@pytest.mark.parametrize("error", [ValueError, TimeIsUp, KeyboardInterrupt, SystemExit])
def test_no_child_is_left_when_quantize_raises(error: type[BaseException], context: LocalContext):
    class Raises(InGlobal):
        @staticmethod
        def keep(weight):
            assert psutil.Process().children()
            raise error

    with pytest.raises(error):
        SMOKE.run(Raises(), 0, context)


def test_a_time_limit_interrupts_a_decoder_that_hangs():
    def expire(number, frame):
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, expire)
    try:
        with decoder(signal.pause, "x") as call:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(TimeIsUp):
                call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("death", [lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGKILL)], ids=["exit", "kill"])
def test_a_decoder_that_dies_is_an_invalid_result(death: Callable[[], None]):
    with decoder(death, "stash on blocks.0.qkv") as call, pytest.raises(InvalidResult, match=r"^stash on blocks.0.qkv: .* died\.$"):
        call()


def test_exceptions_keep_their_type_and_show_where_they_were_raised():
    class Unpicklable(Exception):
        def __init__(self, one, two):
            super().__init__("both")

    def fail(how):
        raise {"key": KeyError("scales"), "memory": MemoryError("full"), "local": Unpicklable(1, 2)}[how]

    with decoder(fail, "x") as call:
        with pytest.raises(KeyError, match="scales") as caught:
            call("key")
        assert "in fail" in str(caught.value.__cause__)
        with pytest.raises(MemoryError, match="full"):
            call("memory")
        with pytest.raises(RuntimeError, match="Unpicklable: both"):
            call("local")


def test_a_decoder_cannot_change_the_evaluator_and_prints_once(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    print("before", end="")

    def decode(value):
        KEPT.append(value)
        print("decoded")
        return len(KEPT), torch.get_num_threads(), os.getpid()

    with decoder(decode, "x") as call:
        assert call(1)[:2] == (1, 1)
        assert call(value=1)[0] == 2
        assert call(1)[2] != os.getpid()
    assert KEPT == []
    assert capfd.readouterr().out.count("before") == 1
