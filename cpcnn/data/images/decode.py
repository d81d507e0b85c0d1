"""Decoding: one image file of any kind to one uint8 array, or one short reason why not."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError, UsageError
from ..layouts.shard_path import ShardPath

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = ".bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp"
IMAGE_EXTENSIONS: frozenset[str] = frozenset(EXTENSIONS.split())

# The decoders a file may reach, whatever its name says. Pillow knows dozens more, some of which
# start other programs (EPS): not for files from strangers.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
ORIENTATION_TAG = 0x0112
SIDEWAYS_ORIENTATIONS = frozenset({5, 6, 7, 8})
EMPTY = "it is empty (0 bytes)"
CUT_SHORT = "it is cut short or damaged"
TRUNCATED = re.compile("truncat|broken data stream|unrecognized data stream|bytes not processed")


class BadImage(DataError):
    """A file that cannot be read as an image, with its path and a short reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}.")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """What a file says about its image: its size as displayed, and whether it is all grey."""

    width: int
    height: int
    grey: bool


def decode(path: Path, channels: int) -> NDArray[np.uint8]:
    """Decode an image file to uint8 (height, width, channels), upright, as RGB (3) or grey (1).

    The path may be a `ShardPath`, of a file in a tar file; that holds for all of this module.
    The EXIF orientation is applied; of an animation the first frame counts; colour profiles are
    ignored. Transparent pixels are laid over white. Of 16-bit values the upper 8 bits are kept;
    32-bit integers are read as 16-bit values. Floating-point pixels span 0 to 1 if none is above 1,
    else 0 to 255. Grey is Rec. 601 luma. Raises BadImage.
    """
    return image_to_array(decode_image(path, channels))


def decode_image(path: Path, channels: int) -> Image:
    """Decode an image file as `decode` does, to a Pillow image of mode "RGB" or "L"."""
    if channels not in (1, 3):
        raise UsageError(f"images have 1 channel (grey) or 3 (RGB), not {channels}.")
    with opened_image(path) as image:
        return decoded(image, channels)


def decoded(image: Image, channels: int) -> Image:
    """Decode an opened image as `decode_image` does; not outside the block that opened it."""
    image.load()
    # TIFF files are turned by `load`, which also takes the tag away: look after loading.
    upright = _turn(image, orientation_of(image))
    return _to_mode(upright, "RGB" if channels == 3 else "L")


def read_header(path: Path) -> Header:
    """Read an image's size (as displayed) and kind without decoding its pixels; raises BadImage."""
    with opened_image(path) as image:
        return Header(*displayed_size(image), _is_grey(image))


def image_to_array(image: Image) -> NDArray[np.uint8]:
    """Return a Pillow image of mode "L" or "RGB" as uint8 (height, width, channels)."""
    array = np.asarray(image, dtype=np.uint8)
    return array if array.ndim == 3 else array[:, :, np.newaxis]


@contextmanager
def opened_image(path: Path, data: bytes | None = None) -> Iterator[Image]:
    """Open an image for the duration of a block; everything that goes wrong becomes BadImage.

    `data` is the file's content, where it has been read already.
    """
    from PIL import Image

    _silence_pillow()
    try:
        with _file_of(path, data) as file, Image.open(file, formats=FORMATS) as image:
            if 0 in image.size:
                raise BadImage(path, f"it has no pixels ({image.width}x{image.height})")
            yield image
    except BadImage:
        raise
    # Hostile and damaged files leave Pillow's parsers through almost any exception.
    except Exception as error:
        raise BadImage(path, _reason(path, error)) from error


def _file_of(path: Path, data: bytes | None) -> AbstractContextManager[Path | IO[bytes]]:
    """Return what Pillow opens: the path, the content, or the part of a tar file where it lies."""
    if data is not None:
        return nullcontext(BytesIO(data))
    return path.open("rb") if isinstance(path, ShardPath) else nullcontext(path)


_PILLOW = re.compile(r"PIL\.")
_silence_lock = threading.Lock()


def _silence_pillow() -> None:
    """Keep Pillow's remarks on odd files off the terminal: a file is decoded, or it is bad.

    A permanent filter for Pillow's modules, because `warnings.catch_warnings` is not safe in
    threads. It is looked up each time, as a caller's own `catch_warnings` may have taken it away.
    Pillow's log goes where the application sends logs, but not to stderr for want of a handler.
    """
    entry = ("ignore", None, Warning, _PILLOW, 0)
    if entry in warnings.filters:
        return
    with _silence_lock:
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)
        logger = logging.getLogger("PIL")
        if not logger.hasHandlers():
            logger.addHandler(logging.NullHandler())


def _reason(path: Path, error: Exception) -> str:
    """Say in a few words why `path` could not be decoded."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return "it claims more pixels than Pillow's limit against decompression bombs allows"
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(path)
    if isinstance(error, MemoryError):
        return "decoding it needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be opened ({error.strerror})"
    detail = " ".join(str(error).split()) or type(error).__name__
    if TRUNCATED.search(detail.lower()):
        return f"{CUT_SHORT} ({detail})"
    return f"it cannot be decoded ({detail})"


def _unidentified(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if not start:
        return EMPTY
    return f"its content is not a readable image (it begins with {start!r})"


def displayed_size(image: Image) -> tuple[int, int]:
    """Return (width, height) of an opened image, which need not be loaded, as it is displayed."""
    width, height = _stored_size(image)
    return (height, width) if orientation_of(image) in SIDEWAYS_ORIENTATIONS else (width, height)


def _stored_size(image: Image) -> tuple[int, int]:
    """Return (width, height) before turning; for TIFF, `image.size` may already be turned."""
    from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

    if isinstance(image, TiffImageFile):
        return image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
    return image.size


def orientation_of(image: Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8; loading may take it away (TIFF)."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    # Damaged metadata does not make a bad image, and the EXIF parser raises many kinds.
    except Exception:
        return 1


def _turn(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _is_grey(image: Image) -> bool:
    if image.mode != "P":
        return image.mode in GREY_MODES
    palette = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _to_mode(image: Image, mode: str) -> Image:
    """Convert an image of any mode to "RGB" or "L", transparency laid over white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.has_transparency_data:
        image = _over_white(image)
    if image.mode == "LAB":
        raise ValueError("CIELAB colours are not supported")
    return image if image.mode == mode else image.convert(mode)


def _over_white(image: Image) -> Image:
    from PIL import Image as pillow

    layer = image.convert("RGBA")
    white = pillow.new("RGBA", layer.size, (255, 255, 255, 255))
    return pillow.alpha_composite(white, layer).convert("RGB")


def _to_eight_bits(image: Image) -> Image:
    """Bring grey values of 16 bits, 32 bits or floating point to mode "L"."""
    from PIL import Image as pillow

    values: NDArray[Any] = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
        scale = 255.0 if values.max() <= 1.0 else 1.0
        eight_bits = np.rint(np.clip(values * scale, 0.0, 255.0))
    else:
        eight_bits = np.clip(values, 0, 0xFFFF) >> 8
    return pillow.fromarray(eight_bits.astype(np.uint8))
