"""What training tells the one who listens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

StopReason: TypeAlias = Literal["interrupted", "stopped"]


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
    """After every epoch and its validation; `best` when no epoch before was as good.

    The metrics are numbers by name, or lists of them (a confusion matrix).
    """

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
    train_metrics: dict[str, Any] = field(default_factory=dict)
    validation_metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def logs(self) -> dict[str, Any]:
        """What there is to know by Keras' names: loss, accuracy, the metrics, all that as val_…"""
        logs = {"loss": self.train_loss, "accuracy": self.train_accuracy} | self.train_metrics
        if self.validation_loss is not None:
            validation = {"loss": self.validation_loss, "accuracy": self.validation_accuracy}
            for name, value in (validation | self.validation_metrics).items():
                logs[f"val_{name}"] = value
        return logs | {"learning_rate": self.learning_rate}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them: a metric that is not defined (nan) is null."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> EpochEnded:
        """Return the event that `to_json` wrote; ValueError or TypeError when it is none."""
        _require_numbers(entry)
        metrics = {name: _with_nan(entry[name]) for name in ("train_metrics", "validation_metrics")}
        return cls(**(dict(entry) | metrics))


def _require_numbers(entry: Mapping[str, Any]) -> None:
    for field_ in fields(EpochEnded):
        value = entry.get(field_.name)
        if value is None and field_.name.startswith("validation_"):
            continue
        expected = dict if field_.name.endswith("_metrics") else int | float
        if not isinstance(value, expected) or (isinstance(value, int) and abs(value) >= 2**63):
            raise ValueError(f"{field_.name} is {value!r:.80}")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return math.nan if value is None else value


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete on disk."""

    path: Path
    kind: Literal["best", "last"]
    epoch: int


@dataclass(frozen=True)
class TrainingEnded:
    """The last event; the reason is "stopped" when a callback ended training early."""

    reason: Literal["finished"] | StopReason
    best_epoch: int
    best_accuracy: float | None
    seconds: float


Event: TypeAlias = TrainingStarted | StepEnded | EpochEnded | CheckpointSaved | TrainingEnded

# Who wants to hear of training. With a method `attach(trainer)`, that is called before it starts.
Callback: TypeAlias = Callable[[Event], object]
