"""Classify images: files, folders and patterns, in the order given."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..data.dataset import ArrayDataset
from ..data.decode import BadImage
from ..data.loader import Loader
from ..data.preprocess import Preprocessing
from ..data.walk import Walker
from ..devices.registry import get_device
from ..models import Model
from .model_source import Classifier, find_model, load_classifier
from .settings import whole


@dataclass(frozen=True)
class PredictSettings:
    """What to classify; without a model, with the last run's."""

    images: tuple[str, ...]
    model: Path | None = None
    top: int = 1
    batch_size: int = 64
    workers: int = 2
    device: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.images, str | os.PathLike):
            object.__setattr__(self, "images", (str(self.images),))
        if not self.images:
            raise UsageError(
                "No images are given.", suggestion="Name image files, folders or patterns."
            )
        whole("top", self.top, 1)
        whole("batch_size", self.batch_size, 1)
        whole("workers", self.workers, 0, 256)


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image with their probabilities, or why it has none."""

    path: Path
    ranked: tuple[tuple[str, float], ...] = ()
    error: str = ""


def predict_images(settings: PredictSettings) -> Iterator[Prediction]:
    """Yield a Prediction for every image, in the order given; unreadable ones say so.

    A folder stands for all images below it, a pattern for all files that match, each sorted.
    Raises CpcnnError if there is no usable model or device.
    """
    checkpoint = find_model(settings.model).checkpoint
    classifier = load_classifier(checkpoint, get_device(settings.device))
    paths = _expand(settings.images)
    with ThreadPoolExecutor(max(1, settings.workers)) as pool:
        while chunk := list(islice(paths, settings.batch_size)):
            loaded = list(pool.map(lambda path: _load(path, classifier.preprocessing), chunk))
            yield from _classify(classifier, chunk, loaded, settings)


def _expand(inputs: Iterable[str]) -> Iterator[Path]:
    """Yield the files that the inputs stand for; what stands for none is yielded as it is."""
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found: Sequence[Path] = Walker([path, *path.resolve().parents]).images(path)
        elif not path.exists() and glob.has_magic(text):
            found = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
        else:
            found = [path]
        yield from found or [path]


def _load(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:
    """Return an image, or why it cannot be read."""
    if glob.has_magic(str(path)) and not path.exists():
        return "no file matches this pattern"
    if path.is_dir():
        return "there is no image in this folder"
    try:
        return preprocessing.load(path)
    except BadImage as error:
        return error.reason


def _classify(
    classifier: Classifier,
    paths: Sequence[Path],
    loaded: Sequence[NDArray[np.uint8] | str],
    settings: PredictSettings,
) -> Iterator[Prediction]:
    images = [image for image in loaded if not isinstance(image, str)]
    rows = iter(_probabilities(classifier.model, images, settings.batch_size) if images else ())
    for path, image in zip(paths, loaded, strict=True):
        if isinstance(image, str):
            yield Prediction(path, error=image)
        else:
            yield Prediction(path, _ranked(next(rows), classifier.classes, settings.top))


def _probabilities(model: Model, images: list[NDArray[np.uint8]], batch_size: int) -> Any:
    dataset = ArrayDataset(np.stack(images), np.zeros(len(images), np.int64))
    loader = Loader(dataset, batch_size)
    return np.concatenate([values for _, values in model.predict_batches(loader)])


def _ranked(
    probabilities: NDArray[np.float32], classes: Sequence[str], top: int
) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((classes[i], float(probabilities[i])) for i in order)
