"""RandAugment and TrivialAugment: a few changes of a list, drawn for every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.random import Philox
from .affine import Numbers, chain, matrices
from .colour import ColourMaps

# What both draw from; the two articles have the same list.
KINDS = (
    "nothing",
    "autocontrast",
    "equalize",
    "rotation",
    "solarize",
    "saturation",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_across",
    "shear_down",
    "shift_across",
    "shift_down",
)
LEVELS = 30  # the strongest magnitude
NO_THRESHOLD, NO_SHARPENING = 256.0, 256  # what changes nothing


@dataclass(frozen=True)
class Ranges:
    """How far each kind goes at the strongest magnitude.

    Rotation in degrees; shear as the tangent of its angle; shift in shares of the side and in
    pixels, whichever is less; brightness, contrast, saturation and sharpness as what their factor
    differs from 1; posterize as the number of bits that are dropped of eight.
    """

    rotation: float
    shear: float
    shift: float
    shift_pixels: float
    factor: float
    bits: int


RAND_AUGMENT = Ranges(30.0, 0.3, 150 / 331, np.inf, 0.9, 4)
TRIVIAL_AUGMENT = Ranges(135.0, 0.99, 0.5, 32.0, 0.99, 6)  # what the article calls wide


@dataclass(frozen=True, eq=False)
class Policy:
    """What each of B images drew: for every step a kind and how strong it is.

    kinds (S, B) index KINDS; levels (S, B) in [0, 1]; signs (S, B) are 1 or -1. Whatever the order
    in which they were drawn, images are filtered first, then warped, then coloured. Of kinds that
    are neither warps nor colours, being drawn twice is being drawn once, the last time.
    """

    ranges: Ranges
    kinds: NDArray[np.int64]
    levels: Numbers
    signs: Numbers

    @classmethod
    def rand_augment(
        cls, random: Philox, index: NDArray[np.int64], magnitude: int, steps: int
    ) -> Policy:
        """Draw `steps` kinds for each image, all of one magnitude from 0 to 30.

        Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search
        space", 2019, arXiv:1909.13719.
        """
        uniform = _draw(random, index, steps)
        levels = np.full(uniform[0].shape, magnitude / LEVELS)
        return cls(RAND_AUGMENT, _kinds(uniform[0]), levels, _signs(uniform[2]))

    @classmethod
    def trivial_augment(cls, random: Philox, index: NDArray[np.int64]) -> Policy:
        """Draw one kind for each image, and its magnitude evenly from 0 to 30.

        Müller and Hutter, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation",
        2021, arXiv:2103.10158.
        """
        uniform = _draw(random, index, 1)
        levels = np.floor(uniform[1] * (LEVELS + 1)) / LEVELS
        return cls(TRIVIAL_AUGMENT, _kinds(uniform[0]), levels, _signs(uniform[2]))

    def affine(self, height: int, width: int) -> Numbers:
        """Return the maps (B, 2, 3) of rotation, shear and shift, in the order drawn."""
        ranges = self.ranges
        result: Numbers | None = None
        for step in range(len(self.kinds)):
            angle = np.radians(self._amount(step, "rotation", ranges.rotation))
            cosine, sine = np.cos(angle), np.sin(angle)
            across = self._amount(step, "shear_across", ranges.shear)
            down = self._amount(step, "shear_down", ranges.shear)
            offset = [
                self._amount(step, kind, min(ranges.shift * side, ranges.shift_pixels))
                for kind, side in (("shift_down", height), ("shift_across", width))
            ]
            # an image drew at most one of them in a step: the others are zero
            step_map = matrices(
                [[cosine, down - sine, offset[0]], [across + sine, cosine, offset[1]]]
            )
            result = step_map if result is None else chain(result, step_map)
        assert result is not None
        return result

    def colour(self, maps: ColourMaps) -> ColourMaps:
        """Return the colour maps followed by those that were drawn."""
        for step in range(len(self.kinds)):
            for kind in ("brightness", "contrast", "saturation"):
                maps = getattr(maps, kind)(1.0 + self._amount(step, kind, self.ranges.factor))
        return maps

    def tone(self) -> NDArray[np.float32]:
        """Return (B, 2): from which value on to invert, and the step to round down to."""
        result = np.tile(np.array([NO_THRESHOLD, 1.0]), (self.kinds.shape[1], 1))
        for step in range(len(self.kinds)):
            for column, kind, value in (
                (0, "solarize", np.rint(255.0 * (1.0 - self.levels[step]))),
                (1, "posterize", 2.0 ** np.rint(self.ranges.bits * self.levels[step])),
            ):
                result[:, column] = np.where(self._drew(step, kind), value, result[:, column])
        return result.astype(np.float32)

    def filters(self) -> NDArray[np.int32]:
        """Return (B, 3): autocontrast, equalize, and sharpness in 1/256."""
        result = np.tile(np.array([0, 0, NO_SHARPENING]), (self.kinds.shape[1], 1))
        for step in range(len(self.kinds)):
            factor = 1.0 + self._amount(step, "sharpness", self.ranges.factor)
            for column, kind, value in (
                (0, "autocontrast", 1.0),
                (1, "equalize", 1.0),
                (2, "sharpness", np.rint(factor * NO_SHARPENING)),
            ):
                result[:, column] = np.where(self._drew(step, kind), value, result[:, column])
        return result.astype(np.int32)

    def _drew(self, step: int, kind: str) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = self.kinds[step] == KINDS.index(kind)
        return chosen

    def _amount(self, step: int, kind: str, most: float) -> Numbers:
        """Return how far (B,) a kind goes, either way; 0 for images that did not draw it."""
        return np.where(self._drew(step, kind), self.signs[step] * self.levels[step] * most, 0.0)


def _draw(random: Philox, index: NDArray[np.int64], steps: int) -> Any:
    """Return uniform numbers (3, steps, B): kind, magnitude, sign."""
    drawn = [random.child(str(step)).uniform(index, 3).astype(np.float64) for step in range(steps)]
    return np.stack(drawn).transpose(2, 0, 1)


def _kinds(uniform: Numbers) -> NDArray[np.int64]:
    return (uniform * len(KINDS)).astype(np.int64)


def _signs(uniform: Numbers) -> Numbers:
    return np.where(uniform < 0.5, -1.0, 1.0)
