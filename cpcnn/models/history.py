"""What `fit` returns, and the line that it prints for an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..training.events import EpochEnded


@dataclass
class History:
    """One list per quantity, one entry per epoch; `epoch` counts from 0, as in Keras.

    The names are loss, accuracy, the compiled metrics, all these as val_… when there was
    validation, and learning_rate.
    """

    epoch: list[int] = field(default_factory=list)
    history: dict[str, list[Any]] = field(default_factory=dict)

    def append(self, result: EpochEnded) -> None:
        """Add an epoch."""
        self.epoch.append(result.epoch - 1)
        for name, value in result.logs.items():
            self.history.setdefault(name, []).append(value)


def epoch_line(event: EpochEnded, names: Sequence[str]) -> str:
    """Return the line of an epoch, with the quantities of these names."""
    shown = [*names, *(f"val_{name}" for name in names)]
    scores = scores_line({name: event.logs[name] for name in shown if name in event.logs})
    return f"Epoch {event.epoch}/{event.epochs} - {event.seconds:.1f}s - {scores}"


def scores_line(scores: dict[str, Any]) -> str:
    """Return the numbers among the scores, with their names."""
    numbers = {name: value for name, value in scores.items() if isinstance(value, (int, float))}
    return " - ".join(f"{name}: {value:.4f}" for name, value in numbers.items())
