"""A vector of float32 for kernels, as wide as a register: load, store, + - *, maximum, fma.

Loops over channels that load dozens of vectors and store dozens are beyond what a compiler
vectorises by itself. Written with this type they are the instructions one reads.

A Numba type of its own; see "Low-level extension API" in Numba's documentation.
"""

from __future__ import annotations

import operator
import os
from typing import Any, ClassVar

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np.arrayobj import make_array


def _register_lanes() -> int:
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx") else 4


LANES = int(os.environ.get("CPCNN_LANES", 0)) or _register_lanes()  # the variable is for tests

FLOAT = ir.FloatType()
INT = ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)
FLAGS = ("contract", "nsz")


class Vector(types.Type):
    """The Numba type of LANES numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, VECTOR)


# ---- Pieces of LLVM code, also for product.py -------------------------------------------------


def data_pointer(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return make_array(array_type)(context, builder, array).data


def bare(context: Any, builder: Any, sig: Any, args: Any) -> list[Any]:
    """Return the arguments of an intrinsic, with a pointer to its numbers for every array."""
    return [
        data_pointer(context, builder, kind, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(sig.args, args, strict=True)
    ]


def integer(value: int) -> Any:
    return ir.Constant(INT, value)


def splat(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, everywhere)


def vector_at(builder: Any, pointer: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), VECTOR.as_pointer())


def fused_multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    function_type = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(
        builder.module, function_type, f"llvm.fma.v{LANES}f32"
    )
    return builder.call(function, [a, b, c])


def mask_of(builder: Any, count: Any) -> Any:
    """The mask of the first `count` lanes."""
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(range(LANES)))
    narrow = builder.trunc(count, ir.IntType(32))
    undefined = ir.Constant(lanes.type, ir.Undefined)
    first = builder.insert_element(undefined, narrow, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(lanes.type, [0] * LANES)
    return builder.icmp_signed("<", lanes, builder.shuffle_vector(first, undefined, zeros))


def masked_load(builder: Any, pointer: Any, mask: Any) -> Any:
    arguments = [VECTOR.as_pointer(), ir.IntType(32), MASK, VECTOR]
    name = f"llvm.masked.load.v{LANES}f32.p0"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VECTOR, arguments), name
    )
    alignment = ir.Constant(ir.IntType(32), 4)
    return builder.call(function, [pointer, alignment, mask, ir.Constant(VECTOR, None)])


def masked_store(builder: Any, value: Any, pointer: Any, mask: Any) -> None:
    arguments = [VECTOR, VECTOR.as_pointer(), ir.IntType(32), MASK]
    name = f"llvm.masked.store.v{LANES}f32.p0"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), arguments), name
    )
    builder.call(function, [value, pointer, ir.Constant(ir.IntType(32), 4), mask])


def prefetch(builder: Any, pointer: Any, level: int = 1) -> None:
    """Ask for what lies at a pointer, which may be anywhere: nothing waits for it.

    It comes to the first or the second level of the core's cache. Not for writing: a line that two
    threads read would go to and fro between their caches.
    """
    number, byte = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    to_read, near, data = (ir.Constant(number, value) for value in (0, 4 - level, 1))
    builder.call(function, [builder.bitcast(pointer, byte), to_read, near, data])


# ---- What kernels call: arrays are contiguous, offsets count elements -------------------------


@intrinsic
def load(typing: Any, array: Any, offset: Any) -> Any:
    """Return the LANES elements from `offset` on."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = data_pointer(context, builder, sig.args[0], args[0])
        return builder.load(vector_at(builder, pointer, args[1]), align=4)

    return vector(array, types.int64), code


@intrinsic
def store(typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector to the LANES elements from `offset` on."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = data_pointer(context, builder, sig.args[0], args[0])
        builder.store(args[2], vector_at(builder, pointer, args[1]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), code


@intrinsic
def put(typing: Any, array: Any, offset: Any, value: Any, streamed: Any) -> Any:
    """Store a vector; `streamed`: past the cache, which saves reading what is overwritten.

    That is for arrays larger than the cache, and the place must be aligned to a vector.
    """

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = data_pointer(context, builder, sig.args[0], args[0])
        place = vector_at(builder, pointer, args[1])
        one = ir.Constant(ir.IntType(32), 1)
        with builder.if_else(args[3]) as (past, through):
            with past:
                written = builder.store(args[2], place, align=4 * LANES)
                written.set_metadata("nontemporal", builder.module.add_metadata([one]))
            with through:
                builder.store(args[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector, types.boolean), code


@intrinsic
def load_first(typing: Any, array: Any, offset: Any, count: Any) -> Any:
    """Return `count` (at most LANES) elements from `offset` on, and zeros after them."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = data_pointer(context, builder, sig.args[0], args[0])
        mask = mask_of(builder, args[2])
        return masked_load(builder, vector_at(builder, pointer, args[1]), mask)

    return vector(array, types.int64, types.int64), code


@intrinsic
def store_first(typing: Any, array: Any, offset: Any, value: Any, count: Any) -> Any:
    """Write the first `count` (at most LANES) numbers of a vector."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = data_pointer(context, builder, sig.args[0], args[0])
        target = vector_at(builder, pointer, args[1])
        masked_store(builder, args[2], target, mask_of(builder, args[3]))
        return context.get_dummy_value()

    return types.void(array, types.int64, vector, types.int64), code


@intrinsic
def fill(typing: Any, value: Any) -> Any:
    """Return a vector of one number everywhere."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat(builder, args[0])

    return vector(types.float32), code


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return fused_multiply_add(builder, *args)

    return vector(vector, vector, vector), code


@intrinsic
def relu(typing: Any, value: Any) -> Any:
    """Return the larger of each number and zero; NaN stays NaN."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = ir.Constant(VECTOR, None)
        return builder.select(builder.fcmp_ordered("<=", args[0], zero), zero, args[0])

    return vector(vector), code


@intrinsic
def transpose(
    typing: Any,
    source: Any,
    at: Any,
    step: Any,
    rows: Any,
    columns: Any,
    target: Any,
    to: Any,
    to_step: Any,
) -> Any:
    """Write the columns of up to LANES × LANES numbers, whose rows are `step` apart, as rows.

    Numbers outside are not read, and what is written beside them is left as it is.
    """

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, at, step, rows, columns, target, to, to_step = bare(context, builder, sig, args)
        lines = [
            masked_load(builder, *_line(builder, source, at, step, i, rows, columns))
            for i in range(LANES)
        ]
        for _ in range(LANES.bit_length() - 1):  # each time, lines half as far apart are mixed
            pairs = zip(lines[: LANES // 2], lines[LANES // 2 :], strict=True)
            lines = [mixed for pair in pairs for mixed in _mixed(builder, *pair)]
        for i, line in enumerate(lines):
            masked_store(builder, line, *_line(builder, target, to, to_step, i, columns, rows))
        return context.get_dummy_value()

    n = types.int64
    return types.void(source, n, n, n, n, target, n, n), code


def _line(
    builder: Any, array: Any, at: Any, step: Any, i: int, count: Any, width: Any
) -> tuple[Any, Any]:
    """Return where line `i` of `count` lines lies, and the mask of its numbers."""
    place = vector_at(builder, array, builder.add(at, builder.mul(step, integer(i))))
    there = builder.icmp_signed("<", integer(i), count)
    return place, mask_of(builder, builder.select(there, width, integer(0)))


def _mixed(builder: Any, one: Any, other: Any) -> list[Any]:
    """Return the numbers of two vectors by turns: those of their first halves, and the rest."""
    kind = ir.VectorType(ir.IntType(32), LANES)
    turns = [number for i in range(LANES) for number in (i, LANES + i)]
    orders = (ir.Constant(kind, turns[:LANES]), ir.Constant(kind, turns[LANES:]))
    return [builder.shuffle_vector(one, other, order) for order in orders]


def _define(symbol: Any, instruction: str) -> None:
    """Give + - or * a meaning for two vectors, and for a number and a vector."""

    @infer_global(symbol)
    class _(ConcreteTemplate):
        cases: ClassVar[list[Any]] = [
            signature(vector, vector, vector),
            signature(vector, types.float64, vector),
        ]

    @lower_builtin(symbol, vector, vector)
    def two_vectors(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=FLAGS)

    @lower_builtin(symbol, types.float64, vector)
    def number_and_vector(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        number = splat(builder, builder.fptrunc(args[0], FLOAT))
        return getattr(builder, instruction)(number, args[1], flags=FLAGS)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
