"""What is measured: networks, the size of their images, and how many at a time."""

from __future__ import annotations

from dataclasses import dataclass


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


DEFAULT_CASES = (
    Case("simple", 28, 1, 1.0, 64),
    Case("simple", 32, 3, 1.0, 64),
    Case("resnet9", 32, 3, 0.5, 32),
    Case("resnet18", 32, 3, 0.5, 32),
)
NETWORKS = tuple(dict.fromkeys(case.network for case in DEFAULT_CASES))
