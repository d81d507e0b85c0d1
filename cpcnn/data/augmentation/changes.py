"""What happens to the pixels of a batch, as numbers per image: where they go, what they become."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Warp:
    """Where each pixel of a batch of images (B, H, W, C) comes from.

    Output pixel (i, j) reads column W-1-j instead of j where `flip` (bool (B,)); then `crop` (int32
    (B, 2)) adds whole (top, left) offsets, reflected at the border without repeating the edge; or
    `affine` (float32 (B, 2, 3)) maps (row, column) relative to the centre ((H-1)/2, (W-1)/2), read
    bilinearly and clamped to the border. A part that is None does nothing.
    """

    crop: NDArray[np.int32] | None = None
    flip: NDArray[np.bool_] | None = None
    affine: NDArray[np.float32] | None = None

    def rows(self, rows: slice) -> Warp:
        """Return the warps of some of the images."""
        return Warp(
            crop=None if self.crop is None else self.crop[rows],
            flip=None if self.flip is None else self.flip[rows],
            affine=None if self.affine is None else self.affine[rows],
        )


@dataclass(frozen=True, eq=False)
class Mix:
    """How each of B images is mixed with the next one of its batch, the last with the first.

    Inside `box` (int32 (B, 4): top, left, bottom, right, the last two beyond it) an image keeps
    `share` (float32 (B,)) of itself and takes the rest from the other; outside it keeps all.
    `weight` (float32 (B,)) is what its own label counts; the other's counts the rest.
    """

    share: NDArray[np.float32]
    box: NDArray[np.int32]
    weight: NDArray[np.float32]

    @property
    def partner(self) -> NDArray[np.int32]:
        """The place in the batch (B,) of the image that each one is mixed with."""
        count = len(self.share)
        return ((np.arange(count) + 1) % max(count, 1)).astype(np.int32)

    def mixed_labels(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return of each image the label that counts most, its own where both count the same."""
        return np.where(self.weight >= 0.5, labels, labels[self.partner])


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes of pixel values, of 0..255, of a batch of images (B, H, W, C), in this order.

    - `filters` int32 (B, 3): autocontrast (0 or 1), equalize (0 or 1), sharpness (in 1/256; 256
      changes nothing), on the stored image, before it is warped.
    - `colour` float32 (B, C, C): the matrix of each colour, and `about_mean` (B, C, C) that of the
      mean colour of the image, which is added.
    - `tone` float32 (B, 2): values from the first number on are inverted (256: none are), then
      rounded down to a multiple of the second, a power of two.
    - `erase` int32 (B, 4): a box as in `Mix`, which becomes the mean colour of the training images.
    - `mix`: with which other image it is mixed, once this one is changed as well.

    A part that is None does nothing.
    """

    filters: NDArray[np.int32] | None = None
    colour: NDArray[np.float32] | None = None
    about_mean: NDArray[np.float32] | None = None
    tone: NDArray[np.float32] | None = None
    erase: NDArray[np.int32] | None = None
    mix: Mix | None = None

    def rows(self, rows: slice) -> Changes:
        """Return the changes of some of the images, which are then a batch of their own."""
        parts = {name: None if part is None else part[rows] for name, part in self._arrays()}
        return Changes(**parts, mix=None if self.mix is None else _rows_of(self.mix, rows))

    def _arrays(self) -> list[tuple[str, Any]]:
        names = [field.name for field in fields(self) if field.name != "mix"]
        return [(name, getattr(self, name)) for name in names]


def _rows_of(mix: Mix, rows: slice) -> Mix:
    return replace(mix, share=mix.share[rows], box=mix.box[rows], weight=mix.weight[rows])
