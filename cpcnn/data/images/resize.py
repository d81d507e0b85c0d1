"""Resizing in one of three modes, with the resampling filters of Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from .decode import image_to_array

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZE_MODES = ("crop", "pad", "squash")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
PAD_VALUE = 128

Box = tuple[float, float, float, float]  # left, upper, right, lower


def resize(
    image: NDArray[np.uint8], height: int, width: int, mode: str = "squash"
) -> NDArray[np.uint8]:
    """Resize a uint8 image (H, W, C) to (height, width, C), bilinear and antialiased.

    `crop` scales until the image covers the target and keeps its centre; `pad` scales until it
    fits and surrounds it with mid-grey (128); `squash` ignores the aspect ratio.
    """
    from PIL import Image

    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    return image_to_array(resize_image(Image.fromarray(pixels), height, width, mode))


def resize_image(
    image: Image,
    height: int,
    width: int,
    mode: str,
    interpolation: str = "bilinear",
    region: Box | None = None,
) -> Image:
    """Resize a Pillow image of mode "L" or "RGB" as `resize` does.

    `interpolation` is one of INTERPOLATIONS; all but "nearest" are antialiased. `region` (left,
    upper, right, lower) is the part of the image, in fractions of pixels, that counts as all of it.
    """
    if mode not in RESIZE_MODES:
        raise UsageError(
            f"unknown resize mode {mode!r}; expected one of {', '.join(RESIZE_MODES)}."
        )
    if region is None:
        if image.size == (width, height):
            return image
        region = (0.0, 0.0, image.width, image.height)
    if mode == "pad":
        return _pad(image, height, width, interpolation, region)
    box = _centre(region, height, width) if mode == "crop" else region
    return _scale(image, height, width, interpolation, box)


def _scale(
    image: Image,
    height: int,
    width: int,
    interpolation: str,
    box: Box,
) -> Image:
    from PIL.Image import Resampling

    return image.resize((width, height), Resampling[interpolation.upper()], box=box)


def _centre(region: Box, height: int, width: int) -> Box:
    """Return the largest centred box in a region of the target's aspect ratio."""
    region_width, region_height = region[2] - region[0], region[3] - region[1]
    scale = max(height / region_height, width / region_width)
    box_width = min(width / scale, region_width)
    box_height = min(height / scale, region_height)
    left = region[0] + (region_width - box_width) / 2
    upper = region[1] + (region_height - box_height) / 2
    # a sum that was rounded up would lie outside
    return left, upper, min(left + box_width, region[2]), min(upper + box_height, region[3])


def _pad(image: Image, height: int, width: int, interpolation: str, region: Box) -> Image:
    from PIL import Image as pillow

    region_width, region_height = region[2] - region[0], region[3] - region[1]
    scale = min(height / region_height, width / region_width)
    fitted_height = min(height, max(1, round(region_height * scale)))
    fitted_width = min(width, max(1, round(region_width * scale)))
    fitted = _scale(image, fitted_height, fitted_width, interpolation, region)
    grey = (PAD_VALUE,) * len(image.getbands())
    canvas = pillow.new(image.mode, (width, height), grey if len(grey) > 1 else PAD_VALUE)
    canvas.paste(fitted, ((width - fitted_width) // 2, (height - fitted_height) // 2))
    return canvas
