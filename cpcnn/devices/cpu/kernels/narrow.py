"""Convolution to one or three channels: each number a sum of products of rows, in all lanes.

A product of matrices would fill one or three lanes of its vectors. Tables and blocks are those of
gather.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import kernel
from .loops import entry, loop, no_later
from .vector import (
    LANES,
    VECTOR,
    bare,
    fused_multiply_add,
    integer,
    mask_of,
    masked_load,
    masked_store,
    vector_at,
)

RESULTS = (1, 3)  # numbers of a pixel, of those that there is code for


def _make(results: int) -> Any:
    """Make what writes so many numbers each for the pixels from `first` to `end`.

    With depth a multiple of channels:
    y[targets[q] + to + j] = sum over k < depth, in steps of `channels`, and f < channels of
        x[start + pixels[q] + window[at + k] + f] * w[rows[at + k] * results + j * channels + f]
    """

    @intrinsic
    def multiply(
        typing: Any,
        x: Any,
        start: Any,
        pixels: Any,
        first: Any,
        end: Any,
        window: Any,
        rows: Any,
        at: Any,
        depth: Any,
        channels: Any,
        w: Any,
        y: Any,
        targets: Any,
        to: Any,
    ) -> Any:
        n = types.int64
        sig = types.void(x, n, pixels, n, n, window, rows, n, n, n, w, y, targets, n)

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _write_products(builder, results, *bare(context, builder, sig, args))
            return context.get_dummy_value()

        return sig, code

    return multiply


def _write_products(
    builder: Any,
    results: int,
    x: Any,
    start: Any,
    pixels: Any,
    first: Any,
    end: Any,
    window: Any,
    rows: Any,
    at: Any,
    depth: Any,
    channels: Any,
    w: Any,
    y: Any,
    targets: Any,
    to: Any,
) -> None:
    together = LANES // results  # pixels, whose sums become the lanes of a vector
    image, result = builder.gep(x, [start]), builder.gep(y, [to])
    last, taps = builder.sub(end, integer(1)), builder.sdiv(depth, channels)

    def of_pixels(number: Any) -> list[Any]:
        numbers = no_later(builder, number, last, together)
        corners = [builder.gep(image, [entry(builder, pixels, q)]) for q in numbers]

        def of_tap(tap: Any, *sums: Any) -> list[Any]:
            k = builder.add(at, builder.mul(tap, channels))
            way = entry(builder, window, k)
            row = builder.gep(w, [builder.mul(entry(builder, rows, k), integer(results))])
            weights = [
                builder.gep(row, [builder.mul(channels, integer(j))]) for j in range(results)
            ]

            def of_lanes(f: Any, *sums: Any) -> list[Any]:
                mask = mask_of(builder, builder.sub(channels, f))
                places = [vector_at(builder, c, builder.add(way, f)) for c in corners]
                values = [masked_load(builder, place, mask) for place in places]
                factors = [masked_load(builder, vector_at(builder, r, f), mask) for r in weights]
                pairs = [(value, factor) for value in values for factor in factors]
                return [
                    fused_multiply_add(builder, *pair, total)
                    for pair, total in zip(pairs, sums, strict=True)
                ]

            return loop(builder, integer(0), channels, LANES, of_lanes, sums)

        zeros = [VECTOR(None)] * (together * results)
        sums = loop(builder, integer(0), taps, 1, of_tap, zeros)
        line = _totals(builder, [*sums, *[VECTOR(None)] * (LANES - len(sums))])
        mask = mask_of(builder, integer(results))
        for p, q in enumerate(numbers):
            place = builder.gep(result, [entry(builder, targets, q)])
            mine = _chosen(builder, line, line, [(p * results + k) % LANES for k in range(LANES)])
            masked_store(builder, mine, vector_at(builder, place, integer(0)), mask)
        return []

    loop(builder, first, end, together, of_pixels)


def _totals(builder: Any, vectors: list[Any]) -> Any:
    """The sums of the lanes of LANES vectors, as one: each time, two vectors are folded to one."""
    size = LANES  # lanes of what is folded: those of one of the vectors
    while size > 1:
        half = size // 2
        first = [k % size // half * LANES + k // size * size + k % half for k in range(LANES)]
        second = [k + half for k in first]
        middle = len(vectors) // 2
        vectors = [
            builder.fadd(_chosen(builder, *pair, first), _chosen(builder, *pair, second))
            for pair in zip(vectors[:middle], vectors[middle:], strict=True)
        ]
        size = half
    return vectors[0]


def _chosen(builder: Any, one: Any, other: Any, order: list[int]) -> Any:
    kind = ir.VectorType(ir.IntType(32), LANES)
    return builder.shuffle_vector(one, other, ir.Constant(kind, order))


_to_one, _to_three = (_make(results) for results in RESULTS)


@kernel
def convolve(
    x, total, blocks, spans, segments, pixels, targets, window, rows, channels, results, w, y,
    begin, end,
):  # fmt: skip
    """Windows times w (cells, results, channels), for the blocks from begin to end."""
    images, bands, x_image, y_image = blocks
    for block in range(begin, end):
        image, band = block // bands * images, block % bands
        for s in range(spans[band], spans[band + 1]):
            first, per_image, at, depth = segments[s]
            last = first + min(images, total - image) * per_image
            start, to = image * x_image, image * y_image
            if depth == 0:
                for q in range(first, last):
                    for j in range(results):
                        y[to + targets[q] + j] = np.float32(0)
            elif results == 1:
                _to_one(
                    x, start, pixels, first, last, window, rows, at, depth, channels, w,
                    y, targets, to,
                )  # fmt: skip
            else:
                _to_three(
                    x, start, pixels, first, last, window, rows, at, depth, channels, w,
                    y, targets, to,
                )  # fmt: skip
