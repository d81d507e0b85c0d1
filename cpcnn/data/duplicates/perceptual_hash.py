"""Perceptual hashes: what an image looks like in 288 bytes, by which a changed copy is known again.

The hash of an image is the image, squashed to 16 x 16 pixels of luma and 4 x 4 of colour. That is
no code to be compared bit by bit: `near_duplicates` compares the small pictures themselves, which
tells a copy from a similar image even where there are only 32 x 32 pixels to begin with.

Squashing is linear and computed in whole numbers, so a hash is the same on every machine. The
filter is a triangle as wide as two new pixels, which passes least of what shifts with the grid.
Colours are YCbCr as in JPEG (ITU-T T.871).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from ..images.decode import BadImage, decoded, image_to_array, opened_image
from ..images.reduced_jpeg import reduce_jpeg

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..images.resize import Box

LUMA_SIDE = 16
CHROMA_SIDE = 4
LUMA_BYTES = LUMA_SIDE**2
WORDS = (LUMA_BYTES + 2 * CHROMA_SIDE**2) // 8

# Longer sides are first averaged to SHORT pixels, which costs a tenth of filtering them.
LONG, SHORT = 128, 64
FILES_PER_TASK = 64
IMAGES_PER_PASS = 256

FILTER_UNIT = 1 << 12
COLOUR_UNIT = 1 << 10
# Rows: red, green, blue; columns: Y, Cb, Cr, in parts of COLOUR_UNIT. Y sums to it, Cb and Cr to 0.
YCBCR = np.array([[306, -173, 512], [601, -339, -429], [117, 512, -83]], np.float64)

Progress = Callable[[int, int], None]


def hash_images(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the hashes, uint64 (N, WORDS), of uint8 images (N, H, W, C), grey (1) or RGB (3).

    Images of any size are squashed to the same few pixels. A grey image has the hash of the RGB
    image with three equal channels. Raises UsageError for arrays of another kind.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise UsageError(
            "images to hash must be uint8 (N, H, W, C) with 1 or 3 channels, "
            f"not {images.dtype} {images.shape}."
        )
    if 0 in images.shape[1:3]:
        raise UsageError(f"images of {images.shape[1]}x{images.shape[2]} have no pixels to hash.")
    hashes = np.empty((len(images), WORDS), np.uint64)
    for start in range(0, len(images), IMAGES_PER_PASS):
        part = images[start : start + IMAGES_PER_PASS]
        if max(part.shape[1:3]) > LONG:
            part = np.stack([image_to_array(_shortened(_picture(image))) for image in part])
        hashes[start : start + len(part)] = _hash(part)
    return hashes


def hash_files(
    paths: Sequence[Path], *, workers: int, progress: Progress | None = None
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the hashes, uint64 (N, WORDS), of image files, and which were readable, bool (N,).

    Files are decoded in `workers` threads, on which the result does not depend; large JPEGs at a
    fraction of their size. The hash of an unreadable file is 0. `progress(done, total)` is called
    in the caller's thread.
    """
    from concurrent.futures import ThreadPoolExecutor

    hashes = np.zeros((len(paths), WORDS), np.uint64)
    readable = np.zeros(len(paths), np.bool_)
    tasks = [
        range(start, min(start + FILES_PER_TASK, len(paths)))
        for start in range(0, len(paths), FILES_PER_TASK)
    ]
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="cpcnn-look")
    try:
        for task in pool.map(lambda task: _hash_some(paths, task, hashes, readable), tasks):
            if progress is not None:
                progress(task.stop, len(paths))
    finally:
        # After an error or Ctrl-C only the few files in progress are waited for.
        pool.shutdown(wait=True, cancel_futures=True)
    return hashes, readable


def luma_of(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the luma of hashes (N, WORDS), uint8 (N, 16 * 16), as a view where it can be."""
    return _bytes_of(hashes)[:, :LUMA_BYTES]


def chroma_of(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the colour of hashes (N, WORDS), uint8 (N, 4 * 4 * 2): Cb and Cr, 128 where grey."""
    return _bytes_of(hashes)[:, LUMA_BYTES:]


def _bytes_of(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(hashes).astype("<u8", copy=False).view(np.uint8)


# ---- Files -----------------------------------------------------------------------------------


def _hash_some(
    paths: Sequence[Path],
    task: range,
    hashes: NDArray[np.uint64],
    readable: NDArray[np.bool_],
) -> range:
    """Hash the files of a task, those of one size together."""
    same_size: dict[tuple[int, ...], dict[int, NDArray[np.uint8]]] = defaultdict(dict)
    for position in task:
        try:
            image = _load(paths[position])
        except BadImage:
            continue
        same_size[image.shape][position] = image
    for images in same_size.values():
        rows = list(images)
        hashes[rows] = _hash(np.stack(list(images.values())))
        readable[rows] = True
    return task


def _load(path: Path) -> NDArray[np.uint8]:
    with opened_image(path) as image:
        box = reduce_jpeg(image, SHORT, SHORT, "squash")
        return image_to_array(_shortened(decoded(image, 3), box))


# ---- Pixels ----------------------------------------------------------------------------------


def _shortened(image: Image, box: Box | None = None) -> Image:
    """Return an image, or the box of it that counts, without long sides."""
    from PIL.Image import Resampling

    width, height = (SHORT if side > LONG else side for side in image.size)
    if (width, height) == image.size and box is None:
        return image
    return image.resize((width, height), Resampling.BOX, box, reducing_gap=2.0)


def _picture(image: NDArray[np.uint8]) -> Image:
    from PIL import Image as pillow

    return pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _hash(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash images (N, H, W, C) of moderate size, all at once.

    Every sum is a whole number below 2^53 and so exact in float64, in whatever order it is taken.
    """
    count, height, width, channels = images.shape
    colour = YCBCR if channels == 3 else np.array([[COLOUR_UNIT, 0, 0]], np.float64)
    rows = images.reshape(count, height, width * channels).astype(np.float64)
    columns = np.kron(_filter(width, LUMA_SIDE).T, colour)
    # Image by image, as products so small do not wake the threads of BLAS: ours are enough.
    squashed = _filter(height, LUMA_SIDE) @ rows @ columns
    squashed /= FILTER_UNIT * FILTER_UNIT * COLOUR_UNIT
    pixels = squashed.reshape(count, LUMA_SIDE, LUMA_SIDE, 3)
    block = LUMA_SIDE // CHROMA_SIDE
    chroma = pixels[..., 1:].reshape(count, CHROMA_SIDE, block, CHROMA_SIDE, block, 2)
    content = [pixels[..., 0].reshape(count, -1), chroma.mean((2, 4)).reshape(count, -1) + 128.0]
    packed = np.clip(np.rint(np.concatenate(content, axis=1)), 0, 255).astype(np.uint8)
    return packed.view("<u8").astype(np.uint64, copy=False)


@lru_cache(maxsize=4 * LONG)
def _filter(size: int, target: int) -> NDArray[np.float64]:
    """Return the weights (target, size), in parts of FILTER_UNIT, that squash or stretch a side."""
    scale = size / target
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centres[:, np.newaxis])
    weights = np.maximum(0.0, 1.0 - distance / max(scale, 1.0))
    whole = np.rint(weights / weights.sum(1, keepdims=True) * FILTER_UNIT)
    largest = whole.argmax(1)
    whole[np.arange(target), largest] += FILTER_UNIT - whole.sum(1)
    return whole
