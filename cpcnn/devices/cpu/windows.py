"""Which numbers every pixel of a convolution's result is a sum of, as tables for kernels.

A pixel's taps are the cells of the kernel that reach it, and what they read: only those inside the
image. Pixels of the same cells, which read the same way apart, are a class: all that are away from
the border, or for the input's gradient those of a phase of the stride. As each class has a window
of its own, there is no padding, and nothing to be tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...core.typing import Shape
from ...core.window import Window
from .kernels.product import AHEAD, ROWS

LEAST_PIXELS = 256  # of a block, so that packing weights for it takes little of the time

Numbers: TypeAlias = NDArray[np.int64]
Taps: TypeAlias = Sequence[tuple[int, int]]  # of a row or column: cells, and what they read
Ways: TypeAlias = tuple[tuple[int, int], ...]  # the same, from the first tap on
Classes: TypeAlias = dict[Ways, Numbers]


class Tables(NamedTuple):
    """The tables of one call, as kernels/gather.py describes them."""

    blocks: tuple[int, int, int, int]
    spans: Numbers
    segments: Numbers
    pixels: Numbers
    targets: Numbers
    window: Numbers
    rows: Numbers


@dataclass(frozen=True, eq=False)
class Plan:
    tables: Tables
    count: int  # of blocks
    depth: int  # numbers of a whole window
    work: int  # multiplications


def forward_sides(window: Window, size: Shape) -> list[list[Taps]]:
    """Return the taps of every row, and of every column, of the convolution of images."""
    return [
        [
            [
                (cell, place)
                for cell in range(kernel)
                if 0 <= (place := index * stride - before + cell * dilation) < length
            ]
            for index in range(out)
        ]
        for kernel, stride, dilation, before, length, out in _sides(window, size)
    ]


def backward_sides(window: Window, size: Shape) -> list[list[Taps]]:
    """Return the taps of every row, and of every column, of the gradient of images."""
    return [
        [
            [
                (cell, place // stride)
                for cell in reversed(range(kernel))  # so that places grow, as memory does
                if (place := index + before - cell * dilation) % stride == 0
                and 0 <= place < out * stride
            ]
            for index in range(length)
        ]
        for kernel, stride, dilation, before, length, out in _sides(window, size)
    ]


def _sides(window: Window, size: Shape) -> Iterator[tuple[int, ...]]:
    before = (pads[0] for pads in window.padding)
    out = window.output(*size)
    return zip(window.kernel, window.stride, window.dilation, before, size, out, strict=True)


def _classes(taps: Sequence[Taps], begin: int, end: int) -> Classes:
    """Sort rows or columns: for every way from the first tap to the others, (index, first)."""
    found: dict[Ways, list[tuple[int, int]]] = {}
    for index in range(begin, end):
        first = taps[index][0][1] if taps[index] else 0
        ways = tuple((cell, place - first) for cell, place in taps[index])
        found.setdefault(ways, []).append((index, first))
    return {ways: np.array(pairs).T for ways, pairs in found.items()}


def make_plan(
    sides: Sequence[Sequence[Taps]],
    source: Shape,
    results: int,
    kernel: tuple[int, int],
    channels: int,
    work: int,
    block: int,
    least: int,
    cuts: int = 1,
) -> Plan:
    """Plan the sums of `work` products of weights and `channels` numbers of each tap.

    They are `results` a pixel. Blocks have `block` numbers of `source` (N, H, W, C) at most, and
    are `least` at least. Windows come in so many `cuts`.
    """
    images, height, width, depth = source
    rows, columns = (len(taps) for taps in sides)
    line = -(-height * width * depth // rows)
    most = max(1, block // line, LEAST_PIXELS // columns)
    together, per_band = _cut_images(images, rows, most, least)
    tables = _Tables(source, (rows, columns, results), kernel, channels, cuts)
    bands = range(0, rows, per_band)
    across = _classes(sides[1], 0, columns)
    for row in bands:
        tables.add_band(_classes(sides[0], row, min(row + per_band, rows)), across, together)
    return Plan(
        tables.made((together, len(bands), height * width * depth, rows * columns * results)),
        -(-images // together) * len(bands),
        kernel[0] * kernel[1] * channels,
        work,
    )


def _cut_images(images: int, rows: int, most: int, least: int) -> tuple[int, int]:
    """Return how many images are a block, and how many of their `rows`: `most` in all."""
    if images >= least and rows <= most:
        return min(most // rows, images // least), rows
    if images < least:
        most = min(most, -(-rows * images // least))
    return 1, min(rows, most)


class _Table:
    """Numbers, as they are added."""

    def __init__(self) -> None:
        self._parts: list[Numbers] = []
        self.size = 0

    def add(self, *parts: Numbers) -> int:
        """Add numbers; return where they begin."""
        self._parts += parts
        self.size += sum(len(part) for part in parts)
        return self.size - sum(len(part) for part in parts)

    def made(self) -> Numbers:
        # products look at what comes next, also at the end
        return np.concatenate([*self._parts, np.zeros(max(ROWS, AHEAD), np.int64)])


class _Tables:
    """The tables of a plan, band by band."""

    def __init__(
        self,
        source: Shape,
        result: tuple[int, int, int],
        kernel: tuple[int, int],
        channels: int,
        cuts: int,
    ) -> None:
        self._source, self._result = source, result
        self._kernel, self._channels, self._cuts = kernel, channels, cuts
        self._spans = [0]
        self._segments: list[tuple[int, int, int, int]] = []
        self._pixels, self._targets, self._window, self._rows = (_Table() for _ in range(4))
        self._windows: dict[Any, list[tuple[int, int]]] = {}

    def made(self, blocks: tuple[int, int, int, int]) -> Tables:
        tables = (self._pixels, self._targets, self._window, self._rows)
        spans, segments = np.array(self._spans), np.array(self._segments)
        return Tables(blocks, spans, segments, *(table.made() for table in tables))

    def add_band(self, down: Classes, across: Classes, images: int) -> None:
        """Add the pixels of these rows and columns of all images of a block."""
        cuts: list[list[tuple[int, int, int, int]]] = [[] for _ in range(self._cuts)]
        for row_ways, rows in down.items():
            for column_ways, columns in across.items():
                first = self._add_pixels(rows, columns, images)
                key = row_ways, column_ways
                if key not in self._windows:
                    self._windows[key] = self._add_window(row_ways, column_ways)
                for cut, window in zip(cuts, self._windows[key], strict=True):
                    cut.append((first, rows.shape[1] * columns.shape[1], *window))
        for cut in cuts:
            self._segments += cut
            self._spans.append(len(self._segments))

    def _add_pixels(self, rows: Numbers, columns: Numbers, images: int) -> int:
        """Add where windows and results lie; return where these begin in their tables."""
        _, height, width, depth = self._source
        down, across, results = self._result
        image = np.arange(images)[:, None, None]
        (to_row, row), (to_column, column) = rows[..., None], columns
        self._targets.add((((image * down + to_row) * across + to_column) * results).reshape(-1))
        return self._pixels.add((((image * height + row) * width + column) * depth).reshape(-1))

    def _add_window(self, down: Ways, across: Ways) -> list[tuple[int, int]]:
        """Add the cuts of a window, in whole ROWS; return where each begins, and its length."""
        _, _, width, depth = self._source
        ways = [(y * width + x) * depth for _, y in down for _, x in across]
        cells = [i * self._kernel[1] + j for i, _ in down for j, _ in across]
        number = np.arange(self._channels)
        window = np.add.outer(np.array(ways, np.int64), number).reshape(-1)
        rows = np.add.outer(np.array(cells, np.int64) * self._channels, number).reshape(-1)
        whole = self._kernel[0] * self._kernel[1] * self._channels
        edges = [whole * cut // self._cuts for cut in range(self._cuts + 1)]
        places = []
        for begin, end in pairwise(edges):
            mine = (rows >= begin) & (rows < end)
            count = int(mine.sum())
            more = -count % ROWS  # which read the last number, and lie behind all rows
            self._rows.add(rows[mine], np.repeat(whole, more))
            places.append(
                (self._window.add(window[mine], np.repeat(window[mine][-1:], more)), count)
            )
        return places
