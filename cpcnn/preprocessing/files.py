"""Which files an iterator reads, and their classes: from class folders or from a list."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError, UsageError
from ..data.dataset import ImageDataset
from ..data.images.preprocess import Preprocessing
from ..data.layouts.folder import scan_folder
from ..data.layouts.image_folder import UNSPLIT, Sample
from ..data.splits.split import split_samples

CHANNELS = {"rgb": 3, "grayscale": 1}
SUBSETS = ("training", "validation")
UNLABELLED = ""
SHOWN = 5


@dataclass(frozen=True)
class WeightedSample(Sample):
    """An image file, its class, and how much it counts."""

    weight: float = 1.0


def image_format(
    target_size: Any, color_mode: str, interpolation: str, keep_aspect_ratio: bool
) -> Preprocessing:
    """Return how files are brought to one size and number of channels."""
    if color_mode not in CHANNELS:
        raise UsageError(
            f"color_mode must be 'rgb' or 'grayscale', not {color_mode!r}.",
            suggestion="Transparent pixels are laid over white.",
        )
    if np.shape(target_size) != (2,):
        raise UsageError(f"target_size must be (height, width), not {target_size!r}.")
    height, width = target_size
    return Preprocessing(
        height,
        width,
        CHANNELS[color_mode],
        "crop" if keep_aspect_ratio else "squash",
        interpolation=interpolation,
    )


def samples_in(
    directory: Path, classes: Sequence[str] | None, follow_links: bool
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Find the images of a folder of class folders, and the classes' names in order.

    With `classes` only these are read, in this order, whatever else their names could mean.
    """
    folder = scan_folder(
        directory,
        training=False,
        allow_nested=classes is not None,
        find_splits=classes is None,
        follow_links=follow_links,
        use_table=False,
    )
    if classes is None:
        if UNSPLIT not in folder.splits:
            raise DataError(
                f"{directory} is split into {' and '.join(folder.splits)}.",
                suggestion="Name one of these folders; or, if they are classes, give classes=[...]",
            )
        return folder.splits[UNSPLIT], folder.classes
    return _chosen(folder.splits[UNSPLIT], classes, folder.classes), tuple(classes)


def samples_of(
    files: Iterable[str | os.PathLike[str]],
    labels: Iterable[object] | None,
    weights: Iterable[float] | None,
    directory: Path | None,
    classes: Sequence[str] | None,
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return listed files, relative to `directory`, with their labels, and the classes in order.

    Without labels all are of one class without a name; without weights each counts 1.
    """
    paths = [Path(directory or "", _file(file)) for file in files]
    names = [UNLABELLED] * len(paths) if labels is None else [_name(label) for label in labels]
    numbers = [1.0] * len(paths) if weights is None else [float(weight) for weight in weights]
    if not len(paths) == len(names) == len(numbers):
        raise DataError(f"{len(paths)} files, but {len(names)} labels and {len(numbers)} weights.")
    samples = tuple(map(WeightedSample, paths, names, numbers))
    found = tuple(sorted(set(names)))
    if classes is None:
        return samples, found
    return _chosen(samples, classes, found), tuple(classes)


def _file(name: object) -> str | os.PathLike[str]:
    if not isinstance(name, str | os.PathLike):
        raise UsageError(f"files must be paths or names of files; found {name!r}.")
    return name


def _name(label: object) -> str:
    if not isinstance(label, str):
        raise UsageError(
            f"labels must be strings, the names of classes; found {label!r}.",
            suggestion="Turn numbers into strings; an image has one class.",
        )
    return label


def _chosen(
    samples: tuple[Sample, ...], classes: Sequence[str], found: tuple[str, ...]
) -> tuple[Sample, ...]:
    """Return the samples of some classes, in the classes' order."""
    if isinstance(classes, str):
        raise UsageError(f"classes must be a list of names, not {classes!r}.")
    if len(set(classes)) < len(classes):
        raise UsageError(f"classes names one twice: {', '.join(classes)}.")
    if missing := [name for name in classes if name not in found]:
        raise DataError(f"there is no class {missing[0]!r}; found are: {', '.join(found)}.")
    place = {name: position for position, name in enumerate(classes)}
    chosen = [sample for sample in samples if sample.label in place]
    return tuple(sorted(chosen, key=lambda sample: place[sample.label]))


def choose_subset(
    samples: tuple[Sample, ...], directory: Path | None, subset: str | None, share: float
) -> tuple[Sample, ...]:
    """Return the training or validation files, chosen by a hash of each file's name."""
    if subset is None:
        return samples
    check_subset(subset, share)
    if not samples:
        return samples
    absolute = [Sample(Path(os.path.abspath(sample.path)), sample.label) for sample in samples]
    root = Path(os.path.abspath(directory or ""))
    if not all(sample.path.is_relative_to(root) for sample in absolute):
        root = Path(absolute[0].path.anchor)
    train, validation = split_samples(absolute, root, share, seed=0)
    chosen = set(train if subset == "training" else validation)
    return tuple(sample for sample, full in zip(samples, absolute, strict=True) if full in chosen)


def check_subset(subset: str, share: float) -> None:
    """Raise UsageError unless `subset` can be taken."""
    if subset not in SUBSETS:
        raise UsageError(f"subset must be 'training' or 'validation', not {subset!r}.")
    if not share:
        raise UsageError(
            f"there is no {subset} subset without a share for validation.",
            suggestion="Give ImageDataGenerator a validation_split.",
        )


def decode(
    samples: tuple[Sample, ...],
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    *,
    strict: bool = False,
) -> ImageDataset:
    """Decode all files once; those that cannot be are an error if `strict`, else a warning."""
    dataset = ImageDataset(samples, classes, preprocessing)
    dataset.prepare(on_error="fail" if strict else "skip")
    if dataset.bad:
        named = "; ".join(str(error).rstrip(".") for error in dataset.bad[:SHOWN])
        more = f"; and {len(dataset.bad) - SHOWN} more" if len(dataset.bad) > SHOWN else ""
        warnings.warn(
            f"{len(dataset.bad)} of {len(samples)} files cannot be read as images and are "
            f"left out: {named}{more}.",
            stacklevel=3,
        )
    return dataset


def weights_of(dataset: ImageDataset) -> NDArray[np.float64]:
    """Return how much each image of a dataset of listed files counts."""
    return np.array([getattr(sample, "weight", 1.0) for sample in dataset.samples])
