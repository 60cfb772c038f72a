"""Sixteen float32 lanes as values of compiled loops, for what numba's own vectoriser does not find, and the means to emit more.

LLVM makes one register of them with AVX-512, two with AVX2, four with SSE or NEON. Memory need not be aligned; no index is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

LANES = 16
_bit8, _bit16, _bit32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
FLOATS, WORDS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(_bit32, LANES)


def _features() -> set[str]:
    """What numba compiles for: the host's, unless NUMBA_CPU_FEATURES says otherwise."""
    if config.CPU_FEATURES is not None:
        return {feature.removeprefix("+") for feature in config.CPU_FEATURES.split(",") if feature.startswith("+")}
    return {feature for feature, present in llvm.get_host_cpu_features().items() if present}


_FEATURES = _features()
HAS_LOOKUP = "avx512f" in _FEATURES  #: a permutation of sixteen lanes by sixteen indices
HAS_DOT = "avx2" in _FEATURES  #: sums of products of bytes


class _Floats(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float32x16")


@register_default(_Floats)
class _FloatsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


floats = _Floats()


def instruction(result: Any, *arguments: Any) -> Callable[[Callable[..., ir.Value]], Any]:
    """An intrinsic with these types; the function decorated emits it: (builder, values...) to a value."""

    def wrap(emit: Callable[..., ir.Value]) -> Any:
        def code(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[ir.Value]) -> ir.Value:
            return emit(builder, *values)

        typed = result(*arguments), code
        # numba reads the number of arguments off the function.
        function: Any = [lambda context, a: typed, lambda context, a, b: typed, lambda context, a, b, c: typed][len(arguments) - 1]
        function.__name__, function.__doc__ = emit.__name__, emit.__doc__
        return intrinsic(function)

    return wrap


def constant(value: int | float | Sequence[int] | Sequence[float], kind: ir.VectorType = WORDS) -> ir.Constant:
    """A vector of numbers, or of one number in all lanes."""
    return ir.Constant(kind, list(value) if isinstance(value, Sequence) else [value] * kind.count)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *values: ir.Value) -> ir.Value:
    """An LLVM intrinsic by its full name."""
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def broadcast(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A number in all lanes."""
    alone = builder.insert_element(ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined), value, _bit32(0))
    return builder.shuffle_vector(alone, alone, constant(0))


def pointer(context: Any, builder: ir.IRBuilder, kind: types.Array, array: ir.Value, place: ir.Value, target: ir.Type) -> ir.Value:
    """Pointer to a `target` at an element of a contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), target.as_pointer())


def butterfly(builder: ir.IRBuilder, value: ir.Value, distance: int) -> ir.Value:
    """a + b in place of a and a - b in place of b, for lanes a and b that lie 1, 2, 4 or 8 apart."""
    partner = builder.shuffle_vector(value, value, constant([lane ^ distance for lane in range(LANES)]))
    sign = constant([-1.0 if lane & distance else 1.0 for lane in range(LANES)], FLOATS)
    return call(builder, "llvm.fma.v16f32", FLOATS, value, sign, partner)  # exact: a product with 1 or -1


def _few(context: Any, builder: ir.IRBuilder, kind: types.Array, values: Sequence[ir.Value], count: int) -> ir.Value:
    """`count` neighbours in a contiguous array of float32, or of float16 seen as uint16 (numba has no float16), as float32."""
    stored = ir.HalfType() if kind.dtype == types.uint16 else ir.FloatType()
    found = builder.load(pointer(context, builder, kind, values[0], values[1], ir.VectorType(stored, count)), align=2)
    return found if kind.dtype == types.float32 else builder.fpext(found, ir.VectorType(ir.FloatType(), count))


@intrinsic
def load(typing_context: Any, array: Any, start: Any) -> Any:
    """Elements start to start + 15 of a contiguous array of float32 (or float16 seen as uint16)."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[ir.Value]) -> ir.Value:
        return _few(context, builder, array, values, LANES)

    return floats(array, types.intp), code


@intrinsic
def store(typing_context: Any, array: Any, start: Any, value: Any) -> Any:
    """Lanes to elements start to start + 15 of a contiguous array of float32."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[ir.Value]) -> ir.Value:
        builder.store(values[2], pointer(context, builder, array, values[0], values[1], FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, floats), code


def spread(count: int) -> Any:
    """The function of an array as in `load` that puts each of `count` neighbours, a power of two, in 16 / count lanes."""

    @intrinsic
    def spreads(typing_context: Any, array: Any, start: Any) -> Any:
        def code(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[ir.Value]) -> ir.Value:
            few = _few(context, builder, array, values, count)
            return builder.shuffle_vector(few, few, constant([lane * count // LANES for lane in range(LANES)]))

        return floats(array, types.intp), code

    return spreads


@instruction(floats, types.float32)
def splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A number in all lanes."""
    return broadcast(builder, value)


@instruction(floats, floats, floats)
def add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a + b"""
    return builder.fadd(a, b)


@instruction(floats, floats, floats)
def subtract(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a - b"""
    return builder.fsub(a, b)


@instruction(floats, floats, floats)
def multiply(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a b"""
    return builder.fmul(a, b)


@instruction(floats, floats, floats, floats)
def fused(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a b + c, rounded once."""
    return call(builder, "llvm.fma.v16f32", FLOATS, a, b, c)


@instruction(floats, floats, floats)
def larger(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The larger of a and b; b where one is not a number."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@instruction(floats, floats, floats)
def smaller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The smaller of a and b; b where one is not a number."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@instruction(floats, floats)
def whole(builder: ir.IRBuilder, a: ir.Value) -> ir.Value:
    """The nearest integer, ties to even."""
    return call(builder, "llvm.rint.v16f32", FLOATS, a)


@instruction(types.float32, floats)
def first_lane(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The number in lane 0."""
    return builder.extract_element(value, _bit32(0))


@instruction(types.float32, floats)
def total(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Sum of the lanes, halves added to halves."""
    width = LANES // 2
    while width:
        turned = builder.shuffle_vector(value, value, constant([lane ^ width for lane in range(LANES)]))
        value, width = builder.fadd(value, turned), width // 2
    return builder.extract_element(value, _bit32(0))


def dot(builder: ir.IRBuilder, start: ir.Value, unsigned: ir.Value, signed: ir.Value) -> ir.Value:
    """start + the sum of four products of bytes, unsigned by signed, in each lane; exact while the unsigned ones are below 129."""
    count = 64
    left, right = (builder.bitcast(value, ir.VectorType(_bit8, count)) for value in (unsigned, signed))
    if "avx512vnni" in _FEATURES:
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", WORDS, start, left, right)
    parts = []
    for first in (0, 32):
        places = constant(list(range(first, first + 32)), ir.VectorType(_bit32, 32))
        halves = [builder.shuffle_vector(value, value, places) for value in (left, right)]
        pairs = call(builder, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(_bit16, 16), *halves)
        ones = constant(1, ir.VectorType(_bit16, 16))
        parts.append(call(builder, "llvm.x86.avx2.pmadd.wd", ir.VectorType(_bit32, 8), pairs, ones))
    return builder.add(start, builder.shuffle_vector(*parts, constant(list(range(LANES)))))
