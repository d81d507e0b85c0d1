"""What the jobs say on their way, besides the trainer's own events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

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
    """What lies in the data folder: the images of each split, and what was passed over."""

    root: Path
    classes: tuple[str, ...]
    images: dict[str, int]
    ignored: tuple[tuple[Path, str], ...]


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
