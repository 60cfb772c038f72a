"""What a quantizer is: it turns a weight matrix into packed parts, and the evaluator turns the parts back into a matrix.

The evaluator never believes a method. It checks that every part fits the width it declares, serialises the parts, counts the bytes,
reads them back and hands only those to `dequantize`, in a process that was forked before the trial's first call of `quantize` and lost the
float32 weights: what `quantize` leaves in a global, on its class or in a cache does not reach the model, and there is no model to find on
the stack or through the garbage collector. The limits of this: a method that reads the base model's file, or passes weights through files
or to a later trial on the same base model through the memory of a worker that runs both, is not found out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tasks.api import Method
from tasks.quantization.gpt import Gpt

#: A method with this word in its `knowledge` is handed the inputs of each layer on calibration text; others get None.
CALIBRATION = "calibration text"
#: A method with this word may train on the base model's own training text.
TRAINING = "training text"


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a packed matrix.

    Integers: `values` has an integer or bool dtype, every value lies in [0, 2^bits), 1 <= bits <= 32, and costs `bits` bits.
    Floats: dtype float16, bfloat16 (16 bits) or float32 (32 bits), all values finite.
    """

    values: Tensor
    bits: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A quantised matrix: named parts and a small JSON note.

    A part counts its values times its width, rounded up to whole bytes. The note counts the bytes of its canonical JSON; a note that
    several matrices of a model share is stored, and counted, once. The matrix's shape is known to the model and free. So are the names of
    the first matrix's parts; matrices with other names pay for each further set of them.
    """

    parts: Mapping[str, Part]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.parts[name].values

    def __contains__(self, name: str) -> bool:
        return name in self.parts


@dataclass(frozen=True)
class Inputs:
    """What a layer y = W x saw on the calibration text: `x` is [samples, in] float32, from the model quantised up to the layer's block."""

    x: Tensor

    @cached_property
    def gram(self) -> Tensor:
        """E[x x^T], [in, in] float64: the layer's squared output error for a weight change D is tr(D gram D^T) per sample."""
        return (self.x.T @ self.x).double() / self.x.shape[0]


class Quantizer(Method, family="quantization"):
    """Quantises one weight matrix at a time.

    Add `knowledge=(CALIBRATION,)` to a subclass to be handed the layer's inputs.
    """

    largest_inputs: ClassVar[int | None] = None  #: layers with more inputs are out of reach; None for a method that scales

    @abstractmethod
    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        """Pack `weight`, [out, in] float32 (read-only). `generator` is the method's random stream; all randomness comes from it."""

    @staticmethod
    @abstractmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        """The matrix [out, in] float32 that `packed` stands for: a pure function, static so that it sees its arguments only."""


class ModelQuantizer(Method, family="quantization"):
    """Quantises all matrices of a language model together, and may train for it: knowledge=(TRAINING,)."""

    @abstractmethod
    def quantize_model(self, model: Gpt, text: np.ndarray, generator: torch.Generator) -> dict[str, Packed]:
        """Pack every matrix of `model.matrices()`, by name. `model` is the method's own copy; `text` is the training text as uint8.

        Only the packed matrices reach the evaluation: whatever else the method changes in the model is lost.
        """

    @staticmethod
    @abstractmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        """As `Quantizer.dequantize`."""
