"""Small pictures of images for a page: what a person needs to recognise one."""

from __future__ import annotations

import io
from pathlib import Path

from .decode import decode_image

QUALITY = 80


def thumbnail_jpeg(path: Path, side: int) -> bytes:
    """Return an image file, scaled down to fit a square of `side` pixels, as the bytes of a JPEG.

    The image is upright, transparent pixels are white; small images keep their size. Raises
    BadImage.
    """
    image = decode_image(path, 3)
    image.thumbnail((side, side), reducing_gap=2.0)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY, optimize=True)
    return content.getvalue()
