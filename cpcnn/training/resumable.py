"""Whether a training can go on from a checkpoint: is it the one that wrote it?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..core.errors import CheckpointError, UsageError
from .checkpoint import Checkpoint, model_config
from .progress import TrainingProgress

if TYPE_CHECKING:
    from .trainer import Trainer


def check_resumable(trainer: Trainer, checkpoint: Checkpoint, progress: TrainingProgress) -> None:
    """Raise CheckpointError for another network, UsageError for other data or options."""
    _ = trainer.model.store  # built by now, so that it knows its shapes
    if json.loads(json.dumps(model_config(trainer.model))) != checkpoint.model_config:
        raise CheckpointError(
            "the checkpoint is of another network than the one in training.",
            suggestion="Build the network as it was built then.",
        )
    if progress.seed != trainer.seed:
        raise UsageError(
            f"the checkpoint is of a training with seed {progress.seed}, not {trainer.seed}."
        )
    weights = trainer.listed_class_weights()
    if progress.class_weights != weights:
        raise UsageError(
            f"the checkpoint is of a training with the class weights {progress.class_weights}, "
            f"not {weights}."
        )
    if progress.steps_per_epoch != len(trainer.train):
        raise UsageError(
            f"the checkpoint is of a training with {progress.steps_per_epoch} batches an "
            f"epoch, this one has {len(trainer.train)}.",
            suggestion="Take the same images and the same batch size.",
        )
    _check_epochs(trainer, progress)


def _check_epochs(trainer: Trainer, progress: TrainingProgress) -> None:
    done = len(progress.history)
    if done > trainer.epochs:
        raise UsageError(
            f"the checkpoint is of epoch {done}, and this training has {trainer.epochs}."
        )
    # the best epoch is the best of all: those before must be comparable
    if trainer.validates and any(trainer.monitor not in entry.logs for entry in progress.history):
        raise UsageError(
            f"the epochs before have no quantity {trainer.monitor!r} to monitor.",
            suggestion="Take the validation images, metrics and monitor of the training before.",
        )
