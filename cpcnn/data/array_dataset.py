"""A dataset of images that are in an array already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import DataError


class ArrayDataset:
    """Images already in an array (N, H, W, C) of any dtype, with integer or one-hot labels."""

    in_memory = True

    def __init__(
        self, images: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None
    ) -> None:
        self.images = np.asarray(images)
        if self.images.ndim != 4:
            raise DataError(
                f"images must have the shape (N, H, W, C), not {self.images.shape}.",
                suggestion="Grey images need a last axis: images[..., None]; "
                "a single image a first: image[None].",
            )
        self.labels, count = _class_indices(np.asarray(labels))
        if len(self.labels) != len(self.images):
            raise DataError(f"{len(self.images)} images, but {len(self.labels)} labels.")
        self.classes = tuple(map(str, range(count))) if classes is None else tuple(classes)
        if len(self.classes) < count:
            raise DataError(f"labels name {count} classes, but {len(self.classes)} are given.")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the images of `index` (B,) as a new array (B, H, W, C)."""
        return self.images.take(index, axis=0)


def _class_indices(labels: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Return int64 labels (N,) and the number of classes, from integers or one-hot rows."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _from_one_hot(labels), labels.shape[1]
    if labels.ndim == 2:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"labels must have the shape (N,) or (N, classes), not {labels.shape}.")
    if labels.dtype.kind not in "biuf":
        raise DataError(f"labels must be class numbers or one-hot rows, not {labels.dtype}.")
    indices = labels.astype(np.int64)
    if (indices != labels).any() or (indices < 0).any():
        raise DataError("class numbers must be whole and not negative.")
    return indices, int(indices.max(initial=-1)) + 1


def _from_one_hot(labels: NDArray[Any]) -> NDArray[np.int64]:
    indices: NDArray[np.int64] = labels.argmax(axis=1)
    if not np.array_equal(np.eye(labels.shape[1])[indices], labels):
        raise DataError(
            f"labels of shape {labels.shape} must be one-hot rows: a single 1, all else 0."
        )
    return indices
