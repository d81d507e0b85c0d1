"""Choosing among vectors by comparison, and bytes that tell what was chosen.

Numbers of a choice are held as vectors of float32 and kept in memory as bytes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vector import LANES, MASK, VECTOR, data_pointer, mask_of, vector

BYTES = ir.VectorType(ir.IntType(8), LANES)
ZERO = ir.Constant(VECTOR, None)


@intrinsic
def where_positive(typing: Any, gate: Any, value: Any) -> Any:
    """Return `value` where `gate` > 0, and zero elsewhere: also where `gate` is NaN."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], ZERO), args[1], ZERO)

    return vector(vector, vector), code


@intrinsic
def where_equal(typing: Any, a: Any, b: Any, value: Any) -> Any:
    """Return `value` where a == b, and zero elsewhere."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("==", args[0], args[1]), args[2], ZERO)

    return vector(vector, vector, vector), code


@intrinsic
def larger(typing: Any, best: Any, value: Any) -> Any:
    """Return `value` where it beats `best`, which is where it is larger, or the first NaN."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(_beats(builder, args[0], args[1]), args[1], args[0])

    return vector(vector, vector), code


@intrinsic
def winner(typing: Any, best: Any, value: Any, old: Any, new: Any) -> Any:
    """Return `new` where `value` beats `best`, and `old` elsewhere."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(_beats(builder, args[0], args[1]), args[3], args[2])

    return vector(vector, vector, vector, vector), code


def _beats(builder: Any, best: Any, value: Any) -> Any:
    larger_or_nan = builder.fcmp_unordered(">", value, best)
    return builder.and_(larger_or_nan, builder.fcmp_ordered("ord", best, best))


# ---- Bytes ------------------------------------------------------------------------------------


@intrinsic
def load_bytes(typing: Any, array: Any, offset: Any, count: Any) -> Any:
    """Return `count` (at most LANES) bytes from `offset` on as numbers, and zeros after them."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _bytes_at(context, builder, sig, args)
        arguments = [pointer, _ALIGNMENT, mask_of(builder, args[2]), ir.Constant(BYTES, None)]
        kinds = [BYTES.as_pointer(), _ALIGNMENT.type, MASK, BYTES]
        function = _declared(builder, "load", ir.FunctionType(BYTES, kinds))
        return builder.uitofp(builder.call(function, arguments), VECTOR)

    return vector(array, types.int64, types.int64), code


@intrinsic
def store_bytes(typing: Any, array: Any, offset: Any, value: Any, count: Any) -> Any:
    """Write the first `count` (at most LANES) numbers of a vector as bytes."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _bytes_at(context, builder, sig, args)
        # by way of the wider integers that processors convert to
        integers = builder.fptosi(args[2], ir.VectorType(ir.IntType(32), LANES))
        values = builder.trunc(integers, BYTES)
        kinds = [BYTES, BYTES.as_pointer(), _ALIGNMENT.type, MASK]
        function = _declared(builder, "store", ir.FunctionType(ir.VoidType(), kinds))
        builder.call(function, [values, pointer, _ALIGNMENT, mask_of(builder, args[3])])
        return context.get_dummy_value()

    return types.void(array, types.int64, vector, types.int64), code


_ALIGNMENT = ir.Constant(ir.IntType(32), 1)


def _bytes_at(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = data_pointer(context, builder, sig.args[0], args[0])
    return builder.bitcast(builder.gep(pointer, [args[1]]), BYTES.as_pointer())


def _declared(builder: Any, action: str, kind: Any) -> Any:
    name = f"llvm.masked.{action}.v{LANES}i8.p0"
    return cgutils.get_or_insert_function(builder.module, kind, name)
