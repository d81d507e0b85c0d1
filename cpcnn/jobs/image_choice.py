"""Which images an evaluation looks at: the test split, the run's validation files, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import DataError
from ..data.layouts.image_folder import UNSPLIT, ImageFolder, Sample
from .run_directory import SplitRow

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageChoice:
    """The images to evaluate, the split they are (train, validation, test or all), and remarks."""

    split: str
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordedSplit:
    """What a run recorded: the folder it was trained on, and which image was in which split."""

    root: Path | None = None
    rows: tuple[SplitRow, ...] = ()

    def is_of(self, root: Path) -> bool:
        """Say whether a folder is the one that the run was trained on."""
        return self.root is not None and root.resolve() == self.root.resolve()

    def has_content(self) -> bool:
        """Say whether the run recorded what its training images contain."""
        return any(row.sha256 for row in self.rows if row.split == "train")

    def names(self, split: str) -> set[str]:
        """Return the paths of a split's images, relative to the folder."""
        return {row.path for row in self.rows if row.split == split}


def choose_images(
    folder: ImageFolder, recorded: RecordedSplit, split: str | None = None
) -> ImageChoice:
    """Choose among the images of a folder, knowing what the model's run recorded.

    Without a `split` it is test, else validation, else, in a folder that is not the run's, all of
    an unsplit one. Raises DataError when there is no such split.
    """
    splits = _available(folder, recorded)
    if split is None:
        own = recorded.is_of(folder.source)
        split = _default_split(folder, splits if own else folder.splits)
    if not splits.get(split):
        raise _no_such_split(folder, split, [name for name in splits if splits[name]])
    samples = splits[split]
    gone = _note_gone(folder, recorded, split, samples)
    return ImageChoice(split, samples, (gone,) if gone else ())


def _available(folder: ImageFolder, recorded: RecordedSplit) -> dict[str, tuple[Sample, ...]]:
    """Return the images of every split, also of a validation split that only the run knows."""
    splits = dict(folder.splits)
    held_out = recorded.names("validation")
    if splits.get("validation") or not held_out:
        return splits
    source = splits.get(UNSPLIT, splits.get("train", ()))
    splits["validation"] = tuple(s for s in source if _name(s, folder.root) in held_out)
    if recorded.is_of(folder.source):
        trained = recorded.names("train")
        splits["train"] = tuple(s for s in source if _name(s, folder.root) in trained)
        splits.pop(UNSPLIT, None)
    return splits


def _default_split(folder: ImageFolder, splits: dict[str, tuple[Sample, ...]]) -> str:
    if splits.get("test"):
        return "test"
    if splits.get(UNSPLIT):
        return UNSPLIT
    if splits.get("validation"):
        return "validation"
    raise DataError(
        f"{folder.root} has neither test nor validation images.",
        suggestion="Evaluate on the training images with --split train, or give another folder.",
    )


def _no_such_split(folder: ImageFolder, split: str, have: Sequence[str]) -> DataError:
    hint = f"Choose with --split from: {', '.join(have)}." if have else ""
    if UNSPLIT in have:
        hint = "Leave out --split to evaluate all of its images."
    listed = ", ".join(have) or "none"
    return DataError(f"{folder.root} has no {split} images (it has: {listed}).", suggestion=hint)


def _note_gone(
    folder: ImageFolder, recorded: RecordedSplit, split: str, samples: tuple[Sample, ...]
) -> str:
    if not recorded.is_of(folder.source) or folder.splits.get(split):
        return ""
    gone = len(recorded.names(split) - {_name(sample, folder.root) for sample in samples})
    return f"{gone:,} of the run's {split} images are not there any more." if gone else ""


def _name(sample: Sample, root: Path) -> str:
    return sample.name_in(root)
