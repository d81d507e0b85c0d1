"""The convolutions that are measured one by one: those of our networks, and other kinds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from cpcnn.core.window import Window

Shape: TypeAlias = tuple[int, ...]

# What is measured of each. The data gradient alone is no call of ours: it is a difference.
FORWARD, WEIGHTS, BOTH = "forward", "weight gradient", "both gradients"


@dataclass(frozen=True)
class Geometry:
    """A square convolution of square images, padded so that stride 1 keeps their size."""

    title: str
    images: int
    size: int
    channels: int
    filters: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel - 1) // 2

    @property
    def window(self) -> Window:
        pair = (self.padding, self.padding)
        return Window(
            (self.kernel, self.kernel),
            (self.stride, self.stride),
            (self.dilation, self.dilation),
            (pair, pair),
        )

    @property
    def input_shape(self) -> Shape:
        return self.images, self.size, self.size, self.channels

    @property
    def kernel_shape(self) -> Shape:
        return self.kernel, self.kernel, self.channels // self.groups, self.filters

    @property
    def output_shape(self) -> Shape:
        return self.images, *self.window.output(self.size, self.size), self.filters

    def of(self, images: int) -> Geometry:
        return replace(self, images=images)

    def __str__(self) -> str:
        return f"{self.title}, {self.images}×{self.size}×{self.size}×{self.channels}→{self.filters}"


GEOMETRIES = (
    Geometry("3×3, stem", 256, 32, 3, 64),
    Geometry("3×3", 256, 32, 64, 64),
    Geometry("3×3", 256, 32, 64, 128),
    Geometry("3×3", 256, 16, 128, 128),
    Geometry("3×3", 256, 16, 128, 256),
    Geometry("3×3", 256, 8, 256, 256),
    Geometry("3×3", 256, 8, 256, 512),
    Geometry("3×3", 256, 4, 512, 512),
    Geometry("3×3, simple", 256, 32, 3, 32),
    Geometry("3×3, simple", 256, 16, 32, 64),
    Geometry("3×3, simple", 256, 8, 64, 128),
    Geometry("3×3, stride 2", 256, 32, 64, 128, stride=2),
    Geometry("1×1, stride 2", 256, 32, 64, 128, kernel=1, stride=2),
    Geometry("1×1", 256, 16, 256, 256, kernel=1),
    Geometry("7×7, stride 2, stem", 64, 224, 3, 64, kernel=7, stride=2),
    Geometry("3×3", 64, 56, 64, 64),
    Geometry("3×3, depthwise", 256, 32, 128, 128, groups=128),
    Geometry("3×3, dilation 2", 256, 32, 64, 64, dilation=2),
)
