"""Random augmentation as numbers: which warp each image gets. The pixels are the input stage's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import CheckpointError, UsageError
from ..core.random import Philox

# Exclusive upper bounds, except of the rotation.
LIMITS = {"shift": 1.0, "rotation": 180.0, "shear": 90.0, "zoom": 1.0}


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


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes; zero or False leaves one out.

    `shift` is a fraction of each side: whole pixels with reflected borders on its own, whole pixels
    beside a `vertical_flip`, fractions of pixels as part of any other warp. `rotation` and `shear`
    are degrees, drawn from [-value, value]; `zoom` z draws one factor per axis from [1 - z, 1 + z].
    Rotation, shift, shear and zoom compose about the centre in this order, as in Keras.
    """

    horizontal_flip: bool = False
    shift: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    vertical_flip: bool = False

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            # Not "value >= limit": this also refuses NaN.
            if not 0.0 <= value <= limit or (value == limit and name != "rotation"):
                raise UsageError(f"augmentation: {name} must lie in [0, {limit:g}), not {value}.")

    def __bool__(self) -> bool:
        return self.horizontal_flip or self.vertical_flip or self.shift > 0.0 or self._bends

    @property
    def _bends(self) -> bool:
        """Whether pixels may come to lie between pixels."""
        return self.rotation > 0.0 or self.shear > 0.0 or self.zoom > 0.0

    def draw(
        self, seed: int, epoch: int, index: NDArray[np.int64], height: int, width: int
    ) -> Warp:
        """Draw the warps of the samples `index` (B,) in one epoch.

        Each is a function of (seed, epoch, sample) alone, whatever batch the sample is in. Every
        setting has its own numbers: changing one does not change what another draws.
        """
        random = Philox(seed, "augment", epoch)
        flip, down, right, turn = _columns(random.uniform(index, 4))
        warp = Warp(flip=flip < 0.5 if self.horizontal_flip else None)
        if self._bends or self.vertical_flip:
            spread = _symmetric if self._bends else _whole
            shift = spread(down, self.shift * height), spread(right, self.shift * width)
            affine = self._affine(random, index, turn, shift)
            return Warp(flip=warp.flip, affine=affine.astype(np.float32))
        if self.shift > 0.0:
            offsets = [_whole(down, self.shift * height), _whole(right, self.shift * width)]
            return Warp(flip=warp.flip, crop=np.stack(offsets, axis=1).astype(np.int32))
        return warp

    def _affine(
        self,
        random: Philox,
        index: NDArray[np.int64],
        turn: NDArray[np.float64],
        shift: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        shear, zoom_down, zoom_right = _columns(random.child("warp").uniform(index, 3))
        affine = compose(
            rotation=np.radians(_symmetric(turn, self.rotation)),
            shift=shift,
            shear=np.radians(_symmetric(shear, self.shear)),
            zoom=(1.0 + _symmetric(zoom_down, self.zoom), 1.0 + _symmetric(zoom_right, self.zoom)),
        )
        if self.vertical_flip:
            (upside_down,) = _columns(random.child("vertical").uniform(index, 1))
            # after the warp, as in Keras: row i is what the warp alone puts at H-1-i
            affine[:, :, 0] *= np.where(upside_down < 0.5, -1.0, 1.0)[:, np.newaxis]
        return affine

    def to_config(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Any) -> Augmentation:
        """Rebuild from `to_config`; raises CheckpointError for anything else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(config, dict) or not config.keys() <= names:
            raise CheckpointError(
                f"augmentation settings are {', '.join(sorted(names))}; found {config!r}."
            )
        try:
            return cls(**config)
        except (UsageError, TypeError) as error:
            raise CheckpointError(f"the augmentation settings are damaged: {error}") from error


def compose(
    *,
    rotation: NDArray[np.float64],
    shift: tuple[NDArray[np.float64], NDArray[np.float64]],
    shear: NDArray[np.float64],
    zoom: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Multiply rotation · shift · shear · zoom of B images: float64 (B, 2, 3), (row, column) order.

    Angles are in radians, shifts in pixels. The product maps output to input positions: the zoom,
    on the right, is applied first, and a factor above 1 shows more of the image, smaller.
    """
    cosine, sine = np.cos(rotation), np.sin(rotation)
    rotate = _matrices([[cosine, -sine], [sine, cosine]])
    shear_zoom = _matrices(
        [[zoom[0], -np.sin(shear) * zoom[1]], [np.zeros_like(shear), np.cos(shear) * zoom[1]]]
    )
    offset = rotate @ np.stack(shift, axis=-1)[:, :, np.newaxis]
    return np.concatenate([rotate @ shear_zoom, offset], axis=2)


def _matrices(entries: list[list[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Stack a nested list of (B,) entries to (B, rows, columns)."""
    return np.stack([np.stack(row, axis=-1) for row in entries], axis=-2)


def _columns(uniform: NDArray[np.float32]) -> NDArray[np.float64]:
    return uniform.astype(np.float64).T


def _symmetric(uniform: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Spread [0, 1) over [-limit, limit)."""
    return (2.0 * uniform - 1.0) * limit


def _whole(uniform: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Spread [0, 1) evenly over the whole numbers from -limit to limit."""
    most = math.floor(limit)
    return np.floor(uniform * (2 * most + 1)) - most
