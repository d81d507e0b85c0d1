"""Optimizers."""

from __future__ import annotations

from typing import Any

from ..core.errors import UsageError
from .adam import Adam, AdamW
from .base import Optimizer
from .lamb import Lamb
from .nadam import Nadam
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Lamb", "Nadam", "Optimizer", "RMSprop", "get_optimizer"]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": Nadam,
    "rmsprop": RMSprop,
    "lamb": Lamb,
}


def get_optimizer(optimizer: str | type[Optimizer] | Optimizer, **options: Any) -> Optimizer:
    """Return the optimizer itself, or make one by name or class.

    UsageError lists the known names.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer(**options)
    try:
        kind = OPTIMIZERS[optimizer.lower()]
    except (KeyError, AttributeError):
        raise UsageError(
            f"there is no optimizer named {optimizer!r}.",
            suggestion=f"Known optimizers: {', '.join(OPTIMIZERS)}.",
        ) from None
    return kind(**options)
