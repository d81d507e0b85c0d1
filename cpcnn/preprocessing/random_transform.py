"""The random changes of an ImageDataGenerator as numbers: their ranges, and what images draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.random import Philox
from ..data.augmentation.affine import compose
from ..data.augmentation.changes import Warp

Shift: TypeAlias = float | int | Sequence[float]
Numbers: TypeAlias = NDArray[np.float64]

# The cosine of 90° is 6e-17 in floating point; without it quarter turns are exact.
NOTHING = 1e-12

# Keras' names of what `get_random_transform` returns, with the values that change nothing.
NEUTRAL: dict[str, Any] = {
    "theta": 0.0,
    "tx": 0.0,
    "ty": 0.0,
    "shear": 0.0,
    "zx": 1.0,
    "zy": 1.0,
    "flip_horizontal": False,
    "flip_vertical": False,
    "channel_shift_intensity": None,
    "brightness": None,
}


@dataclass(frozen=True, eq=False)
class Transforms:
    """The parameters of B images, (B,) each, under Keras' names.

    Angles in degrees; `tx`, `zx` act along columns and `ty`, `zy` along rows, shifts in pixels;
    `channel_shift_intensity` and `brightness` are None where they are not asked for.
    """

    theta: Numbers
    tx: Numbers
    ty: Numbers
    shear: Numbers
    zx: Numbers
    zy: Numbers
    flip_horizontal: NDArray[np.bool_]
    flip_vertical: NDArray[np.bool_]
    channel_shift_intensity: Numbers | None
    brightness: Numbers | None

    def warp(self) -> Warp:
        """Compose rotation · shift · shear · zoom and the flips into one warp per image."""
        flip = self.flip_horizontal if self.flip_horizontal.any() else None
        affine = self._affine().astype(np.float32)
        if np.array_equal(affine, np.broadcast_to(np.eye(2, 3), affine.shape)):
            return Warp(flip=flip)
        return Warp(flip=flip, affine=affine)

    def _affine(self) -> Numbers:
        # Keras composes in (x, y) order; reversing both axes gives rows before columns
        affine = compose(
            rotation=np.radians(self.theta),
            shift=(self.tx, self.ty),
            shear=np.radians(self.shear),
            zoom=(self.zx, self.zy),
        )
        affine = np.concatenate([affine[:, ::-1, 1::-1], affine[:, ::-1, 2:]], axis=2)
        # flips come after the warp: output row i is what the warp alone puts at H-1-i
        affine[:, :, 0] *= np.where(self.flip_vertical, -1.0, 1.0)[:, np.newaxis]
        affine[np.abs(affine) < NOTHING] = 0.0
        return affine

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the parameters of each image as Keras does, in plain Python numbers."""
        columns = {name: getattr(self, name) for name in NEUTRAL}
        return [
            {
                name: None if values is None else values[row].item()
                for name, values in columns.items()
            }
            for row in range(len(self.theta))
        ]

    @classmethod
    def of_one(cls, parameters: Mapping[str, Any]) -> Transforms:
        """Take the parameters of one image from a dictionary; what it lacks changes nothing."""
        if unknown := parameters.keys() - NEUTRAL.keys():
            raise UsageError(
                f"there is no transform parameter {sorted(unknown)[0]!r}.",
                suggestion=f"Known are: {', '.join(NEUTRAL)}.",
            )
        values: dict[str, Any] = {}
        for name, value in (NEUTRAL | dict(parameters)).items():
            kind = bool if name.startswith("flip") else float
            values[name] = None if value is None else np.array([value], kind)
        return cls(**values)


@dataclass(frozen=True)
class Ranges:
    """The ranges that parameters are drawn from, as in Keras.

    `rotation` and `shear` are degrees, `channel_shift` a number of grey levels: drawn from
    [-value, value). A shift is a float below 1, a fraction of the side, or from 1 on pixels; an int
    n, whole pixels in (-n, n); or a list of the distances to choose from, with either sign. `zoom`
    and `brightness` are (lowest, highest) factors. UsageError for what cannot be drawn from.
    """

    rotation: float = 0.0
    width_shift: Shift = 0.0
    height_shift: Shift = 0.0
    shear: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    channel_shift: float = 0.0
    brightness: tuple[float, float] | None = None
    horizontal_flip: bool = False
    vertical_flip: bool = False

    def __post_init__(self) -> None:
        for name in ("rotation", "shear", "channel_shift", "zoom", "brightness"):
            _check(f"{name}_range", getattr(self, name))
        for name in ("width_shift", "height_shift"):
            value = getattr(self, name)
            _check(f"{name}_range", value if np.ndim(value) == 0 else np.abs(value))

    @property
    def move(self) -> bool:
        """Whether pixels may come to lie between pixels or from beyond the border."""
        shifts = np.any(self.width_shift) or np.any(self.height_shift)
        return bool(self.rotation or self.shear or self.zoom != (1.0, 1.0) or shifts)

    def draw(self, random: Philox, index: NDArray[np.int64], height: int, width: int) -> Transforms:
        """Draw the parameters of the samples `index` (B,).

        Each is a function of `random` and its sample alone, and each setting has its own numbers:
        changing one does not change what another draws.
        """

        def uniform(name: str, draws: int = 1) -> Numbers:
            return random.child(name).uniform(index, draws).astype(np.float64).T

        def symmetric(name: str, limit: float) -> Numbers:
            return _between(uniform(name)[0], -limit, limit)

        zoom = _between(uniform("zoom", 2), *self.zoom)
        flips = uniform("flip", 2) < 0.5
        return Transforms(
            theta=symmetric("rotation", self.rotation),
            tx=_shift(uniform("width shift", 2), self.width_shift, width),
            ty=_shift(uniform("height shift", 2), self.height_shift, height),
            shear=symmetric("shear", self.shear),
            zx=zoom[0],
            zy=zoom[1],
            flip_horizontal=flips[0] & bool(self.horizontal_flip),
            flip_vertical=flips[1] & bool(self.vertical_flip),
            channel_shift_intensity=(
                symmetric("channel shift", self.channel_shift) if self.channel_shift else None
            ),
            brightness=(
                None
                if self.brightness is None
                else _between(uniform("brightness")[0], *self.brightness)
            ),
        )


def _check(name: str, value: Any) -> None:
    """Raise UsageError unless there are finite numbers, none below 0, or nothing."""
    numbers = [] if value is None else np.ravel(value).tolist()
    if not all(isinstance(number, (int, float)) and 0 <= number < math.inf for number in numbers):
        raise UsageError(f"{name} must be of finite numbers from 0 on, not {value!r}.")


def _between(uniform: Numbers, low: float, high: float) -> Numbers:
    """Spread [0, 1) over [low, high)."""
    return low + uniform * (high - low)


def _shift(uniform: Numbers, distance: Shift, side: int) -> Numbers:
    """Turn two draws (2, B) into shifts in pixels (B,): how far, and which way."""
    values = np.asarray(distance)
    if not values.any():
        return np.zeros(uniform.shape[1])
    if values.ndim == 0 and values.dtype.kind == "f":
        shift = _between(uniform[0], -float(values), float(values))
    else:
        choices = np.arange(int(values)) if values.ndim == 0 else values
        chosen = choices[(uniform[0] * len(choices)).astype(np.int64)]
        shift = chosen * np.where(uniform[1] < 0.5, -1.0, 1.0)
    return shift * side if np.abs(values).max() < 1 else shift
