"""What a folder of images holds: samples with their classes, in splits."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...core.errors import DataError
from .image_table import ImageTable
from .shard_path import Place, ShardPath
from .walk import Ignored, joined, text_of

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
UNSPLIT = "all"
NAMES_SHOWN = 10


class _CompactPath:
    """A path kept as folder and name: a `Path` takes three times the memory, and files are many."""

    def __get__(self, sample: Sample | None, owner: type | None = None) -> Path:
        if sample is None:
            raise AttributeError  # so that the field has no default
        text = joined(sample._folder, sample._name)
        return Path(text) if sample._place is None else ShardPath.at(text, sample._place)

    def __set__(self, sample: Sample, path: Path) -> None:
        folder, slash, name = str(path).rpartition("/")
        _place(sample, folder or slash, name, getattr(path, "place", None))


class _Located:
    """Where a file is; no fields of a sample, which has its path."""

    _folder: str
    _name: str
    _place: Place | None


@dataclass(frozen=True, eq=False)
class Sample(_Located):
    """One image file, the name of its class, and the group that no split may tear apart.

    The file may lie in a tar file. Its `path` then is a name to print and to compare, and is read
    by the path's own methods `open`, `read_bytes` and `stat`, or by those of the sample.
    """

    if TYPE_CHECKING:
        path: Path
    else:
        path: Path = _CompactPath()
    label: str
    group: str = field(default="", kw_only=True)

    @classmethod
    def at(cls, folder: str, name: str, label: str, place: Place | None = None) -> Sample:
        """Return the sample of a file, given its normal path in two parts; quicker than the rest.

        `place` is where it lies if the folder is a tar file, or a folder in one. The folder is
        empty for a file of the working directory.
        """
        sample = object.__new__(cls)
        _place(sample, folder, name, place)
        object.__setattr__(sample, "label", label)
        object.__setattr__(sample, "group", "")
        return sample

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sample) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, ...]:
        # what the fields come to, without making a path
        return self._folder, self._name, self.label, self.group

    def in_group(self, group: str) -> Sample:
        """Return the same sample in a group."""
        sample = Sample.at(self._folder, self._name, self.label, self._place)
        object.__setattr__(sample, "group", group)
        return sample

    @property
    def text(self) -> str:
        """The path as text; quicker than the path."""
        return joined(self._folder, self._name)

    @property
    def place(self) -> Place | None:
        """Where it lies in a tar file, if it does."""
        return self._place

    def open(self) -> BinaryIO:
        """Open the image file to read its bytes, wherever it lies; OSError if it cannot be."""
        return self.path.open("rb")

    def read_bytes(self) -> bytes:
        """Return the bytes of the image file, wherever it lies."""
        return self.path.read_bytes()

    def name_in(self, root: Path) -> str:
        """Return the path relative to a folder with forward slashes; all of it if it lies outside.

        The folder is one as `ImageFolder.root` is.
        """
        above = text_of(root)
        above = f"{above}/" if above and above != "/" else above
        return self.text.removeprefix(above)


def _place(sample: Sample, folder: str, name: str, place: Place | None) -> None:
    object.__setattr__(sample, "_folder", sys.intern(folder))
    object.__setattr__(sample, "_name", name)
    object.__setattr__(sample, "_place", place)


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
    data: Path | None = None
    left_out: int = 0
    unmatched: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        """What was given as the data: a folder, a tar file, or a list of images."""
        return self.data or self.root

    def count(self, split: str) -> dict[str, int]:
        """Return the number of images of every class in one split."""
        counts = Counter(sample.label for sample in self.splits[split])
        return {name: counts[name] for name in self.classes}


def name_in(path: Path, root: Path) -> str:
    """Return a path relative to a folder with forward slashes; all of it if it lies outside."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


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
