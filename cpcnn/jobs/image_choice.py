"""Which images an evaluation looks at: the test split, the run's validation files, or all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import DataError
from ..data.folder import UNSPLIT, ImageFolder, Sample
from .run_directory import SplitRow

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageChoice:
    """The images to evaluate, the split they are (train, validation, test or all), and remarks."""

    split: str
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()


def choose_images(
    folder: ImageFolder, rows: list[SplitRow], *, own: bool, split: str | None = None
) -> ImageChoice:
    """Choose among the images of a folder.

    `rows` is the split that the model's run recorded (empty when there is no run) and `own` tells
    that the folder is the one it was trained on. Without a `split` it is test, else validation,
    else, in a folder that is not the run's, all of an unsplit one. Raises DataError when there is
    no such split.
    """
    splits = _available(folder, rows, own)
    if split is None:
        split = _default_split(folder, splits)
    if not splits.get(split):
        have = ", ".join(name for name in splits if splits[name]) or "none"
        raise DataError(
            f"{folder.root} has no {split} images (it has: {have}).",
            suggestion="Choose another one with --split.",
        )
    samples = splits[split]
    return ImageChoice(split, samples, _notes(folder, rows, split, samples, own))


def _available(
    folder: ImageFolder, rows: list[SplitRow], own: bool
) -> Mapping[str, tuple[Sample, ...]]:
    """Return the images of every split, also of those that only the run knows."""
    splits = dict(folder.splits)
    if "validation" in splits or not any(row.split == "validation" for row in rows):
        return splits
    recorded = {row.path: row.split for row in rows}
    source = splits.get(UNSPLIT, splits.get("train", ()))
    for split in ("train", "validation"):
        splits[split] = tuple(s for s in source if recorded.get(_name(s, folder.root)) == split)
    if own:
        splits.pop(UNSPLIT, None)
    return splits


def _default_split(folder: ImageFolder, splits: Mapping[str, tuple[Sample, ...]]) -> str:
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


def _notes(
    folder: ImageFolder, rows: list[SplitRow], split: str, samples: tuple[Sample, ...], own: bool
) -> tuple[str, ...]:
    notes = []
    here = {_name(sample, folder.root) for sample in samples}
    if own and split not in folder.splits:
        gone = sum(row.split == split and row.path not in here for row in rows)
        if gone:
            notes.append(f"{gone:,} of the run's {split} images are not there any more.")
    trained = sum(row.split == "train" and row.path in here for row in rows)
    if own and trained:
        notes.append(
            f"The model was trained on {trained:,} of these {len(samples):,} images: "
            "the figures say little about new ones."
        )
    elif trained:
        notes.append(
            f"{trained:,} of these {len(samples):,} images have the names of images that the model "
            "was trained on; if they are the same, evaluate with --split validation."
        )
    return tuple(notes)


def _name(sample: Sample, root: Path) -> str:
    return sample.path.relative_to(root).as_posix()
