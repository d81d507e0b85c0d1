"""3×3 convolution of one or three channels: all weights of some filters stay in registers.

A product of so few numbers a pixel (9 or 27) would take less time than starting it. Here instead
a loop over pixels has the weights of LANES or 2 * LANES filters at hand, and reads the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .gather import locate
from .jit import kernel
from .vector import (
    INT,
    LANES,
    bare,
    fused_multiply_add,
    integer,
    mask_of,
    masked_load,
    masked_store,
    splat,
    vector_at,
)

SIDE = 3
PAIR = 2 if LANES == 16 else 1  # vectors of nine weights that fit the registers


def _make(channels: int, vectors: int) -> Any:
    """Make the loop for so many input channels, over so many vectors of filters."""

    @intrinsic
    def loop(
        typing: Any,
        x: Any,
        start: Any,
        line: Any,
        pixels: Any,
        count: Any,
        w: Any,
        bias: Any,
        has_bias: Any,
        floor: Any,
        filters: Any,
        first: Any,
        y: Any,
        targets: Any,
        to: Any,
    ) -> Any:
        n = types.int64
        sig = types.void(
            x, n, n, pixels, n, w, bias, types.boolean, types.float32, n, n, y, targets, n
        )

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _write_loop(builder, channels, vectors, *bare(context, builder, sig, args))
            return context.get_dummy_value()

        return sig, code

    return loop


def _write_loop(
    builder: Any,
    channels: int,
    vectors: int,
    x: Any,
    start: Any,
    line: Any,
    pixels: Any,
    count: Any,
    w: Any,
    bias: Any,
    has_bias: Any,
    floor: Any,
    filters: Any,
    first: Any,
    y: Any,
    targets: Any,
    to: Any,
) -> None:
    columns = builder.sub(filters, first)
    masks = [mask_of(builder, builder.sub(columns, integer(v * LANES))) for v in range(vectors)]
    known = builder.select(has_bias, columns, integer(0))
    shifts = []
    for v in range(vectors):
        mask = mask_of(builder, builder.sub(known, integer(v * LANES)))
        place = vector_at(builder, bias, builder.add(first, integer(v * LANES)))
        shifts.append(masked_load(builder, place, mask))
    weights = []
    for k in range(SIDE * SIDE * channels):
        row = builder.add(builder.mul(filters, integer(k)), first)
        places = [
            vector_at(builder, w, builder.add(row, integer(v * LANES))) for v in range(vectors)
        ]
        weights.append([masked_load(builder, p, m) for p, m in zip(places, masks, strict=True)])
    lowest = splat(builder, floor)
    image, result = builder.gep(x, [start]), builder.gep(y, [builder.add(to, first)])

    before = builder.block
    body, after = builder.append_basic_block("pixel"), builder.append_basic_block("done")
    builder.branch(body)
    builder.position_at_end(body)
    number = builder.phi(INT)
    number.add_incoming(integer(0), before)
    corner = builder.gep(image, [builder.load(builder.gep(pixels, [number]))])
    sums = shifts
    for i in range(SIDE):
        row = builder.gep(corner, [builder.mul(line, integer(i))])
        for j in range(SIDE * channels):
            factor = splat(builder, builder.load(builder.gep(row, [integer(j)])))
            line_of = weights[i * SIDE * channels + j]
            sums = [
                fused_multiply_add(builder, factor, weight, total)
                for weight, total in zip(line_of, sums, strict=True)
            ]
    place = builder.gep(result, [builder.load(builder.gep(targets, [number]))])
    for v, (total, mask) in enumerate(zip(sums, masks, strict=True)):
        raised = builder.select(builder.fcmp_ordered("<=", total, lowest), lowest, total)
        masked_store(builder, raised, vector_at(builder, place, integer(v * LANES)), mask)
    following = builder.add(number, integer(1))
    number.add_incoming(following, body)
    builder.cbranch(builder.icmp_signed("<", following, count), body, after)
    builder.position_at_end(after)


_one_channel = _make(1, PAIR)
_three_channels = _make(3, 1)


@kernel
def convolve(
    x,
    total,
    source,
    copy,
    blocks,
    pixels,
    per_band,
    per_last_band,
    w,
    filters,
    y,
    targets,
    y_image,
    y_band,
    bias,
    has_bias,
    rectify,
    begin,
    end,
    scratch,
):
    """3×3 windows of 1 or 3 channels times w, plus bias, rectified, for the blocks of a plan.

    Arguments are those of gather.convolve.
    """
    channels, columns = source[2], source[6]
    array = scratch if copy else x
    floor = np.float32(0) if rectify else np.float32(-np.inf)
    for block in range(begin, end):
        image, band, count, start = locate(block, blocks, source, copy, x, scratch, total)
        count *= per_last_band if band == blocks[1] - 1 else per_band
        to = image * y_image + band * y_band
        if channels == 1:
            for first in range(0, filters, PAIR * LANES):
                _one_channel(
                    array, start, columns, pixels, count, w, bias, has_bias, floor, filters,
                    first, y, targets, to,
                )  # fmt: skip
        else:
            for first in range(0, filters, LANES):
                _three_channels(
                    array, start, 3 * columns, pixels, count, w, bias, has_bias, floor, filters,
                    first, y, targets, to,
                )  # fmt: skip
