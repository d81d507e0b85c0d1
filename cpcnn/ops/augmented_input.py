"""The input stage with changes of colour, erased boxes, and images mixed with each other."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Namespace
from .input_stage import warped, widened
from .table import Action


class AugmentedInput(Action):
    """What `input_stage` does, with changes per image in the same pass, in this order.

    Arguments as there, and, each of them None or for every image:

    - colour (N, C, C + 1): colours, of 0..255, become colour[:, :C] @ pixel + colour[:, C], clipped
      to 0..255;
    - tone (N, 2): a value v becomes 255 - v where v + 1/2 is at least the first number, then
      floor((v + 1/2) / step) * step where the second, a power of two, is above 1;
    - erase int32 (N, 4): the box (top, left, bottom, right), the last two beyond it, becomes 0
      in the result, which is the mean;
    - partner int32 (N,), share (N,) and box int32 (N, 4), all three or none: inside its box, image
      n becomes share · n + (1 - share) · partner[n], where that one is changed as well, but not
      mixed.
    """

    @staticmethod
    def run(
        ctx: Context,
        images: Array,
        mean: Array,
        std: Array,
        *,
        crop: Array | None = None,
        flip: Array | None = None,
        affine: Array | None = None,
        colour: Array | None = None,
        tone: Array | None = None,
        erase: Array | None = None,
        partner: Array | None = None,
        share: Array | None = None,
        box: Array | None = None,
        index: Array | None = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> Array:
        xp = ctx.xp
        if index is not None:
            images = xp.take(images, index, axis=0)
        out = getattr(xp, dtype)
        pixels = warped(xp, images, crop, flip, affine, out)
        if colour is not None:
            pixels = recoloured(xp, pixels, xp.astype(colour, out))
        if tone is not None:
            pixels = toned(xp, pixels, xp.astype(tone, out))
        pixels = (pixels - xp.astype(mean, out)) / xp.astype(std, out)
        if erase is not None:
            pixels = xp.where(inside(xp, erase, pixels), xp.zeros_like(pixels), pixels)
        if partner is not None and share is not None and box is not None:
            share = xp.reshape(xp.astype(share, out), (-1, 1, 1, 1))
            others = xp.take(pixels, xp.astype(partner, xp.int64), axis=0)
            mixed = share * pixels + (1 - share) * others
            pixels = xp.where(inside(xp, box, pixels), mixed, pixels)
        return widened(xp, pixels, channels)


def recoloured(xp: Namespace, pixels: Array, colour: Array) -> Array:
    """Map the colours of (N, H, W, C) by matrices (N, C, C + 1), and clip them to 0..255."""
    n, height, width, channels = pixels.shape
    flat = xp.reshape(pixels, (n, height * width, channels))
    columns = [
        sum(flat[:, :, k] * colour[:, c : c + 1, k] for k in range(channels))
        + colour[:, c : c + 1, channels]
        for c in range(channels)
    ]
    mapped = xp.reshape(xp.stack(columns, axis=2), pixels.shape)
    return xp.clip(mapped, 0, 255)


def toned(xp: Namespace, pixels: Array, tone: Array) -> Array:
    """Invert (N, H, W, C) from a value on, and round down to multiples; tone (N, 2)."""
    threshold = xp.reshape(tone[:, 0], (-1, 1, 1, 1))
    step = xp.reshape(tone[:, 1], (-1, 1, 1, 1))
    pixels = xp.where(pixels + 0.5 >= threshold, 255 - pixels, pixels)
    return xp.where(step > 1, xp.floor((pixels + 0.5) / step) * step, pixels)


def inside(xp: Namespace, boxes: Array, pixels: Array) -> Array:
    """Whether each pixel of (N, H, W, C) lies in its image's box: bool (N, H, W, 1)."""
    height, width = pixels.shape[1:3]
    rows = xp.reshape(xp.arange(height, dtype=xp.int64), (1, height, 1, 1))
    columns = xp.reshape(xp.arange(width, dtype=xp.int64), (1, 1, width, 1))
    top, left, bottom, right = (
        xp.reshape(xp.astype(boxes[:, k], xp.int64), (-1, 1, 1, 1)) for k in range(4)
    )
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
