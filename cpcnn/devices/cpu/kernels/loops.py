"""Loops in LLVM's language, whose sums stay in registers from round to round, and their pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from .vector import (
    LANES,
    bare,
    fused_multiply_add,
    integer,
    mask_of,
    masked_load,
    masked_store,
    prefetch,
    splat,
    vector_at,
)

LINE = 16  # numbers of a line of the cache


def loop(
    builder: Any,
    first: Any,
    end: Any,
    step: int,
    body: Callable[..., Sequence[Any]],
    values: Sequence[Any] = (),
) -> list[Any]:
    """Write a loop of at least one round, and return its last values.

    `body` is called with a round's number and values, and writes what makes the next ones of them.
    """
    before = builder.block
    block, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(block)
    builder.position_at_end(block)
    old = [builder.phi(value.type) for value in (first, *values)]
    for variable, value in zip(old, (first, *values), strict=True):
        variable.add_incoming(value, before)
    new = [builder.add(old[0], integer(step)), *body(*old)]
    for variable, value in zip(old, new, strict=True):
        variable.add_incoming(value, builder.block)
    again = builder.cbranch(builder.icmp_signed("<", new[0], end), block, after)
    again.set_metadata("llvm.loop", not_unrolled(builder.module))
    builder.position_at_end(after)
    return new[1:]


def not_unrolled(module: Any) -> Any:
    """Keep the compiler from unrolling a loop: of more than one round it spills registers."""
    order = module.add_metadata(["llvm.loop.unroll.disable"])
    loop = module.add_metadata([order, integer(len(module.metadata))])  # a node of its own
    loop.operands = (loop, order)  # its first part is itself, which makes it a loop's name
    return loop


def entry(builder: Any, table: Any, at: Any) -> Any:
    return builder.load(builder.gep(table, [at]))


def no_later(builder: Any, first: Any, last: Any, count: int) -> list[Any]:
    """The numbers from `first` on; after the last one comes the last one again."""
    numbers = [builder.add(first, integer(k)) for k in range(count)]
    return [builder.select(builder.icmp_signed("<", k, last), k, last) for k in numbers]


def masks_of(builder: Any, columns: Any, vectors: int) -> list[Any]:
    return [mask_of(builder, builder.sub(columns, integer(v * LANES))) for v in range(vectors)]


def load_line(builder: Any, pointer: Any, masks: list[Any]) -> list[Any]:
    return [
        masked_load(builder, vector_at(builder, pointer, integer(v * LANES)), mask)
        for v, mask in enumerate(masks)
    ]


def store_line(builder: Any, line: Sequence[Any], pointer: Any, masks: list[Any]) -> None:
    for v, (value, mask) in enumerate(zip(line, masks, strict=True)):
        masked_store(builder, value, vector_at(builder, pointer, integer(v * LANES)), mask)


def add_products(
    builder: Any, factors: Sequence[Any], line: Sequence[Any], sums: Sequence[Any]
) -> list[Any]:
    """Add to each row of sums the line times the row's factor, a number."""
    totals = iter(sums)
    return [
        fused_multiply_add(builder, splat(builder, factor), vector, next(totals))
        for factor in factors
        for vector in line
    ]


def raised(builder: Any, value: Any, lowest: Any) -> Any:
    """The larger of both; NaN stays NaN."""
    return builder.select(builder.fcmp_ordered(">", lowest, value), lowest, value)


@intrinsic
def fetch(typing: Any, array: Any, start: Any, count: Any) -> Any:
    """Ask for `count` numbers, which need not exist, to come to the core's second-level cache.

    That is for what is soon read or written in an order that the processor does not foresee. It
    should be little at a time: what is needed now must wait until all is asked for.
    """

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, start, count = bare(context, builder, sig, args)

        def ask(at: Any) -> list[Any]:
            prefetch(builder, builder.gep(array, [at]), level=2)
            return []

        loop(builder, start, builder.add(start, count), LINE, ask)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), code
