"""Whether changed copies of images are found, and how long looking for them takes.

    python benchmarks/near_duplicates.py cifar10                # 500 copies of each kind
    python benchmarks/near_duplicates.py photos --copies 100 --json

To the images of a folder come copies of some of them, written as files into a temporary folder:
resized, encoded again, brightened, cropped. All are hashed and searched together.

recall      the share of the copies whose pair with their original is found
precision   of all pairs of a copy, the share with its original
besides     the same, without pairs of a copy with an image that is itself another take of the
            original. That is decided by a judge who knows nothing of hashes: all pixels of some cut
            of either image, in colour and at 48 x 48, correlate by 0.95 with the other image.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from machine import load, processor_name
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from cpcnn.data import BadImage, decode, scan_folder
from cpcnn.data.duplicates.near_duplicates import find_near_pairs, groups_of
from cpcnn.data.duplicates.perceptual_hash import hash_files, hash_images
from cpcnn.data.images.decode import decode_image

Draw = np.random.Generator
FILTERS = (Resampling.BOX, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS)
SMALLEST = 16

JUDGED = 48  # pixels a side
SAME = 0.95
CUTS = [(share, x, y) for share in (1.0, 0.96, 0.92) for x in (0, 0.5, 1) for y in (0, 0.5, 1)]


# ---- Copies ----------------------------------------------------------------------------------


def resized(image: Image.Image, draw: Draw) -> Image.Image:
    """Scale by 0.6 to 3, with any filter."""
    scale = float(np.exp(draw.uniform(np.log(0.6), np.log(3.0))))
    width, height = (max(SMALLEST, round(side * scale)) for side in image.size)
    return image.resize((width, height), FILTERS[draw.integers(len(FILTERS))])


def brightened(image: Image.Image, draw: Draw) -> Image.Image:
    """Multiply by 1.05 to 1.15; what exceeds white is white."""
    pixels = np.asarray(image, np.float64) * draw.uniform(1.05, 1.15)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def cropped(image: Image.Image, draw: Draw) -> Image.Image:
    """Cut 1 to 5 % off each dimension, anywhere, and scale back to the size before."""
    width, height = (side * (1 - draw.uniform(0.01, 0.05)) for side in image.size)
    left, upper = draw.uniform(0, image.width - width), draw.uniform(0, image.height - height)
    return image.resize(
        image.size, Resampling.BICUBIC, box=(left, upper, left + width, upper + height)
    )


def unchanged(image: Image.Image, draw: Draw) -> Image.Image:
    return image


Change = Callable[[Image.Image, Draw], Image.Image]
# kind -> the change, and the qualities of JPEG; PNG where there is none
KINDS: dict[str, tuple[Change, tuple[int, int] | None]] = {
    "resized": (resized, None),
    "encoded again": (unchanged, (50, 95)),
    "brightened": (brightened, None),
    "cropped": (cropped, None),
}


def plant(paths: Sequence[Path], kinds: NDArray[np.str_], folder: Path, draw: Draw) -> list[Path]:
    """Write a copy of each image, changed as `kinds` says."""
    copies = []
    for number, (path, kind) in enumerate(zip(paths, kinds, strict=True)):
        change, qualities = KINDS[str(kind)]
        image = change(decode_image(path, 3), draw)
        if qualities is None:
            copies.append(folder / f"{number}.png")
            image.save(copies[-1])
        else:
            copies.append(folder / f"{number}.jpg")
            image.save(copies[-1], quality=int(draw.integers(qualities[0], qualities[1] + 1)))
    return copies


# ---- The judge -------------------------------------------------------------------------------


def judge(one: Path, other: Path) -> bool:
    """Say whether two files are takes of the same picture, by all of their pixels."""
    first, second = decode_image(one, 3), decode_image(other, 3)
    return max(correlation(first, second), correlation(second, first)) >= SAME


def correlation(whole: Image.Image, cut: Image.Image) -> float:
    fixed = standardised(whole)
    return max(float((fixed * standardised(part)).sum()) for part in cuts(cut))


def cuts(image: Image.Image) -> Iterator[Image.Image]:
    for share, x, y in CUTS:
        width, height = image.width * share, image.height * share
        left, upper = (image.width - width) * x, (image.height - height) * y
        box = (left, upper, left + width, upper + height)
        yield image.resize((JUDGED, JUDGED), Resampling.BICUBIC, box=box)


def standardised(image: Image.Image) -> NDArray[np.float64]:
    pixels = np.asarray(image.resize((JUDGED, JUDGED), Resampling.BICUBIC), np.float64)
    pixels = pixels - pixels.mean((0, 1))
    length = np.sqrt((pixels**2).sum())
    return np.asarray(pixels / max(length, 1e-9))


# ---- Measuring -------------------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def decode_all(paths: Sequence[Path], workers: int) -> None:
    """Decode every file and keep nothing."""

    def decode_one(path: Path) -> None:
        with suppress(BadImage):
            decode(path, 3)

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(decode_one, paths):
            pass


def hash_alone(hashes: int, size: tuple[int, int]) -> float:
    """Return the seconds that so many images of a size take to hash once they are decoded."""
    images = np.random.default_rng(0).integers(0, 256, (256, *size, 3), np.uint8)
    return timed(lambda: hash_images(images))[1] / len(images) * hashes


def measure(folder: Path, copies: int, workers: int, seed: int) -> dict[str, Any]:
    """Plant copies, hash, search, and count."""
    found = scan_folder(folder, training=False, allow_empty_classes=True, allow_nested=True)
    paths = [sample.path for samples in found.splits.values() for sample in samples]
    draw = np.random.default_rng(seed)
    number = min(copies * len(KINDS), len(paths) // 2 // len(KINDS) * len(KINDS))
    originals = draw.permutation(len(paths))[:number]
    kinds = np.repeat(list(KINDS), number // len(KINDS))
    with tempfile.TemporaryDirectory(prefix="cpcnn-copies-") as place:
        planted = plant([paths[row] for row in originals], kinds, Path(place), draw)
        every = paths + planted
        _, decoding = timed(lambda: decode_all(every, workers))
        (hashes, ok), hashing = timed(lambda: hash_files(every, workers=workers))
        pairs, searching = timed(lambda: find_near_pairs(hashes))
        groups, grouping = timed(lambda: groups_of(pairs, len(every)))
        counts = count(pairs, originals, kinds, every, len(paths))
    return {
        "folder": folder.name,
        "images": len(paths),
        "readable": int(ok[: len(paths)].sum()),
        "copies": number,
        **counts,
        "groups": len(groups),
        "largest_group": max(map(len, groups), default=0),
        "seconds": {
            "decoding alone": decoding,
            "decoding and hashing": hashing,
            "searching": searching,
            "grouping": grouping,
            "hashing alone, at 32x32": hash_alone(len(every), (32, 32)),
        },
        "processor": processor_name(),
        "load": load(),
    }


def count(
    pairs: NDArray[np.int64],
    originals: NDArray[np.int64],
    kinds: NDArray[np.str_],
    every: Sequence[Path],
    real: int,
) -> dict[str, Any]:
    """Return recall of each kind, precision, and what else was found."""
    among = pairs[:, 1] >= real
    mixed = pairs[among & (pairs[:, 0] < real)]
    between = pairs[among & (pairs[:, 0] >= real)]
    copy = mixed[:, 1] - real
    right = mixed[:, 0] == originals[copy]
    found = np.isin(np.arange(len(originals)), copy[right])
    wrong = list(zip(originals[copy[~right]].tolist(), mixed[~right, 0].tolist(), strict=True))
    wrong += [(int(originals[i - real]), int(originals[j - real])) for i, j in between]
    takes = sum(judge(every[one], every[other]) for one, other in wrong)
    correct = int(right.sum())
    return {
        "recall": {kind: float(found[kinds == kind].mean()) for kind in KINDS},
        "pairs_with_original": correct,
        "pairs_with_another": len(wrong),
        "of_these_another_take": takes,
        "precision": correct / max(1, correct + len(wrong)),
        "precision_besides": correct / max(1, correct + len(wrong) - takes),
        "pairs_within_the_folder": int((~among).sum()),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [
        f"{result['folder']}: {result['images']:,} images, {result['copies']:,} copies",
        *(f"  recall, {kind:<24}{share:>10.3f}" for kind, share in result["recall"].items()),
        f"  precision                       {result['precision']:>10.3f}",
        f"  precision, besides other takes  {result['precision_besides']:>10.3f}",
        f"  pairs with the original         {result['pairs_with_original']:>10,}",
        f"  pairs with another              {result['pairs_with_another']:>10,}",
        f"    of these, another take        {result['of_these_another_take']:>10,}",
        f"  pairs within the folder         {result['pairs_within_the_folder']:>10,}",
        f"  groups, and the largest of them {result['groups']:>10,}{result['largest_group']:>8,}",
        *(f"  {name:<32}{value:>9.1f} s" for name, value in result["seconds"].items()),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="images in class folders")
    parser.add_argument("--copies", type=int, default=500, help="of each kind, of half the images")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    result = measure(given.folder, given.copies, given.workers, given.seed)
    print(json.dumps(result, indent=2) if given.json else table(result))


if __name__ == "__main__":
    main()
