"""Resizing in one of three modes, with the resampling filters of Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from .decode import image_to_array

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZE_MODES = ("crop", "pad", "squash")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
PAD_VALUE = 128


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
    image: Image, height: int, width: int, mode: str, interpolation: str = "bilinear"
) -> Image:
    """Resize a Pillow image of mode "L" or "RGB" as `resize` does.

    `interpolation` is one of INTERPOLATIONS; all but "nearest" are antialiased.
    """
    if mode not in RESIZE_MODES:
        raise UsageError(
            f"unknown resize mode {mode!r}; expected one of {', '.join(RESIZE_MODES)}."
        )
    if image.size == (width, height):
        return image
    if mode == "pad":
        return _pad(image, height, width, interpolation)
    box = _centre(image, height, width) if mode == "crop" else None
    return _scale(image, height, width, interpolation, box)


def _scale(
    image: Image,
    height: int,
    width: int,
    interpolation: str,
    box: tuple[float, float, float, float] | None = None,
) -> Image:
    from PIL.Image import Resampling

    return image.resize((width, height), Resampling[interpolation.upper()], box=box)


def _centre(image: Image, height: int, width: int) -> tuple[float, float, float, float]:
    """Return the largest centred box (left, upper, right, lower) of the target's aspect ratio."""
    scale = max(height / image.height, width / image.width)
    box_width = min(width / scale, image.width)
    box_height = min(height / scale, image.height)
    left, upper = (image.width - box_width) / 2, (image.height - box_height) / 2
    return left, upper, left + box_width, upper + box_height


def _pad(image: Image, height: int, width: int, interpolation: str) -> Image:
    from PIL import Image as pillow

    scale = min(height / image.height, width / image.width)
    fitted_height = min(height, max(1, round(image.height * scale)))
    fitted_width = min(width, max(1, round(image.width * scale)))
    fitted = _scale(image, fitted_height, fitted_width, interpolation)
    grey = (PAD_VALUE,) * len(image.getbands())
    canvas = pillow.new(image.mode, (width, height), grey if len(grey) > 1 else PAD_VALUE)
    canvas.paste(fitted, ((width - fitted_width) // 2, (height - fitted_height) // 2))
    return canvas
