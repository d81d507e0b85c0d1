"""What a check of a folder found, ready to be shown or written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.layouts.image_folder import name_in
from .class_balance import imbalance
from .findings import ERROR, KINDS, LEVELS, Finding, FoundImage

SIZES_LISTED = 10
MEASURED = ("validation", "test")
Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class CheckReport:
    """The images of a folder, what they are, and every finding, the serious ones first.

    `source` is what was given as the data, and `root` the folder that its names start from.
    `counts` has the images of each split and class, readable or not. `trained` is the split to
    train on, of whose readable images `readable` has the number in each class. Sizes are (width,
    height) in pixels; they, modes and formats count the readable images. `near` tells whether near
    duplicates were looked for.
    """

    root: Path
    source: Path
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    trained: str
    readable: Mapping[str, int]
    drawn: bool
    bytes: int
    sizes: Counter[Size]
    modes: Counter[str]
    formats: Counter[str]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    near: bool
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether nothing was found that makes training unsound."""
        return not self.total(ERROR)

    @property
    def images(self) -> int:
        """The images of all splits, readable or not."""
        return sum(sum(counts.values()) for counts in self.counts.values())

    @property
    def imbalance(self) -> float | None:
        """How many times the images of the smallest class the largest one has to train on."""
        return imbalance(self.readable)

    @property
    def seen(self) -> dict[str, int]:
        """How many images of each split to measure on are, or look like, images to train on.

        Those that look alike are counted by groups, of which not every two need look alike.
        """
        found: dict[str, set[Path]] = {split: set() for split in self.counts if split in MEASURED}
        for finding in self.findings:
            splits = {image.split for image in finding.images}
            if finding.kind in ("leak", "near-leak") and self.trained in splits:
                for image in finding.images:
                    if image.split in found:
                        found[image.split].add(image.path)
        return {split: len(paths) for split, paths in found.items()}

    def at_level(self, level: str) -> dict[str, list[Finding]]:
        """Return the findings of a level by their kind."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.level == level:
                found.setdefault(finding.kind, []).append(finding)
        return found

    def total(self, level: str) -> int:
        """Return the number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def name(self, image: FoundImage) -> str:
        """Return a file's path in the folder with forward slashes, or all of it if it is elsewhere.

        The folder itself is `.`.
        """
        return name_in(image.path, self.root)

    def to_document(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "data": str(self.source),
            "sound": self.sound,
            "images": self.images,
            "readable_images": sum(self.sizes.values()),
            "bytes": self.bytes,
            "classes": list(self.classes),
            "splits": {split: dict(counts) for split, counts in self.counts.items()},
            "validation_drawn": self.drawn,
            "like_training_images": self.seen,
            "imbalance": None if self.imbalance is None else round(self.imbalance, 3),
            "sizes": size_document(self.sizes),
            "modes": dict(self.modes.most_common()),
            "formats": dict(self.formats.most_common()),
            "near_duplicates_searched": self.near,
            "found": {level: _counts(self.at_level(level)) for level in LEVELS},
            "findings": [self._finding(finding) for finding in self.findings],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        return {
            "kind": finding.kind,
            "level": finding.level,
            "detail": finding.detail,
            "advice": finding.advice,
            "images": [
                {"path": self.name(image), "split": image.split, "class": image.label}
                for image in finding.images
            ],
        }


def _counts(found: Mapping[str, Sequence[Finding]]) -> dict[str, int]:
    return {kind: len(found[kind]) for kind in KINDS if kind in found}


def size_document(sizes: Counter[Size]) -> dict[str, Any]:
    """Return the smallest, median and largest sides, and the most common sizes."""
    return {
        "different": len(sizes),
        "width": spread(sizes, 0),
        "height": spread(sizes, 1),
        "common": [
            {"width": width, "height": height, "images": count}
            for (width, height), count in common_sizes(sizes, SIZES_LISTED)
        ],
    }


def common_sizes(sizes: Counter[Size], limit: int) -> list[tuple[Size, int]]:
    """Return the most common sizes and how many images have them; of equals the smaller first."""
    return sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:limit]


def spread(sizes: Counter[Size], axis: int) -> list[int]:
    """Return the smallest, the median (the lower of two) and the largest width (0) or height (1).

    Nothing where there is no image.
    """
    sides = Counter[int]()
    for size, count in sizes.items():
        sides[size[axis]] += count
    if not sides:
        return []
    half, seen, median = (sides.total() + 1) // 2, 0, 0
    for side in sorted(sides):
        seen += sides[side]
        if seen >= half:
            median = side
            break
    return [min(sides), median, max(sides)]
