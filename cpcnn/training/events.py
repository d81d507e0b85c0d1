"""What training tells the one who listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class TrainingStarted:
    """The first event."""

    device: str
    parameters: int
    steps_per_epoch: int
    epochs: int


@dataclass(frozen=True)
class StepEnded:
    """After every step; `loss` and `accuracy` are running means of the epoch, read now and then.

    `epoch` and `step` count from 1; `data_wait` is the share of the epoch spent waiting for images.
    """

    epoch: int
    step: int
    steps: int
    images: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float
    data_wait: float


@dataclass(frozen=True)
class EpochEnded:
    """After every epoch and its validation; `best` when no epoch before was as good."""

    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    data_wait: float
    best: bool


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete on disk."""

    path: Path
    kind: Literal["best", "last"]
    epoch: int


@dataclass(frozen=True)
class TrainingEnded:
    """The last event."""

    reason: Literal["finished", "interrupted"]
    best_epoch: int
    best_accuracy: float | None
    seconds: float


Event: TypeAlias = TrainingStarted | StepEnded | EpochEnded | CheckpointSaved | TrainingEnded
