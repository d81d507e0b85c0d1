"""How many images each class has to train on, and whether that is too few or too uneven."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...data.layouts.image_folder import counted
from .findings import Finding

FEW = 10  # images to train on
IMBALANCED = 10.0  # the largest class has so many times the images of the smallest


def imbalance(counts: Mapping[str, int]) -> float | None:
    """Return how many times the images of the smallest class the largest one has.

    Classes without any do not count; None where fewer than two have some.
    """
    some = [count for count in counts.values() if count]
    return max(some) / min(some) if len(some) > 1 else None


def is_imbalanced(counts: Mapping[str, int]) -> bool:
    """Say whether a network may do well on the large classes alone."""
    return (imbalance(counts) or 0.0) >= IMBALANCED


def extremes(counts: Mapping[str, int]) -> tuple[str, str]:
    """Return the names of the largest and of the smallest class that has images."""
    some = {name: count for name, count in counts.items() if count}
    return max(some, key=some.__getitem__), min(some, key=some.__getitem__)


def few_images(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the classes with images, but few, the smallest first."""
    few = {name: count for name, count in counts.items() if 0 < count < FEW}
    return dict(sorted(few.items(), key=lambda item: (item[1], item[0])))


def balance_findings(counts: Mapping[str, int], *, allow_empty: bool) -> Iterator[Finding]:
    """Yield what is wrong with the number of readable images to train on of each class."""
    if not allow_empty:
        for name in (name for name, count in counts.items() if not count):
            yield Finding("empty-class", f"{name} has no readable image to train on")
    if is_imbalanced(counts):
        large, small = extremes(counts)
        detail = (
            f"{large} has {counts[large] / counts[small]:.0f} times the images of {small} "
            f"({counts[large]:,} and {counts[small]:,})"
        )
        yield Finding("imbalance", detail)
    for name, count in few_images(counts).items():
        yield Finding("few-images", f"{name} has {counted(count, 'image')} to train on")
