"""A rate that falls when training stops getting better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import CheckpointError, UsageError
from ..core.options import check_number, check_whole


@dataclass
class ReduceOnPlateau:
    """`learning_rate`, times `factor` whenever `patience` epochs brought nothing better.

    `observe` is told a value after each epoch, the loss of the validation, and better is lower
    (`mode="max"`: higher) by more than `min_delta`. After a reduction counting waits for
    `cooldown` epochs, the last of which counts again. The rate stays at least at `min_lr`.
    Counts are those of Keras' ReduceLROnPlateau: PyTorch's patience p is p + 1 here, and so is its
    cooldown where there is one.
    """

    learning_rate: float
    factor: float = 0.1
    patience: int = 10
    mode: str = "min"
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0

    rate: float = field(init=False)  # of now
    best: float = field(init=False)
    wait: int = field(default=0, init=False)  # epochs without anything better
    resting: int = field(default=0, init=False)  # epochs of cooldown that are left

    def __post_init__(self) -> None:
        check_number(self, "learning_rate", least=0)
        check_number(self, "factor", above=0, below=1)
        check_whole(self, "patience", least=0)
        check_number(self, "min_delta", least=0)
        check_whole(self, "cooldown", least=0)
        check_number(self, "min_lr", least=0)
        if self.mode not in ("min", "max"):
            raise UsageError(
                f"ReduceOnPlateau: mode cannot be {self.mode!r}; it must be 'min' or 'max'."
            )
        self.rate = self.learning_rate
        self.best = self._worst

    def __call__(self, step: int) -> float:
        return self.rate

    def observe(self, value: float) -> None:
        """Take note of an epoch's value, and reduce the rate when it is time; NaN is no better."""
        if self.resting > 0:
            self.resting -= 1
            self.wait = 0
        if self._is_better(value):
            self.best = value
            self.wait = 0
        elif self.resting == 0:
            self.wait += 1
            if self.wait >= self.patience and self.rate > self.min_lr:
                self.rate = max(self.rate * self.factor, self.min_lr)
                self.resting = self.cooldown
                self.wait = 0

    def get_state(self) -> dict[str, Any]:
        """Return what was observed up to now, as plain values."""
        best = self.best if math.isfinite(self.best) else None
        return {"rate": self.rate, "best": best, "wait": self.wait, "resting": self.resting}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `get_state` returned; CheckpointError when it is none."""
        try:
            rate, best = float(state["rate"]), state["best"]
            best = self._worst if best is None else float(best)
            wait, resting = int(state["wait"]), int(state["resting"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the state of the schedule does not fit ReduceOnPlateau ({error})."
            ) from None
        self.rate, self.best, self.wait, self.resting = rate, best, wait, resting

    @property
    def _worst(self) -> float:
        return math.inf if self.mode == "min" else -math.inf

    def _is_better(self, value: float) -> bool:
        if self.mode == "min":
            return value < self.best - self.min_delta
        return value > self.best + self.min_delta
