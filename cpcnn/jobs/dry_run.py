"""All of a training but the training: read, check, build, try one batch, and leave nothing."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..data.augmentation.augment import Augmentation
from ..training.tally import Tally
from ..training.trainer import Trainer
from .augment_presets import augmentation_keywords
from .build_trainer import updates_per_epoch
from .events import Progress, TrainingPrepared
from .new_file import require_new_file
from .preview import preview_sheet, write_preview
from .run_directory import RunDirectory
from .run_lock import locked
from .settings import TrainSettings
from .train import Event as TrainEvent
from .train import Training, check_model, start_from_weights, train_into


@dataclass(frozen=True)
class DryRunEnded:
    """What training would do, and the first batch's loss and time (forward, backward, update)."""

    settings: TrainSettings
    parameters: int
    trainable: int
    batches_per_epoch: int
    updates: int
    loss: float
    seconds: float


Event: TypeAlias = TrainEvent | DryRunEnded


def dry_run(
    settings: TrainSettings, progress: Progress | None = None, *, preview: Path | None = None
) -> Generator[Event, None, None]:
    """Prepare a training, learn from one batch, forget it, and yield what happens.

    The events are those of `train_folder` up to TrainingPrepared, then DryRunEnded. All that would
    stop a training before its first step does so here; no file is left but `preview`, a new PNG
    outside the data folder with images as training will see them.
    """
    check_model(settings.model)
    if preview is not None:
        require_new_file(preview, "preview", outside=settings.data)
    run = RunDirectory.create(
        settings.model, settings.data, output=settings.output, name=settings.name
    )
    prepared: list[Training] = []

    def begin(_: RunDirectory, training: Training) -> tuple[TrainEvent, ...]:
        start_from_weights(training)
        prepared.append(training)
        return ()

    with locked(run.path):
        try:
            with closing(train_into(run, settings, begin, progress)) as events:
                for event in events:
                    yield event
                    if isinstance(event, TrainingPrepared):
                        break
            yield _try_one_batch(prepared[0].settings, prepared[0].trainer)
            if preview is not None:
                write_preview(preview, _sheet(prepared[0]))
        finally:
            run.discard()


def _sheet(training: Training) -> NDArray[np.uint8]:
    settings, images = training.settings, training.images
    augmentation = Augmentation(**augmentation_keywords(settings.augment, settings))
    device = training.trainer.model.device
    return preview_sheet(
        images.train, augmentation, images.preprocessing, seed=settings.seed, device=device
    )


def _try_one_batch(settings: TrainSettings, trainer: Trainer) -> DryRunEnded:
    step = trainer.prepare()
    tally = Tally(trainer.model, step.loss)
    with closing(trainer.train.epoch(0)) as batches:  # type: ignore[type-var]
        batch = next(batches)
    started = time.perf_counter()
    step(batch, trainer.schedule(0), tally, update=True)
    tally.read()
    store = trainer.model.store
    return DryRunEnded(
        settings=settings,
        parameters=store.num_parameters,
        trainable=store.num_trainable,
        batches_per_epoch=len(trainer.train),
        updates=settings.epochs * updates_per_epoch(settings, len(trainer.train)),
        loss=tally.loss,
        seconds=time.perf_counter() - started,
    )
