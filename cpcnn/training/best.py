"""Which epoch of a training is the best one."""

from __future__ import annotations

import math

from .events import EpochEnded


def is_better(epoch: EpochEnded, best: EpochEnded | None, monitor: str) -> bool:
    """Whether an epoch is better than the best one before it, by a name of its logs.

    Without validation every epoch is better than those before.
    """
    if best is None or epoch.validation_loss is None:
        return True
    return _rank(epoch, monitor) > _rank(best, monitor)


def _rank(epoch: EpochEnded, monitor: str) -> tuple[float, float]:
    value, loss = epoch.logs[monitor], epoch.validation_loss
    good = -value if monitor.removeprefix("val_") == "loss" else value
    return (-math.inf if math.isnan(good) else good), -math.inf if loss is None else -loss
