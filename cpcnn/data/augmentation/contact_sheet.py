"""A contact sheet: images in rows and columns, with a line of text below each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SIDE, MOST_SIDE = 96, 192  # pixels of an image on the sheet, where it can be
LINE, GAP = 15, 6  # pixels: the height of a line of text, the space between images
FONT_SIZE = 11
PAPER, INK = (250, 250, 250), (30, 30, 30)


def draw_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8]]], texts: Sequence[Sequence[str]]
) -> NDArray[np.uint8]:
    """Draw images (H, W, C), all of one shape, C 1 or 3: uint8 (height, width, 3).

    Small images are shown with larger pixels, large ones smaller. A text is cut where its image
    ends; texts must be printable.
    """
    from PIL import Image, ImageDraw

    height, width = rows[0][0].shape[:2]
    scale = _scale(max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    across, down = size[0] + GAP, size[1] + LINE + GAP
    sheet = Image.new("RGB", (len(rows[0]) * across + GAP, len(rows) * down + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), _font()
    for i, (images, captions) in enumerate(zip(rows, texts, strict=True)):
        for j, (image, text) in enumerate(zip(images, captions, strict=True)):
            corner = GAP + j * across, GAP + i * down
            sheet.paste(_enlarged(image, size), corner)
            place = corner[0], corner[1] + size[1] + 1
            pen.text(place, _fitting(font, text, size[0]), fill=INK, font=font)
    return np.asarray(sheet)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return an image (H, W, 3) as the content of a PNG file."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def _scale(side: int) -> float:
    """Return a whole factor for small images, or what brings large ones to size."""
    if side > MOST_SIDE:
        return MOST_SIDE / side
    return float(-(-LEAST_SIDE // side))


def _enlarged(image: NDArray[np.uint8], size: tuple[int, int]) -> Any:
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    larger = size[0] >= image.shape[1]
    way = Image.Resampling.NEAREST if larger else Image.Resampling.BILINEAR
    return picture.convert("RGB").resize(size, way)


def _font() -> Any:
    """Return Pillow's own font: at a size, or the one of fixed size where it has no FreeType."""
    from PIL import ImageFont

    try:
        return ImageFont.load_default(FONT_SIZE)
    except (ImportError, OSError, TypeError):  # TypeError: before Pillow 10.1
        return ImageFont.load_default()


def _fitting(font: Any, text: str, width: int) -> str:
    """Cut a text to a width in pixels; what the font has no letters for becomes a question mark."""
    from PIL import ImageFont

    if isinstance(font, ImageFont.ImageFont):  # of fixed size: it knows Latin letters alone
        text = text.encode("latin-1", "replace").decode("latin-1")
    if font.getlength(text) <= width:
        return text
    end = "..."
    while text and font.getlength(text + end) > width:
        text = text[:-1]
    return text + end
