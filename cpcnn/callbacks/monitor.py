"""A quantity that is watched from epoch to epoch, and which way is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.errors import UsageError
from ..core.options import check_number
from ..training.events import EpochEnded
from ..training.trainer import Trainer

MODES = ("auto", "min", "max")


@dataclass(frozen=True)
class Monitor:
    """The quantity `name` of an epoch's logs.

    `mode` is "min", "max" or "auto": a loss shall be low, everything else high. A change counts
    when it is more than `min_delta`.
    """

    name: str
    mode: str = "auto"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}.")
        if not isinstance(self.name, str):
            raise UsageError(f"monitor must be the name of a quantity, not {self.name!r}.")
        check_number(self, "min_delta")

    def check(self, trainer: Trainer) -> None:
        """Raise UsageError, with the names that there are, if training will not know it."""
        require_names([self.name], trainer)

    def read(self, event: EpochEnded) -> float:
        """Return the value of an epoch; UsageError when it is not a number."""
        value = event.logs[self.name]
        if not isinstance(value, (int, float)):
            raise UsageError(
                f"{self.name!r} is not a number and cannot be monitored.",
                suggestion="Monitor another quantity.",
            )
        return value

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best one, if there is one; nan never is."""
        if best is None:
            return not math.isnan(value)
        margin = abs(self.min_delta)
        return value < best - margin if self._low else value > best + margin

    @property
    def _low(self) -> bool:
        if self.mode == "auto":
            return self.name.removeprefix("val_") == "loss"
        return self.mode == "min"


def require_names(names: list[str], trainer: Trainer) -> None:
    """Raise UsageError if there is a name that is not in the logs of a training."""
    unknown = [name for name in names if name not in trainer.log_names]
    if not unknown:
        return
    words = f"Known are: {', '.join(trainer.log_names)}."
    if unknown[0].startswith("val_") and trainer.validation is None:
        words += " There is no validation: pass validation_data to fit."
    raise UsageError(f"training has no quantity {unknown[0]!r}.", suggestion=words)
