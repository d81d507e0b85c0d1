"""The convolutions that are measured one by one: those of our networks, and other kinds."""

from __future__ import annotations

from collections.abc import Sequence
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

    @property
    def kind(self) -> tuple[int | bool, ...]:
        """What tells kinds of convolutions apart, whatever their sizes."""
        return self.kernel, self.stride, self.dilation, self.groups, self.channels in (1, 3)

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

# For the CPU: convolutions of the built-in networks at the shapes of CPU_CASES, and other kinds.
CPU_GEOMETRIES = (
    Geometry("3×3, simple", 64, 28, 1, 32),
    Geometry("3×3, simple", 64, 14, 32, 64),
    Geometry("3×3, simple", 64, 32, 3, 32),
    Geometry("3×3, simple", 64, 16, 32, 64),
    Geometry("3×3, simple", 64, 8, 64, 128),
    Geometry("3×3, resnet9, stem", 64, 32, 3, 64),
    Geometry("3×3, resnet9", 64, 32, 64, 128),
    Geometry("3×3, resnet9", 64, 16, 128, 128),
    Geometry("3×3, resnet9", 64, 16, 128, 256),
    Geometry("3×3, resnet9", 64, 8, 256, 512),
    Geometry("3×3, resnet9", 64, 4, 512, 512),
    Geometry("3×3, resnet18", 64, 32, 64, 64),
    Geometry("3×3, resnet18", 64, 8, 256, 256),
    Geometry("7×7, stride 2, resnet18, stem", 16, 128, 3, 64, kernel=7, stride=2),
    Geometry("3×3, resnet18", 16, 32, 64, 64),
    Geometry("3×3, stride 2, resnet18", 16, 32, 64, 128, stride=2),
    Geometry("1×1, stride 2, resnet18", 16, 32, 64, 128, kernel=1, stride=2),
    Geometry("3×3, resnet18", 16, 16, 128, 128),
    Geometry("3×3, stride 2, resnet18", 16, 16, 128, 256, stride=2),
    Geometry("3×3, resnet18", 16, 8, 256, 256),
    Geometry("3×3, stride 2, resnet18", 16, 8, 256, 512, stride=2),
    Geometry("1×1, stride 2, resnet18", 16, 8, 256, 512, kernel=1, stride=2),
    Geometry("3×3, resnet18", 16, 4, 512, 512),
    Geometry("3×3, thin", 128, 32, 16, 16),
    Geometry("3×3, stride 2, thin", 64, 32, 16, 32, stride=2),
    Geometry("3×3, dilation 2", 64, 32, 64, 64, dilation=2),
    Geometry("3×3, 4 groups", 64, 16, 128, 128, groups=4),
    Geometry("3×3, depthwise", 64, 32, 128, 128, groups=128),
    Geometry("3×3, stride 2, depthwise", 64, 32, 128, 128, stride=2, groups=128),
    Geometry("1×1", 64, 16, 256, 256, kernel=1),
)


def one_of_each_kind(geometries: Sequence[Geometry]) -> list[Geometry]:
    """Return the first geometry of every kind."""
    return list({geometry.kind: geometry for geometry in reversed(geometries)}.values())[::-1]
