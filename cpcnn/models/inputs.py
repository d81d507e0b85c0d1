"""From what users pass to `fit`, `evaluate` and `predict` to loaders and weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.options import is_number, is_whole

BATCH_SIZE = 32  # as in Keras
NO_LABELS = np.empty(0, np.int64)


def is_loader(x: Any) -> bool:
    return hasattr(x, "epoch") and hasattr(x, "dataset")


def check_epochs(epochs: Any) -> None:
    """UsageError unless it is a number of epochs."""
    if not is_whole(epochs) or epochs < 0:
        raise UsageError(f"epochs must be a whole number from 0 on, not {epochs!r}.")


def as_loader(
    x: Any,
    y: Any,
    batch_size: int | None,
    *,
    shuffle: bool = False,
    seed: int = 0,
    labelled: bool = True,
) -> Any:
    """Return x itself when it is a loader, or one over the arrays x and y.

    Not `labelled` are images to predict, whose y is None.
    """
    if is_loader(x):
        if y is not None:
            raise UsageError("a Loader brings its own labels: leave y out.")
        return x
    images = _as_images(x)
    if y is None and labelled:
        raise UsageError("arrays need labels: pass x and y.")
    size = BATCH_SIZE if batch_size is None else batch_size
    if y is None and images.ndim == 4 and is_whole(size) and size > 0:
        return ImageBatches(images, size)
    from ..data.array_dataset import ArrayDataset
    from ..data.loader import Loader

    labels = np.zeros(images.shape[:1], np.int64) if y is None else _as_array(y, "labels")
    dataset = ArrayDataset(images, labels)
    return Loader(dataset, size, shuffle=shuffle, seed=seed, workers=0)


class ImageBatch(NamedTuple):
    """Images to predict."""

    images: NDArray[Any]
    labels: NDArray[np.int64] = NO_LABELS
    warp: None = None


class ImageBatches:
    """What `predict` reads of a loader over an array of images, which are not copied."""

    def __init__(self, images: NDArray[Any], batch_size: int) -> None:
        # kernels would be compiled once more for arrays that cannot be written
        self.images = images if images.flags.writeable else images.copy()
        self.batch_size = batch_size
        self.dataset = self

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def epoch(self, epoch: int = 0) -> Iterator[ImageBatch]:
        for start in range(0, len(self.images), self.batch_size):
            yield ImageBatch(self.images[start : start + self.batch_size])


def _as_images(x: Any) -> NDArray[Any]:
    """Return images as an array of numbers; UsageError says what to pass instead."""
    if isinstance(x, str | PathLike):
        raise UsageError(
            f"images are arrays, not paths: {str(x)!r}.",
            suggestion="ImageDataGenerator().flow_from_directory(folder) reads a folder.",
        )
    images = _as_array(x, "images")
    if images.dtype.kind not in "buif":
        raise UsageError(
            f"images must be an array of numbers (N, H, W, C), not {type(x).__name__}.",
            suggestion="Pass an array, a Loader, or what ImageDataGenerator's flow methods return; "
            "other generators are not read.",
        )
    return images


def _as_array(values: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:  # of several lengths
        raise UsageError(f"{what} must make one array, and these differ in shape.") from None


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
        raise UsageError(
            "validation_split takes arrays: pass x and y.",
            suggestion="Of an ImageDataGenerator it is an argument, for subset='validation'.",
        )
    if not (is_number(share) and 0 < share < 1):
        raise UsageError(f"validation_split must be between 0 and 1, not {share!r}.")
    x, y = _as_images(x), _as_array(y, "labels")
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
    if not isinstance(weights, Mapping):
        raise UsageError(
            f"class_weight must be a dictionary {{class number: weight}}, not {weights!r:.80}."
        )
    array = np.ones(num_classes)
    for number, weight in weights.items():
        if number not in range(num_classes):
            raise UsageError(
                f"class_weight names a class {number!r}; the model's are 0 to {num_classes - 1}."
            )
        if not (is_number(weight) and weight >= 0):
            raise UsageError(f"class_weight: the weight of class {number} cannot be {weight!r}.")
        array[number] = weight
    return array
