"""Read the images of a training: decode them all, choose their size, measure them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..data.cache import ImageCache
from ..data.dataset import ImageDataset
from ..data.images.preprocess import Preprocessing, choose_channels, choose_size, read_headers
from ..data.layouts.image_folder import ImageFolder, Sample
from .events import BadFile, Progress
from .open_cache import open_cache
from .settings import TrainSettings
from .splits import SplitChoice

READING = "Reading images"


@dataclass(frozen=True)
class ReadImages:
    """The decoded training and validation images, and how they became input."""

    train: ImageDataset
    validation: ImageDataset | None
    preprocessing: Preprocessing
    drawn: bool  # the validation images were drawn from the training images
    cache: ImageCache | None = None

    def complete(self, settings: TrainSettings) -> TrainSettings:
        """Return the settings with every automatic choice filled in."""
        height, width = self.preprocessing.height, self.preprocessing.width
        batch_size = settings.batch_size_for(len(self.train))
        return replace(
            settings,
            batch_size=batch_size,
            lr=settings.lr_for(batch_size),
            channels=str(self.preprocessing.channels),
            img_size=height if height == width else None,
        )

    def notes(self) -> list[str]:
        """Return what is to be said about the cache."""
        return [] if self.cache is None else list(self.cache.notices())

    def bad_files(self) -> tuple[BadFile, ...]:
        """Return the files that were skipped."""
        bad = [*self.train.bad, *(self.validation.bad if self.validation else ())]
        return tuple(BadFile(image.path, image.reason) for image in bad)


def read_images(
    settings: TrainSettings,
    folder: ImageFolder,
    choice: SplitChoice,
    progress: Progress | None,
    jpeg: str = "reduced",
) -> ReadImages:
    """Decode the images of a choice and measure them; DataError for those that cannot be used.

    `jpeg` is the scale that JPEGs are decoded at, as in `Preprocessing`.
    """
    train_samples, validation_samples = choice.train, choice.validation
    preprocessing = replace(_choose_preprocessing(settings, train_samples), jpeg=jpeg)
    cache = open_cache(settings.cache, folder.root)
    train, validation = (
        ImageDataset(samples, folder.classes, preprocessing, kept=settings.cache, cache=cache)
        for samples in (train_samples, validation_samples)
    )
    total = len(train_samples) + len(validation_samples)
    _decode(train, settings, _part(progress, 0, total))
    _decode(validation, settings, _part(progress, len(train_samples), total))
    if not settings.allow_empty_classes:
        train.check_classes()
    mean, std = train.measure()
    preprocessing = replace(preprocessing, mean=mean, std=std)
    return ReadImages(
        train,
        validation if len(validation) else None,
        preprocessing,
        choice.drawn,
        cache,
    )


def _decode(
    dataset: ImageDataset, settings: TrainSettings, progress: Callable[[int, int], None] | None
) -> None:
    if dataset.samples:
        dataset.prepare(
            workers=settings.workers,
            on_error="fail" if settings.on_error == "fail" else "skip",
            progress=progress,
            digests=True,
        )


def _part(progress: Progress | None, before: int, total: int) -> Callable[[int, int], None] | None:
    """Return the progress of one part of the images as that of all of them."""
    if progress is None:
        return None
    return lambda done, _: progress(READING, before + done, total)


def _choose_preprocessing(settings: TrainSettings, samples: tuple[Sample, ...]) -> Preprocessing:
    headers = read_headers([sample.path for sample in samples])
    size = settings.img_size
    height, width = (size, size) if size is not None else choose_size(headers)
    channels = choose_channels(headers) if settings.channels == "auto" else int(settings.channels)
    return Preprocessing(height, width, channels, settings.resize)
