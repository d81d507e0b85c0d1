"""Losses: one number for each image, from the network's outputs and the labels."""

from __future__ import annotations

import difflib

from ..core.errors import UsageError
from .base import ClassWeighted, Loss
from .cross_entropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from .focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from .squared_error import MeanSquaredError

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "ClassWeighted",
    "Loss",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "get_loss",
    "mean_squared_error",
    "sparse_categorical_crossentropy",
]

# Ready for use with the defaults: compile(loss=categorical_crossentropy).
categorical_crossentropy = CategoricalCrossentropy()
sparse_categorical_crossentropy = SparseCategoricalCrossentropy()
binary_crossentropy = BinaryCrossentropy()
categorical_focal_crossentropy = CategoricalFocalCrossentropy()
binary_focal_crossentropy = BinaryFocalCrossentropy()
mean_squared_error = MeanSquaredError()

LOSSES: dict[str, Loss] = {
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "binary_crossentropy": binary_crossentropy,
    "categorical_focal_crossentropy": categorical_focal_crossentropy,
    "binary_focal_crossentropy": binary_focal_crossentropy,
    "mean_squared_error": mean_squared_error,
    "bce": binary_crossentropy,
    "focal": categorical_focal_crossentropy,
    "mse": mean_squared_error,
}


def get_loss(loss: str | Loss | type[Loss]) -> Loss:
    """Return a loss by its name, or the name of its class; the loss itself; or make a class's.

    UsageError names the nearest and all known names.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if isinstance(loss, str):
        for name, known in LOSSES.items():
            if _plain(loss) == _plain(name):
                return known
    close = difflib.get_close_matches(str(loss), LOSSES, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"there is no loss named {loss!r}.{hint}",
        suggestion=f"Known losses: {', '.join(LOSSES)}.",
    )


def _plain(name: str) -> str:
    """CategoricalCrossentropy and categorical_crossentropy are one name."""
    return name.replace("_", "").lower()
