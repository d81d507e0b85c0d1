"""Sliding windows: the only place with output-size arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from .errors import ShapeError, UsageError

Pair: TypeAlias = tuple[int, int]
Sides: TypeAlias = tuple[Pair, Pair]  # pixels at ((top, bottom), (left, right))
Padding: TypeAlias = "str | int | Pair | Sides"


def as_pair(value: int | Pair, name: str, *, minimum: int = 1) -> Pair:
    """Return (value, value) for an int, or the pair itself; UsageError below `minimum`."""
    if type(value) is tuple and len(value) == 2:  # what it is already when layers ask in every pass
        first, second = value
        if type(first) is type(second) is int and first >= minimum <= second:
            return value
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(type(v) is int and v >= minimum for v in pair):
        raise UsageError(
            f"{name} must be an integer or two integers of at least {minimum}, not {value!r}."
        )
    return pair[0], pair[1]


def as_sides(value: Padding, name: str, *, or_else: str = "") -> Sides:
    """Return ((top, bottom), (left, right)) for one pixel count, one per axis, or all four.

    UsageError for anything else; `or_else` names other values that the option has.
    """
    axes = (value, value) if isinstance(value, int) else value
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        raise UsageError(
            f"{name} must be {or_else}a pixel count or pixel counts per side, not {value!r}."
        )
    return as_pair(axes[0], name, minimum=0), as_pair(axes[1], name, minimum=0)


def padded(height: int, width: int, sides: Sides) -> Pair:
    """Size of an image with `sides` added around it."""
    return height + sum(sides[0]), width + sum(sides[1])


def cropped(height: int, width: int, sides: Sides) -> Pair:
    """Size of what is left when `sides` are cut off; ShapeError when nothing is."""
    size = height - sum(sides[0]), width - sum(sides[1])
    if min(size) < 1:
        raise ShapeError(
            f"cropping {sides} leaves nothing of an input of {height}×{width} pixels.",
            suggestion="Crop fewer pixels, or use larger images.",
        )
    return size


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling: kernel, stride, dilation and explicit padding.

    `padding` is ((top, bottom), (left, right)) in pixels.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Sides = ((0, 0), (0, 0))

    @classmethod
    def fit(
        cls, height: int, width: int, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Window:
        """Resolve `padding` for an input of height × width.

        "valid" pads nothing; "same" gives ceil(size / stride) outputs with the odd pixel at the
        bottom and right, as in Keras; integers pad as they say. ShapeError when no window fits.
        """
        known = type(padding) in (str, int)  # of equal tuples one may be of floats, which is wrong
        resolve = _fit if known else _fit.__wrapped__
        return resolve(height, width, kernel, stride, padding, dilation)

    @classmethod
    def fit_transposed(
        cls,
        height: int,
        width: int,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        output_padding: Pair | None,
    ) -> tuple[Window, Pair]:
        """The window of a transposed convolution on height × width, and the size of its output.

        It is the window of the convolution that leads from that output back to height × width.
        Sizes are Keras'. "same" gives size * stride, "valid" (size - 1) * stride + extent, or
        size * stride if that is more; pixel counts are taken off. With `output_padding` (less than
        the stride) the size is (size - 1) * stride + extent + output_padding, where "same" replaces
        the extent by extent % 2. ShapeError when nothing is left.
        """
        extent = cls(kernel, stride, dilation).extent
        rows, columns = (
            _transpose(
                padding,
                axis,
                size,
                extent[axis],
                stride[axis],
                output_padding and output_padding[axis],
            )
            for axis, size in enumerate((height, width))
        )
        output = rows[0], columns[0]
        if min(output) < 1:
            raise ShapeError(
                f"a transposed convolution with a {extent[0]}×{extent[1]} window makes "
                f"{output[0]}×{output[1]} pixels of an input of {height}×{width}.",
                suggestion="Use less padding, or a larger kernel.",
            )
        return cls(kernel, stride, dilation, (rows[1], columns[1])), output

    @property
    def extent(self) -> Pair:
        """Height and width that one window spans, dilation included."""
        return (
            (self.kernel[0] - 1) * self.dilation[0] + 1,
            (self.kernel[1] - 1) * self.dilation[1] + 1,
        )

    def padded(self, height: int, width: int) -> Pair:
        """Size of the input with its padding."""
        return padded(height, width, self.padding)

    def output(self, height: int, width: int) -> Pair:
        """Number of windows down and across."""
        size, extent = self.padded(height, width), self.extent
        return (
            (size[0] - extent[0]) // self.stride[0] + 1,
            (size[1] - extent[1]) // self.stride[1] + 1,
        )

    def taps(self, height: int, width: int) -> Iterator[tuple[int, int, slice, slice]]:
        """Yield (i, j, rows, columns) per kernel cell: the padded pixels it meets."""
        out_h, out_w = self.output(height, width)
        for i in range(self.kernel[0]):
            top = i * self.dilation[0]
            rows = slice(top, top + (out_h - 1) * self.stride[0] + 1, self.stride[0])
            for j in range(self.kernel[1]):
                left = j * self.dilation[1]
                columns = slice(left, left + (out_w - 1) * self.stride[1] + 1, self.stride[1])
                yield i, j, rows, columns

    @property
    def is_pointwise(self) -> bool:
        """Whether the window is a single pixel, met everywhere and without padding."""
        return self == Window((1, 1))


@lru_cache(maxsize=1024)  # layers ask in every pass
def _fit(
    height: int, width: int, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Window:
    pads = tuple(
        _resolve(padding, axis, size, kernel[axis], stride[axis], dilation[axis])
        for axis, size in enumerate((height, width))
    )
    window = Window(kernel, stride, dilation, (pads[0], pads[1]))
    if min(window.output(height, width)) < 1:
        raise ShapeError(
            f"a {window.extent[0]}×{window.extent[1]} window does not fit "
            f"into an input of {height}×{width} pixels.",
            suggestion='Use padding="same", fewer pooling layers, or larger images.',
        )
    return window


def _resolve(
    padding: Padding, axis: int, size: int, kernel: int, stride: int, dilation: int
) -> Pair:
    if padding == "valid":
        return 0, 0
    if padding == "same":
        extent = (kernel - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2
    return as_sides(padding, "padding", or_else='"same", "valid", ')[axis]


def _transpose(
    padding: Padding, axis: int, size: int, extent: int, stride: int, extra: int | None
) -> tuple[int, Pair]:
    """Output size along one axis, and the padding that leads from it back to `size`."""
    whole = (size - 1) * stride + extent
    if padding == "same":
        output = size * stride if extra is None else (size - 1) * stride + extent % 2 + extra
        total = max(whole - output, 0)
        return output, (total // 2, total - total // 2)
    pads = _resolve(padding, axis, size, extent, stride, 1)
    if extra is None:
        extra = max(stride - extent, 0)
    return whole - sum(pads) + extra, pads
