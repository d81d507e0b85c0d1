"""Sliding windows: the only place with output-size arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .errors import ShapeError, UsageError

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = "str | int | Pair | tuple[Pair, Pair]"


def as_pair(value: int | Pair, name: str, *, minimum: int = 1) -> Pair:
    """Return (value, value) for an int, or the pair itself; UsageError below `minimum`."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(type(v) is int and v >= minimum for v in pair):
        raise UsageError(
            f"{name} must be an integer or two integers of at least {minimum}, not {value!r}."
        )
    return pair[0], pair[1]


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling: kernel, stride, dilation and explicit padding.

    `padding` is ((top, bottom), (left, right)) in pixels.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))

    @classmethod
    def fit(
        cls, height: int, width: int, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Window:
        """Resolve `padding` for an input of height × width.

        "valid" pads nothing; "same" gives ceil(size / stride) outputs with the odd pixel at the
        bottom and right, as in Keras; integers pad as they say. ShapeError when no window fits.
        """
        pads = tuple(
            _resolve(padding, axis, size, kernel[axis], stride[axis], dilation[axis])
            for axis, size in enumerate((height, width))
        )
        window = cls(kernel, stride, dilation, (pads[0], pads[1]))
        if min(window.output(height, width)) < 1:
            raise ShapeError(
                f"a {window.extent[0]}×{window.extent[1]} window does not fit "
                f"into an input of {height}×{width} pixels.",
                suggestion='Use padding="same", fewer pooling layers, or larger images.',
            )
        return window

    @property
    def extent(self) -> Pair:
        """Height and width that one window spans, dilation included."""
        return (
            (self.kernel[0] - 1) * self.dilation[0] + 1,
            (self.kernel[1] - 1) * self.dilation[1] + 1,
        )

    def padded(self, height: int, width: int) -> Pair:
        """Size of the input with its padding."""
        return height + sum(self.padding[0]), width + sum(self.padding[1])

    def output(self, height: int, width: int) -> Pair:
        """Number of windows down and across."""
        padded, extent = self.padded(height, width), self.extent
        return (
            (padded[0] - extent[0]) // self.stride[0] + 1,
            (padded[1] - extent[1]) // self.stride[1] + 1,
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


def _resolve(
    padding: Padding, axis: int, size: int, kernel: int, stride: int, dilation: int
) -> Pair:
    if padding == "valid":
        return 0, 0
    if padding == "same":
        extent = (kernel - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2
    if isinstance(padding, int) and padding >= 0:
        return padding, padding
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        before_after = padding[axis]
        if isinstance(before_after, int):
            before_after = (before_after, before_after)
        return as_pair(before_after, "padding", minimum=0)
    raise UsageError(
        f'padding must be "same", "valid", a pixel count or pixel counts per side, not {padding!r}.'
    )
