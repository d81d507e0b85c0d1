"""Classify images: files, folders, patterns and lists of paths, in the order given."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.errors import CheckpointError, DataError, UsageError
from ..data.array_dataset import ArrayDataset
from ..data.images.decode import BadImage
from ..data.images.preprocess import Preprocessing
from ..data.loader import Loader
from ..devices.registry import get_device
from ..models import Model
from .events import DeviceSelected
from .image_paths import LIST, ImagePath, expand
from .model_source import Classifier, find_model, load_classifier
from .settings import ON_ERROR, one_of, whole


@dataclass(frozen=True)
class PredictSettings:
    """What to classify; without a model, with the last run's.

    `images` are files, folders and patterns; "-" stands for a list of paths (`predict_images`).
    """

    images: tuple[str, ...]
    model: Path | None = None
    top: int = 1
    batch_size: int = 64
    workers: int = 2
    device: str = "auto"
    exact: bool = False
    on_error: str = "skip"

    def __post_init__(self) -> None:
        if isinstance(self.images, str | os.PathLike):
            object.__setattr__(self, "images", (str(self.images),))
        if not self.images:
            raise UsageError(
                "No images are given.",
                suggestion="Name image files, folders or patterns, or - for a list of paths.",
            )
        if self.images.count(LIST) > 1:
            raise UsageError(
                "The list of paths, -, can be read only once.", suggestion="Name it once."
            )
        whole("top", self.top, 1)
        whole("batch_size", self.batch_size, 1)
        whole("workers", self.workers, 0, 256)
        one_of("on_error", self.on_error, ON_ERROR)


@dataclass(frozen=True)
class PredictionPrepared:
    """The model that is about to predict, its classes, and remarks."""

    checkpoint: Path
    classes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image with their probabilities, or why it has none."""

    path: Path
    ranked: tuple[tuple[str, float], ...] = ()
    error: str = ""


Event: TypeAlias = DeviceSelected | PredictionPrepared | Prediction


def predict_images(settings: PredictSettings, listed: Iterable[str] = ()) -> Iterator[Event]:
    """Yield DeviceSelected, PredictionPrepared, and a Prediction for every image.

    They come in the order given; a folder stands for all images below it, a pattern for all files
    that match, each sorted; "-" for the paths `listed`. Inputs are read as they are needed, so any
    number of them fits in memory. What cannot be read has a Prediction that says so, or, with
    `on_error="fail"`, raises DataError. Raises CpcnnError if there is no usable model or device.
    """
    source = find_model(settings.model)
    device = get_device(settings.device, exact=settings.exact)
    yield DeviceSelected(device.name, device.description)
    classifier = load_classifier(source.checkpoint, device)
    notes = (source.notice,) if source.notice else ()
    yield PredictionPrepared(source.checkpoint, classifier.classes, notes)
    paths = expand(settings.images, listed)
    empty = True
    with ThreadPoolExecutor(max(1, settings.workers)) as pool:
        while chunk := list(islice(paths, settings.batch_size)):
            empty = False
            loaded = list(pool.map(lambda named: _load(named, classifier.preprocessing), chunk))
            yield from _classify(classifier, chunk, loaded, settings)
    if empty:
        raise DataError(
            "There is nothing to classify: the list of paths is empty.",
            suggestion="Check the command that makes the list.",
        )


def _load(named: ImagePath, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:
    """Return an image, or why there is none."""
    path = named.path
    if named.problem:
        return named.problem
    if os.path.exists(path) and not os.path.isfile(path):
        return "it is not a regular file"  # opening a pipe would wait for its writer
    try:
        return preprocessing.load(path)
    except BadImage as error:
        return error.reason


def _classify(
    classifier: Classifier,
    paths: Sequence[ImagePath],
    loaded: Sequence[NDArray[np.uint8] | str],
    settings: PredictSettings,
) -> Iterator[Prediction]:
    images = [image for image in loaded if not isinstance(image, str)]
    rows = iter(_probabilities(classifier.model, images, settings.batch_size) if images else ())
    for (path, _), image in zip(paths, loaded, strict=True):
        if not isinstance(image, str):
            yield Prediction(path, _ranked(next(rows), classifier.classes, settings.top))
        elif settings.on_error == "skip":
            yield Prediction(path, error=image)
        else:
            raise DataError(f"{path}: {image}.", suggestion="Remove it, or use --on-error skip.")


def _probabilities(model: Model, images: list[NDArray[np.uint8]], batch_size: int) -> Any:
    dataset = ArrayDataset(np.stack(images), np.zeros(len(images), np.int64))
    loader = Loader(dataset, batch_size)
    values = np.concatenate([values for _, values in model.predict_batches(loader)])
    if not np.isfinite(values).all():
        raise CheckpointError(
            "The model's outputs are not finite numbers.",
            suggestion="Its training diverged, or the checkpoint is damaged: use another one.",
        )
    return values


def _ranked(
    probabilities: NDArray[np.float32], classes: Sequence[str], top: int
) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((classes[i], float(probabilities[i])) for i in order)
