"""What the jobs say on their way, besides the trainer's own events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ..training.events import EpochEnded

# What is being done, how much of it is done, how much there is.
Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BadFile:
    """An image that could not be read."""

    path: Path
    reason: str


@dataclass(frozen=True)
class DeviceSelected:
    """The device that will compute: the first event of every job."""

    name: str
    description: str


@dataclass(frozen=True)
class DataFound:
    """What lies in the data folder: the images of each split, what was passed over, remarks."""

    root: Path
    classes: tuple[str, ...]
    images: dict[str, int]
    ignored: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingResumed:
    """Training goes on from a checkpoint, and that fits.

    All epochs of `history` are done, and so many batches of the next one. `notes` tell what is not
    as it was before.
    """

    run: Path
    history: tuple[EpochEnded, ...]
    batches_done: int
    batches_per_epoch: int
    epochs: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TrainingPrepared:
    """Everything is ready: images are decoded, the network is built, the run's folder exists.

    `validation_drawn` tells that the validation images were drawn from the training images.
    `request_stop` may be called from a signal handler; it ends training in good order.
    """

    run: Path
    model: str
    parameters: int
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    train_images: int
    validation_images: int
    validation_drawn: bool
    batch_size: int
    bad_files: tuple[BadFile, ...]
    request_stop: Callable[[], None] = field(repr=False)
    notes: tuple[str, ...] = ()
