"""Train a classifier on a folder of images: find, decode, measure, build, run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..core.errors import CheckpointError, DivergedError, UsageError
from ..data.contents import digests_of
from ..data.layouts.image_folder import ImageFolder
from ..devices import get_device
from ..networks import NETWORKS
from ..training.events import EpochEnded, TrainingEnded
from ..training.events import Event as TrainerEvent
from ..training.trainer import Trainer
from .build_trainer import build_trainer
from .checking.data_remarks import data_remarks
from .events import (
    DataFound,
    DeviceSelected,
    Progress,
    TrainingPrepared,
    TrainingResumed,
)
from .figures import write_curves
from .limit import limited
from .read_images import ReadImages, read_images
from .run_directory import LAST, RunDirectory, SplitRow
from .run_lock import locked
from .settings import TrainSettings, did_you_mean
from .splits import SplitChoice, scan_as_set, split_as_set
from .start_weights import frozen_notes, take_weights

Event: TypeAlias = DeviceSelected | DataFound | TrainingResumed | TrainingPrepared | TrainerEvent


def train_folder(
    settings: TrainSettings, progress: Progress | None = None
) -> Generator[Event, None, None]:
    """Train on a folder and yield what happens: DeviceSelected, DataFound, TrainingPrepared, then
    the trainer's events.

    `progress` hears how many images have been read. The run's folder is made first and removed
    again if training does not begin. Raises CpcnnError; nothing is written into the data folder.
    """
    check_model(settings.model)
    run = RunDirectory.create(
        settings.model, settings.data, output=settings.output, name=settings.name
    )
    with locked(run.path):  # before anything is discarded: it may be another process' run
        try:
            yield from train_into(run, settings, _describe_run, progress)
        except BaseException:
            run.discard()
            raise


def check_model(name: str) -> None:
    """Raise UsageError unless there is a network of this name."""
    if name not in NETWORKS:
        raise UsageError(
            f"There is no model {name!r}; it must be one of {', '.join(NETWORKS)}.",
            suggestion=did_you_mean(name, sorted(NETWORKS)),
        )


@dataclass(frozen=True)
class Training:
    """A training that is about to begin, and the rows of split.csv that say on which images."""

    settings: TrainSettings
    images: ReadImages
    rows: list[SplitRow]
    trainer: Trainer
    notes: list[str]


def train_into(
    run: RunDirectory,
    settings: TrainSettings,
    begin: Callable[[RunDirectory, Training], tuple[Event, ...]],
    progress: Progress | None,
    jpeg: str = "reduced",
) -> Generator[Event, None, None]:
    """Prepare a training, let `begin` do what comes before its first step, and train."""
    device = get_device(settings.device, threads=settings.threads, exact=settings.exact)
    yield DeviceSelected(device.name, device.description)
    folder = scan_as_set(settings)
    choice = split_as_set(settings, folder, settings.fold)
    choice = limited(choice, folder.root, settings.limit, settings.seed)
    images = {split: len(samples) for split, samples in folder.splits.items()}
    yield DataFound(folder.source, folder.classes, images, folder.ignored, choice.notes)
    ready = read_images(settings, folder, choice, progress, jpeg)
    settings = ready.complete(settings)
    trainer = build_trainer(settings, ready, device, run.path)
    rows = _split_rows(settings, folder, choice, ready)
    notes = frozen_notes(trainer.model, random=settings.weights is None) + data_remarks(rows)
    training = Training(settings, ready, rows, trainer, notes=[*ready.notes(), *notes])
    yield from begin(run, training)
    yield _prepared(run, training)
    yield from _run_trainer(trainer, run)


def _run_trainer(trainer: Trainer, run: RunDirectory) -> Iterator[TrainerEvent]:
    try:
        for event in trainer.run():
            if isinstance(event, EpochEnded):
                run.append_history(history_row(event))
            if isinstance(event, TrainingEnded):
                with suppress(UsageError):  # the numbers are in history.csv, the model is saved
                    write_curves(run.path)
            yield event
    except CheckpointError as error:
        if not (run.path / LAST).is_file():
            raise
        raise CheckpointError(
            error.message,
            suggestion=f"{error.suggestion} Then `cpcnn train --resume {run.path}` goes on.",
        ) from error
    except DivergedError as error:
        where = f" The run is {run.path}." if run.checkpoints() else ""
        raise DivergedError(error.message + where, suggestion=error.suggestion) from error


# ---- The run's folder ------------------------------------------------------------------------


def _describe_run(run: RunDirectory, training: Training) -> tuple[Event, ...]:
    bad_files = training.images.bad_files()
    start_from_weights(training)
    run.write_settings(training.settings.to_config())
    run.write_split(training.rows)
    run.write_bad_files([(str(bad.path), bad.reason) for bad in bad_files])
    return ()


def start_from_weights(training: Training) -> None:
    """Take over the weights that --weights names, if any; a resumed training has them already."""
    if training.settings.weights is not None:
        model = training.trainer.model
        training.notes.append(take_weights(model, training.settings.weights))


def _split_rows(
    settings: TrainSettings, folder: ImageFolder, choice: SplitChoice, images: ReadImages
) -> list[SplitRow]:
    tests = digests_of(choice.test, workers=settings.workers, cache=images.cache)
    parts = [("train", images.train.samples, images.train.digests)]
    if images.validation is not None:
        parts.append(("validation", images.validation.samples, images.validation.digests))
    parts.append(("test", choice.test, tuple(tests)))
    return [
        SplitRow(
            sample.name_in(folder.root),
            sample.label,
            split,
            sample.group,
            digest,
        )
        for split, samples, digests in parts
        for sample, digest in zip(samples, digests, strict=True)
    ]


def _prepared(run: RunDirectory, training: Training) -> TrainingPrepared:
    settings, images, trainer = training.settings, training.images, training.trainer
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
        notes=tuple(training.notes),
    )


def history_row(event: EpochEnded) -> dict[str, Any]:
    """Return an epoch's row in history.csv."""
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
    } | {f"validation_{name}": value for name, value in event.validation_metrics.items()}
