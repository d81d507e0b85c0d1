"""Train a classifier on a folder of images: find, decode, measure, build, run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ..core.errors import DivergedError, UsageError
from ..data.augment import Augmentation
from ..data.dataset import ImageDataset
from ..data.folder import UNSPLIT, ImageFolder, Sample, scan_folder
from ..data.loader import Loader
from ..data.preprocess import Preprocessing, choose_channels, choose_size, read_headers
from ..data.split import split_samples
from ..devices import Device, get_device
from ..losses import SparseCategoricalCrossentropy
from ..networks import NETWORKS, build_network
from ..optimizers import Optimizer, get_optimizer
from ..schedules import get_schedule
from ..training.events import EpochEnded
from ..training.events import Event as TrainerEvent
from ..training.network import Network
from ..training.trainer import Trainer
from .events import BadFile, DataFound, DeviceSelected, Progress, TrainingPrepared
from .run_directory import RunDirectory, SplitRow
from .settings import SGD_MOMENTUM, TrainSettings, did_you_mean

Event: TypeAlias = DeviceSelected | DataFound | TrainingPrepared | TrainerEvent

READING = "Reading images"


def train_folder(
    settings: TrainSettings, progress: Progress | None = None
) -> Generator[Event, None, None]:
    """Train on a folder and yield what happens: DeviceSelected, DataFound, TrainingPrepared, then
    the trainer's events.

    `progress` hears how many images have been read. The run's folder is made first and removed
    again if training does not begin. Raises CpcnnError; nothing is written into the data folder.
    """
    if settings.model not in NETWORKS:
        raise UsageError(
            f"There is no model {settings.model!r}.",
            suggestion=did_you_mean(settings.model, sorted(NETWORKS)),
        )
    run = RunDirectory.create(
        settings.model, settings.data, output=settings.output, name=settings.name
    )
    try:
        yield from _train(settings, run, progress)
    except BaseException:
        run.discard()
        raise


def _train(
    settings: TrainSettings, run: RunDirectory, progress: Progress | None
) -> Iterator[Event]:
    device = get_device(settings.device, threads=settings.threads)
    yield DeviceSelected(device.name, device.description)
    folder = scan_folder(
        settings.data,
        allow_empty_classes=settings.allow_empty_classes,
        allow_nested=settings.allow_nested,
    )
    images = {split: len(samples) for split, samples in folder.splits.items()}
    yield DataFound(folder.root, folder.classes, images, folder.ignored)
    ready = _read_images(settings, folder, progress)
    settings = ready.complete(settings)
    trainer = _build_trainer(settings, ready, device, run.path)
    _describe_run(run, settings, folder, ready)
    yield _prepared(run, settings, ready, trainer)
    yield from _run_trainer(trainer, run)


def _run_trainer(trainer: Trainer, run: RunDirectory) -> Iterator[TrainerEvent]:
    try:
        for event in trainer.run():
            if isinstance(event, EpochEnded):
                run.append_history(_history_row(event))
            yield event
    except DivergedError as error:
        where = f" The run is {run.path}." if run.checkpoints() else ""
        raise DivergedError(error.message + where, suggestion=error.suggestion) from error


# ---- Images ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReadImages:
    """The decoded training and validation images, and how they became input."""

    train: ImageDataset
    validation: ImageDataset | None
    preprocessing: Preprocessing
    drawn: bool  # the validation images were drawn from the training images

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

    def bad_files(self) -> tuple[BadFile, ...]:
        """Return the files that were skipped."""
        bad = [*self.train.bad, *(self.validation.bad if self.validation else ())]
        return tuple(BadFile(image.path, image.reason) for image in bad)


def _read_images(
    settings: TrainSettings, folder: ImageFolder, progress: Progress | None
) -> ReadImages:
    train_samples, validation_samples, drawn = _choose_splits(settings, folder)
    preprocessing = _choose_preprocessing(settings, train_samples)
    train = ImageDataset(train_samples, folder.classes, preprocessing)
    validation = ImageDataset(validation_samples, folder.classes, preprocessing)
    total = len(train_samples) + len(validation_samples)
    _decode(train, settings, _part(progress, 0, total))
    _decode(validation, settings, _part(progress, len(train_samples), total))
    if not settings.allow_empty_classes:
        train.check_classes()
    mean, std = train.measure()
    preprocessing = replace(preprocessing, mean=mean, std=std)
    return ReadImages(train, validation if len(validation) else None, preprocessing, drawn)


def _decode(
    dataset: ImageDataset, settings: TrainSettings, progress: Callable[[int, int], None] | None
) -> None:
    if dataset.samples:
        dataset.prepare(
            workers=settings.workers,
            on_error="fail" if settings.on_error == "fail" else "skip",
            progress=progress,
        )


def _part(progress: Progress | None, before: int, total: int) -> Callable[[int, int], None] | None:
    """Return the progress of one part of the images as that of all of them."""
    if progress is None:
        return None
    return lambda done, _: progress(READING, before + done, total)


def _choose_splits(
    settings: TrainSettings, folder: ImageFolder
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], bool]:
    """Return training samples, validation samples, and whether these were drawn from those."""
    splits = folder.splits
    train = splits[UNSPLIT] if UNSPLIT in splits else splits["train"]
    if splits.get("validation"):
        return train, splits["validation"], False
    return *split_samples(train, folder.root, settings.val_fraction, settings.seed), True


def _choose_preprocessing(settings: TrainSettings, samples: tuple[Sample, ...]) -> Preprocessing:
    headers = read_headers([sample.path for sample in samples])
    size = settings.img_size
    height, width = (size, size) if size is not None else choose_size(headers)
    channels = choose_channels(headers) if settings.channels == "auto" else int(settings.channels)
    return Preprocessing(height, width, channels, settings.resize)


# ---- Network and trainer ---------------------------------------------------------------------


def _build_trainer(
    settings: TrainSettings, images: ReadImages, device: Device, checkpoints: Path
) -> Trainer:
    train = Loader(
        images.train,
        settings.batch_size_for(len(images.train)),
        shuffle=True,
        seed=settings.seed,
        augmentation=_augmentation(settings),
        workers=settings.workers,
    )
    validation = None
    if images.validation is not None:
        validation = Loader(images.validation, train.batch_size, workers=settings.workers)
    steps = settings.epochs * len(train)
    rate = settings.lr_for(train.batch_size)
    return Trainer(
        model=_build_network(settings, images, device),
        train=train,
        validation=validation,
        optimizer=_optimizer(settings, rate),
        schedule=get_schedule(settings.schedule, rate, steps),
        loss=SparseCategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        epochs=settings.epochs,
        seed=settings.seed,
        checkpoints=checkpoints,
        settings=settings.to_config(),
    )


def _augmentation(settings: TrainSettings) -> Augmentation:
    return Augmentation(
        horizontal_flip=settings.flip,
        shift=settings.shift,
        rotation=settings.rotation,
        shear=settings.shear_range,
        zoom=settings.zoom_range,
    )


def _optimizer(settings: TrainSettings, rate: float) -> Optimizer:
    momentum = {"momentum": SGD_MOMENTUM} if settings.optimizer == "sgd" else {}
    return get_optimizer(
        settings.optimizer,
        learning_rate=rate,
        weight_decay=settings.weight_decay,
        **momentum,
    )


def _build_network(settings: TrainSettings, images: ReadImages, device: Device) -> Network:
    preprocessing = images.preprocessing
    shape = (preprocessing.height, preprocessing.width, preprocessing.channels)
    classes = images.train.classes
    network = Network(build_network(settings.model, shape, len(classes), width=settings.width))
    network.classes = classes
    network.preprocessing = preprocessing.to_config()
    network.build(shape, seed=settings.seed, device=device)
    return network


# ---- The run's folder ------------------------------------------------------------------------


def _describe_run(
    run: RunDirectory, settings: TrainSettings, folder: ImageFolder, images: ReadImages
) -> None:
    rows = [_split_row(sample, folder.root, "train") for sample in images.train.samples]
    if images.validation is not None:
        held_out = images.validation.samples
        rows += [_split_row(sample, folder.root, "validation") for sample in held_out]
    rows += [_split_row(sample, folder.root, "test") for sample in folder.splits.get("test", ())]
    run.write_settings(settings.to_config())
    run.write_split(rows)
    run.write_bad_files([(str(bad.path), bad.reason) for bad in images.bad_files()])


def _split_row(sample: Sample, root: Path, split: str) -> SplitRow:
    return SplitRow(sample.path.relative_to(root).as_posix(), sample.label, split)


def _prepared(
    run: RunDirectory, settings: TrainSettings, images: ReadImages, trainer: Trainer
) -> TrainingPrepared:
    return TrainingPrepared(
        run=run.path,
        model=settings.model,
        parameters=trainer.model.num_parameters,
        input_shape=images.train.image_shape,
        classes=images.train.classes,
        train_images=len(images.train),
        validation_images=len(images.validation) if images.validation else 0,
        validation_drawn=images.drawn,
        batch_size=settings.batch_size_for(len(images.train)),
        bad_files=images.bad_files(),
        request_stop=trainer.request_stop,
    )


def _history_row(event: EpochEnded) -> dict[str, Any]:
    return {
        "epoch": event.epoch,
        "train_loss": event.train_loss,
        "train_accuracy": event.train_accuracy,
        "validation_loss": event.validation_loss,
        "validation_accuracy": event.validation_accuracy,
        "learning_rate": event.learning_rate,
        "seconds": round(event.seconds, 3),
        "images_per_second": round(event.images_per_second, 1),
        "data_wait": round(event.data_wait, 4),
        "best": int(event.best),
    }
