"""Whether two small pictures show the same image: compared as if they lay well on each other.

A crop moves and stretches what is left, by less than a pixel of the small picture. For so small a
move the picture changes along its tangents: the gradients, and the gradients times the distance
from the centre (Simard, LeCun and Denker, "Efficient pattern recognition using a new transformation
distance", 1993). What of the difference the tangents explain is taken off, and a copy is what
leaves next to nothing. Brightness and contrast go the same way, within bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .perceptual_hash import LUMA_SIDE, chroma_of, luma_of

Floats = NDArray[np.float32]

# Shares of the detail, which is the squared contrast without its smooth part: that a horizon, or
# the light in a corner, is the same makes no copy. Where so much is smooth that little is left of
# the whole contrast, a little more may be left of the detail. Chosen on copies of images of
# CIFAR-10 and of photographs, see benchmarks/near_duplicates.py: 98 of 100 cropped by up to 5 %
# leave less, and what else does are nearly always two takes of one picture.
LEFT = 0.07
LEFT_OF_SMOOTH, LEFT_OF_WHOLE = 0.1, 0.033
SURE = 0.008  # most copies that were not cropped leave less
GRAIN = 0.7  # grey levels of noise that are nobody's content: rounding, and JPEG's
ALIKE = 0.8  # least correlation of what is looked at closely
CONTRAST = 1.5  # largest ratio; a copy brightened by 15 % reaches 1.15, more where white clips
BRIGHTNESS = 40.0  # largest difference of the means, in grey levels: 15 % of white
COLOUR = 6.0  # largest RMS difference of chroma, in levels; and
COLOUR_SHARE = 0.2  # of the chroma there is, as it grows with brightness

# The largest moves to expect, as standard deviations of a prior: shift in pixels of the small
# picture, stretch in pixels over its whole side, change of contrast and brightness as a share.
MOVES = np.array([0.5, 0.5, 1.0, 1.0, 0.3, 0.3], np.float32)
PRIOR = 0.002

PAIRS_PER_PASS = 256  # whose tangents fit a processor's cache

# The picture without its outermost pixels: how many, and where, from -0.5 to 0.5.
INNER = (LUMA_SIDE - 2) ** 2
PLACE = ((np.arange(1, LUMA_SIDE - 1) + 0.5) / LUMA_SIDE - 0.5).astype(np.float32)


def _smooth() -> Floats:
    """Return an orthonormal basis (INNER, 6) of the pictures that are quadratic in x and y."""
    y, x = np.repeat(PLACE, len(PLACE)), np.tile(PLACE, len(PLACE))
    columns = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    return np.linalg.qr(columns)[0].astype(np.float32)


SMOOTH = _smooth()


@dataclass(frozen=True)
class Pictures:
    """The small pictures of hashes: luma and chroma, uint8; mean and contrast, float32 (N,).

    Contrast is the standard deviation of luma, in grey levels.
    """

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    mean: Floats
    contrast: Floats

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> Pictures:
        """Unpack hashes (N, WORDS)."""
        luma = luma_of(hashes)
        mean, contrast = np.empty(len(luma), np.float32), np.empty(len(luma), np.float32)
        for start in range(0, len(luma), 1 << 14):
            part = slice(start, start + (1 << 14))
            mean[part] = luma[part].mean(1)
            contrast[part] = luma[part].std(1)
        return cls(luma, chroma_of(hashes), mean, contrast)

    def at(self, rows: NDArray[np.int64]) -> Floats:
        """Return some pictures (B, 256), brought to mean 0 and length 1; none may be blank."""
        pixels = self.luma[rows].astype(np.float32)
        pixels -= self.mean[rows, np.newaxis]
        pixels /= self.contrast[rows, np.newaxis] * np.float32(LUMA_SIDE)
        return pixels


def differences(pictures: Pictures, first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
    """Return for pairs of pictures, none blank, how much differs, float32 (P,).

    It is what no small move and no noise explains, as a share of the detail; infinite where the two
    do not show the same image.
    """
    found = np.full(len(first), np.inf, np.float32)
    hopeful = np.flatnonzero(_alike_in_sum(pictures, first, second))
    for start in range(0, len(hopeful), PAIRS_PER_PASS):
        rows = hopeful[start : start + PAIRS_PER_PASS]
        rows = rows[_alike_in_colour(pictures, first[rows], second[rows])]
        one, other = pictures.at(first[rows]), pictures.at(second[rows])
        close = np.einsum("pk,pk->p", one, other) >= ALIKE
        one, other, rows = one[close], other[close], rows[close]
        left, detail = _left(one, other)
        contrast = np.minimum(pictures.contrast[first[rows]], pictures.contrast[second[rows]])
        whole = np.maximum(left - (GRAIN / contrast) ** 2, 0)
        left = whole / (detail + 1e-6)
        smooth = (left <= LEFT_OF_SMOOTH) & (whole <= LEFT_OF_WHOLE)
        found[rows] = np.where((left <= LEFT) | smooth, left, np.inf)
    return found


def _alike_in_sum(
    pictures: Pictures, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    one, other = pictures.contrast[first], pictures.contrast[second]
    contrast = np.maximum(one, other) <= CONTRAST * np.minimum(one, other) + GRAIN
    brightness = np.abs(pictures.mean[first] - pictures.mean[second]) <= BRIGHTNESS
    return contrast & brightness


def _alike_in_colour(
    pictures: Pictures, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    one = pictures.chroma[first].astype(np.float32) - 128.0
    other = pictures.chroma[second].astype(np.float32) - 128.0
    colour = np.sqrt(np.maximum((one**2).mean(1), (other**2).mean(1)))
    apart = np.sqrt(((one - other) ** 2).mean(1))
    return np.asarray(apart <= COLOUR + COLOUR_SHARE * colour)


def _left(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Return what the tangents leave of the difference of pictures (P, 256), and their detail.

    Both are shares of the squared contrast, (P,). The tangents are those of the picture between the
    two, so that the result does not depend on which is which. The outermost pixels only give
    gradients: what a crop brings there is new.
    """
    tangents = _tangents(one + other)
    apart = _inner(one - other)
    squares = tangents @ tangents.transpose(0, 2, 1) + np.diag(PRIOR / MOVES**2)
    along = (tangents @ apart[:, :, np.newaxis])[:, :, 0]
    moved = np.linalg.solve(squares, along[:, :, np.newaxis])[:, :, 0]
    left = (apart**2).sum(1) - (moved * along).sum(1)
    one, other = _inner(one), _inner(other)
    whole = (one**2).sum(1) + (other**2).sum(1) + 1e-6
    smooth = ((one @ SMOOTH) ** 2).sum(1) + ((other @ SMOOTH) ** 2).sum(1)
    return 2 * left / whole, (whole - smooth) / whole


def _tangents(pictures: Floats) -> Floats:
    """Return the directions in which the halves of pictures (P, 256) can move, (P, 6, INNER)."""
    square = pictures.reshape(-1, LUMA_SIDE, LUMA_SIDE)
    tangents = np.empty((len(square), len(MOVES), LUMA_SIDE - 2, LUMA_SIDE - 2), np.float32)
    down, across, taller, wider, contrast, brightness = np.moveaxis(tangents, 1, 0)
    np.subtract(square[:, 2:, 1:-1], square[:, :-2, 1:-1], out=down)
    np.subtract(square[:, 1:-1, 2:], square[:, 1:-1, :-2], out=across)
    tangents[:, :2] *= 0.25
    np.multiply(down, PLACE[:, np.newaxis], out=taller)
    np.multiply(across, PLACE, out=wider)
    np.multiply(square[:, 1:-1, 1:-1], 0.5, out=contrast)
    brightness[:] = 1 / LUMA_SIDE
    return tangents.reshape(len(square), len(MOVES), INNER)


def _inner(pictures: Floats) -> Floats:
    square = pictures.reshape(-1, LUMA_SIDE, LUMA_SIDE)
    return square[:, 1:-1, 1:-1].reshape(len(pictures), INNER)
