"""What a folder of images holds: samples with their classes, in splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import DataError
from .metadata import ImageTable
from .walk import Ignored

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
UNSPLIT = "all"
NAMES_SHOWN = 10


@dataclass(frozen=True)
class Sample:
    """One image file, the name of its class, and the group that no split may tear apart."""

    path: Path
    label: str
    group: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class ImageFolder:
    """What `scan_folder` found.

    `splits` has the keys "train", "validation", "test" as far as they exist, or "all" alone where
    the folder is not split; samples are sorted by class and path. `classes` is sorted and holds
    the classes of all splits. `ignored` lists what was passed over, with the reason. `table` is
    what the folder's metadata.csv says, if there is one that names files.
    """

    root: Path
    splits: dict[str, tuple[Sample, ...]]
    classes: tuple[str, ...]
    ignored: tuple[Ignored, ...]
    table: ImageTable | None = None

    def count(self, split: str) -> dict[str, int]:
        """Return the number of images of every class in one split."""
        counts = Counter(sample.label for sample in self.splits[split])
        return {name: counts[name] for name in self.classes}


def empty_classes(counts: Mapping[str, int], where: str = "") -> DataError:
    """Return the error for classes that have no image to train on, with all classes' counts."""
    empty = [name for name, count in counts.items() if not count]
    number = "1 class has" if len(empty) == 1 else f"{len(empty)} classes have"
    listed = listing(f"{name} {count}" for name, count in counts.items())
    return DataError(
        f"{number} no image {where}to train on: {listing(empty)}. Images per class: {listed}.",
        suggestion="Add images, remove the class folder, or allow empty classes "
        "(--allow-empty-classes).",
    )


def listing(items: Iterable[Path | str], limit: int = NAMES_SHOWN) -> str:
    """Return the first of the names, of paths the last part, and how many more there are."""
    texts = [name.name if isinstance(name, Path) else name for name in items]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 image`, `2 images`, `1,200 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
