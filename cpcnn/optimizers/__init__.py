"""Optimizers."""

from __future__ import annotations

from typing import Any

from ..core.errors import UsageError
from .adam import Adam, AdamW
from .base import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "get_optimizer"]

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get_optimizer(optimizer: str | Optimizer, **options: Any) -> Optimizer:
    """Return the optimizer itself, or make one by name; UsageError lists the known names."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    try:
        kind = OPTIMIZERS[optimizer.lower()]
    except (KeyError, AttributeError):
        raise UsageError(
            f"there is no optimizer named {optimizer!r}.",
            suggestion=f"Known optimizers: {', '.join(OPTIMIZERS)}.",
        ) from None
    return kind(**options)
