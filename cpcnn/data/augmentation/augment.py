"""Random augmentation as numbers: what each image gets. The pixels are the input stage's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import CheckpointError, UsageError
from ...core.options import Bounds, is_whole
from ...core.random import Philox
from .affine import Numbers, chain, compose, resized_crop
from .boxes import erased_boxes
from .changes import Changes, Mix, Warp
from .colour import ColourMaps
from .mixing import draw_mix
from .policies import LEVELS, Policy

# Exclusive upper bounds, except of the rotation.
LIMITS = {"shift": 1.0, "rotation": 180.0, "shear": 90.0, "zoom": 1.0}
# A crop's area may not be 0, which leaves it out; an alpha below 0.05 would mix next to nothing.
SHARE, ALPHA = Bounds(least=0, most=1), Bounds(least=0.05, most=100)
BOUNDS = {
    "random_crop": Bounds(least=0, below=1),
    "brightness": SHARE,
    "contrast": SHARE,
    "saturation": SHARE,
    "hue": Bounds(least=0, most=180),
    "erasing": SHARE,
}
MOST_STEPS = 8


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes; zero or False leaves one out.

    `shift` is a fraction of each side: whole pixels with reflected borders on its own, whole pixels
    beside a `vertical_flip`, fractions of pixels as part of any other warp. `rotation` and `shear`
    are degrees, drawn from [-value, value]; `zoom` z draws one factor per axis from [1 - z, 1 + z].
    Rotation, shift, shear and zoom compose about the centre in this order, as in Keras.

    `random_crop` is the smallest part of the area that a random crop takes, which is stretched to
    the whole. `brightness`, `contrast` and `saturation` v draw a factor from [1 - v, 1 + v], `hue`
    is degrees on the circle of colours. `rand_augment` is the magnitude of RandAugment, from 1 to
    30, of which each image draws `rand_augment_steps` changes; `trivial_augment` draws one change
    of any magnitude. `erasing` is the probability of random erasing. `mixup` and `cutmix` are
    alphas: each image keeps a share that follows Beta(alpha, alpha).

    UsageError for a value out of range, and for RandAugment and TrivialAugment together.
    """

    horizontal_flip: bool = False
    shift: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    vertical_flip: bool = False
    random_crop: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    rand_augment: int = 0
    rand_augment_steps: int = 2
    trivial_augment: bool = False
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            # Not "value >= limit": this also refuses NaN.
            if not 0.0 <= value <= limit or (value == limit and name != "rotation"):
                raise UsageError(f"augmentation: {name} must lie in [0, {limit:g}), not {value}.")
        for name, bounds in BOUNDS.items():
            _require(bounds.hold(getattr(self, name)), self, name, f"a number {bounds}")
        for name in ("mixup", "cutmix"):
            value = getattr(self, name)
            _require(value == 0 or ALPHA.hold(value), self, name, f"0, or a number {ALPHA}")
        for name, least, most in (
            ("rand_augment", 0, LEVELS),
            ("rand_augment_steps", 1, MOST_STEPS),
        ):
            value = getattr(self, name)
            fits = is_whole(value) and least <= value <= most
            _require(fits, self, name, f"a whole number from {least} to {most}")
        if self.rand_augment and self.trivial_augment:
            raise UsageError("augmentation: there is rand_augment and trivial_augment; give one.")

    def __bool__(self) -> bool:
        moves = self.horizontal_flip or self.vertical_flip or self.shift > 0.0 or self._bends
        return moves or self._colours or self.erasing > 0.0 or self._mixes

    @property
    def _bends(self) -> bool:
        """Whether pixels may come to lie between pixels."""
        warps = self.rotation > 0.0 or self.shear > 0.0 or self.zoom > 0.0
        return warps or self.random_crop > 0.0 or self._has_policy

    @property
    def _has_policy(self) -> bool:
        return self.rand_augment > 0 or self.trivial_augment

    @property
    def _colours(self) -> bool:
        jitter = (self.brightness, self.contrast, self.saturation, self.hue)
        return any(value > 0.0 for value in jitter) or self._has_policy

    @property
    def _mixes(self) -> bool:
        return self.mixup > 0.0 or self.cutmix > 0.0

    # --- where pixels come from -----------------------------------------------------------

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
            affine = self._keras_warp(random, index, turn, shift)
            affine = self._further_warps(random, index, affine, height, width)
            return Warp(flip=warp.flip, affine=affine.astype(np.float32))
        if self.shift > 0.0:
            offsets = [_whole(down, self.shift * height), _whole(right, self.shift * width)]
            return Warp(flip=warp.flip, crop=np.stack(offsets, axis=1).astype(np.int32))
        return warp

    def _keras_warp(
        self,
        random: Philox,
        index: NDArray[np.int64],
        turn: Numbers,
        shift: tuple[Numbers, Numbers],
    ) -> Numbers:
        shear, zoom_down, zoom_right = _columns(random.child("warp").uniform(index, 3))
        return compose(
            rotation=np.radians(_symmetric(turn, self.rotation)),
            shift=shift,
            shear=np.radians(_symmetric(shear, self.shear)),
            zoom=(1.0 + _symmetric(zoom_down, self.zoom), 1.0 + _symmetric(zoom_right, self.zoom)),
        )

    def _further_warps(
        self, random: Philox, index: NDArray[np.int64], affine: Numbers, height: int, width: int
    ) -> Numbers:
        """Put the random crop before a warp, and the policy's and the vertical flip after it."""
        if self.random_crop > 0.0:
            uniform = _columns(random.child("crop").uniform(index, 4))
            affine = chain(resized_crop(uniform, self.random_crop, height, width), affine)
        policy = self._policy(random, index)
        if policy is not None:
            affine = chain(affine, policy.affine(height, width))
        if self.vertical_flip:
            (upside_down,) = _columns(random.child("vertical").uniform(index, 1))
            # after the warp, as in Keras: row i is what the warp alone puts at H-1-i
            affine[:, :, 0] *= np.where(upside_down < 0.5, -1.0, 1.0)[:, np.newaxis]
        return affine

    def _policy(self, random: Philox, index: NDArray[np.int64]) -> Policy | None:
        random = random.child("policy")
        if self.trivial_augment:
            return Policy.trivial_augment(random, index)
        if self.rand_augment:
            steps = self.rand_augment_steps
            return Policy.rand_augment(random, index, self.rand_augment, steps)
        return None

    # --- what becomes of their values -----------------------------------------------------

    def draw_changes(
        self, seed: int, epoch: int, index: NDArray[np.int64], shape: tuple[int, int, int]
    ) -> Changes | None:
        """Draw the changes of the samples `index` (B,), of `shape` (H, W, C), in one epoch.

        None when there are none. The numbers are functions of (seed, epoch, sample), as in `draw`;
        with whom an image is mixed is a matter of its batch.
        """
        if not (self._colours or self.erasing > 0.0 or self._mixes):
            return None
        height, width, channels = shape
        random = Philox(seed, "augment", epoch)
        policy = self._policy(random, index)
        colour, about_mean = self._colour(random, index, policy, channels)
        return Changes(
            filters=None if policy is None else policy.filters(),
            colour=colour,
            about_mean=about_mean,
            tone=None if policy is None else policy.tone(),
            erase=self._erase(random, index, height, width),
            mix=self._mix(random, index, height, width),
        )

    def _colour(
        self, random: Philox, index: NDArray[np.int64], policy: Policy | None, channels: int
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        if not self._colours:
            return None, None
        maps = ColourMaps.identity(len(index), channels)
        uniform = _columns(random.child("colour").uniform(index, 4))
        for name, drawn in zip(("brightness", "contrast", "saturation"), uniform, strict=False):
            if getattr(self, name) > 0.0:
                maps = getattr(maps, name)(1.0 + _symmetric(drawn, getattr(self, name)))
        if self.hue > 0.0:
            maps = maps.hue(_symmetric(uniform[3], self.hue))
        if policy is not None:
            maps = policy.colour(maps)
        needs_mean = self.contrast > 0.0 or policy is not None
        about_mean = maps.about_mean.astype(np.float32) if needs_mean else None
        return maps.matrix.astype(np.float32), about_mean

    def _erase(
        self, random: Philox, index: NDArray[np.int64], height: int, width: int
    ) -> NDArray[np.int32] | None:
        if self.erasing == 0.0:
            return None
        random = random.child("erase")
        (chosen,) = _columns(random.uniform(index, 1))
        box = _columns(random.child("box").uniform(index, 4))
        return erased_boxes(box, chosen < self.erasing, height, width)

    def _mix(self, random: Philox, index: NDArray[np.int64], height: int, width: int) -> Mix | None:
        if not self._mixes:
            return None
        return draw_mix(random.child("mix"), index, self.mixup, self.cutmix, height, width)

    # --- as JSON --------------------------------------------------------------------------

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


def _require(fits: bool, settings: Augmentation, name: str, allowed: str) -> None:
    if not fits:
        found = getattr(settings, name)
        raise UsageError(f"augmentation: {name} must be {allowed}, not {found!r}.")


def _columns(uniform: NDArray[np.float32]) -> Numbers:
    return uniform.astype(np.float64).T


def _symmetric(uniform: Numbers, limit: float) -> Numbers:
    """Spread [0, 1) over [-limit, limit)."""
    return (2.0 * uniform - 1.0) * limit


def _whole(uniform: Numbers, limit: float) -> Numbers:
    """Spread [0, 1) evenly over the whole numbers from -limit to limit."""
    most = math.floor(limit)
    return np.floor(uniform * (2 * most + 1)) - most
