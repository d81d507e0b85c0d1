"""What is measured: networks, the size of their images, and how many at a time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Case:
    """A network on square images of `size` pixels; `width` scales its channels."""

    network: str
    size: int
    channels: int
    width: float
    batch_size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.size, self.size, self.channels

    @property
    def network_name(self) -> str:
        return self.network if self.width == 1 else f"{self.network} ×{self.width:g}"

    @property
    def image_name(self) -> str:
        return "×".join(map(str, self.shape))

    def __str__(self) -> str:
        return f"{self.network_name}, {self.image_name}, batch {self.batch_size}"


SIMPLE_GREY = Case("simple", 28, 1, 1.0, 64)
SIMPLE = Case("simple", 32, 3, 1.0, 64)
RESNET9 = Case("resnet9", 32, 3, 1.0, 64)
SMALL_RESNET18 = Case("resnet18", 32, 3, 1.0, 64)
RESNET18 = Case("resnet18", 128, 3, 1.0, 16)

CPU_CASES = (SIMPLE_GREY, SIMPLE, RESNET9, SMALL_RESNET18, RESNET18)
MEMORY_CASES = (SIMPLE, RESNET9, RESNET18)
SCALING_CASES = (SIMPLE, RESNET9)  # a step that a loader can hardly keep up with, and a long one
NETWORKS = tuple(dict.fromkeys(case.network for case in CPU_CASES))
# What tells most comes first, in case the time does not last: the last ones are variations.
GPU_CASES = tuple(
    Case(network, size, 3, 1.0, batch_size)
    for size, batch_size in ((32, 512), (224, 128), (32, 128))
    for network in ("resnet18", "resnet9", "simple")
)


def chosen_cases(defaults: Sequence[Case], options: argparse.Namespace) -> list[Case]:
    """Return what to measure: the default cases of the networks, with what was asked for."""
    asked = {
        name: getattr(options, name)
        for name in ("size", "channels", "width", "batch_size")
        if getattr(options, name) is not None
    }
    chosen = [case for case in defaults if case.network in options.networks]
    return list(dict.fromkeys(replace(case, **asked) for case in chosen))
