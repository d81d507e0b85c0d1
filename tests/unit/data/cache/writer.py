"""Fills an image cache again and again, until it is killed: CACHE IMAGES SEED."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from cpcnn.data import ImageDataset, Preprocessing, scan_folder
from cpcnn.data.cache import ImageCache, digests, store

store.SEGMENT_BYTES = 30_000  # many of them, of a few images
digests.SETTLED = -(1 << 62)
SIZES = range(8, 40)


def fill(cache_folder: Path, images: Path, seed: int) -> None:
    folder = scan_folder(images)
    (samples,) = folder.splits.values()
    sizes = list(SIZES)
    random.Random(seed).shuffle(sizes)
    print("begun", flush=True)
    for size in sizes:
        # a limit that has stores removed while others are written
        cache = ImageCache(cache_folder, limit=3 << 20)
        data = ImageDataset(
            samples, folder.classes, Preprocessing(size, size), kept="disk", cache=cache
        )
        data.prepare(digests=True)


if __name__ == "__main__":
    fill(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
