"""From what users pass to `fit`, `evaluate` and `predict` to loaders and weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError

BATCH_SIZE = 32  # as in Keras


def is_loader(x: Any) -> bool:
    return hasattr(x, "epoch") and hasattr(x, "dataset")


def as_loader(
    x: Any, y: Any, batch_size: int | None, *, shuffle: bool = False, seed: int = 0
) -> Any:
    """Return x itself when it is a loader, or one over the arrays x and y."""
    from ..data.dataset import ArrayDataset
    from ..data.loader import Loader

    if is_loader(x):
        if y is not None:
            raise UsageError("a Loader brings its own labels: leave y out.")
        return x
    if y is None:
        raise UsageError("arrays need labels: pass x and y.")
    dataset = ArrayDataset(np.asarray(x), np.asarray(y))
    size = BATCH_SIZE if batch_size is None else batch_size
    return Loader(dataset, size, shuffle=shuffle, seed=seed, workers=0)


def validation_loader(data: Any, batch_size: int | None) -> Any:
    """Return a loader for `validation_data`: a pair (x, y), a loader, or None."""
    if data is None or is_loader(data):
        return data
    if not (isinstance(data, (tuple, list)) and len(data) == 2):
        raise UsageError("validation_data must be a pair (x, y) or a Loader.")
    return as_loader(data[0], data[1], batch_size)


def split_arrays(x: Any, y: Any, share: float) -> tuple[Any, Any, tuple[Any, Any]]:
    """Return x and y without their last `share`, and that as a pair, as Keras splits."""
    if is_loader(x) or y is None:
        raise UsageError("validation_split takes arrays: pass x and y.")
    if not 0 < share < 1:
        raise UsageError(f"validation_split must be between 0 and 1, not {share!r}.")
    x, y = np.asarray(x), np.asarray(y)
    end = math.floor(len(x) * (1 - share))
    if not 0 < end < len(x):
        raise UsageError(
            f"validation_split={share!r} of {len(x)} images leaves nothing on one side.",
            suggestion="Take another share, or pass validation_data.",
        )
    return x[:end], y[:end], (x[end:], y[end:])


def weights_of_classes(
    weights: Mapping[int, float] | None, num_classes: int
) -> NDArray[np.float64] | None:
    """Return Keras' `class_weight` {class: weight} as an array (K,); what is left out counts 1."""
    if weights is None:
        return None
    array = np.ones(num_classes)
    for number, weight in weights.items():
        if number not in range(num_classes):
            raise UsageError(
                f"class_weight names a class {number!r}; the model's are 0 to {num_classes - 1}."
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise UsageError(f"class_weight: the weight of class {number} cannot be {weight!r}.")
        array[number] = weight
    return array
