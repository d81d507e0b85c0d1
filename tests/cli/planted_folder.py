"""A folder of images with one case of everything that a check is to find, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from cpcnn.core.random import Philox

SIDE = 64
GRID = 8
Planted = set[tuple[str, frozenset[str]]]  # (kind, the files that it is about)


def picture(seed: int, side: int = SIDE) -> Image.Image:
    """Return a smooth colour image that looks like no other one."""
    values = Philox(seed, "planted").uniform(np.arange(GRID * GRID), 4)[:, :3]
    pixels = (255 * values.reshape(GRID, GRID, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def write_pictures(folder: Path, count: int, seed: int) -> None:
    """Write images 000.png, 001.png, … that differ from all others with another seed."""
    folder.mkdir(parents=True)
    for number in range(count):
        picture(1000 * seed + number).save(folder / f"{number:03}.png")


def plant(root: Path) -> Planted:
    """Make the folder, and return what there is to find in it."""
    counts = {"cat": 42, "dog": 13, "emu": 4}
    seed = 0
    for split, share in (("train", 1.0), ("val", 0.25), ("test", 0.25)):
        for name, count in counts.items():
            seed += 1
            write_pictures(root / split / name, round(share * count), seed)
    planted = _damaged(root) | _odd(root) | _passed_over(root) | _copies(root) | _alike(root)
    return planted | {("imbalance", frozenset()), ("few-images", frozenset())}


def _damaged(root: Path) -> Planted:
    """Files that are no images."""
    cat = root / "train/cat"
    (cat / "zero.png").touch()
    (cat / "text.png").write_text("no image")
    picture(-1).save(cat / "cut.jpg", quality=95)
    content = (cat / "cut.jpg").read_bytes()
    (cat / "cut.jpg").write_bytes(content[: len(content) // 2])
    return {
        ("zero-byte", frozenset({"train/cat/zero.png"})),
        ("unreadable", frozenset({"train/cat/text.png"})),
        ("truncated", frozenset({"train/cat/cut.jpg"})),
    }


def _odd(root: Path) -> Planted:
    """Images that are read, and worth a word."""
    dog = root / "train/dog"
    picture(-2).save(dog / "really.jpg", "PNG")
    picture(-3).save(dog / "moves.gif", save_all=True, append_images=[picture(-4)])
    Image.new("1", (9000, 6000)).save(dog / "vast.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(-5).save(dog / "turned.jpg", exif=exif)
    return {
        ("misnamed", frozenset({"train/dog/really.jpg"})),
        ("animated", frozenset({"train/dog/moves.gif"})),
        ("huge", frozenset({"train/dog/vast.png"})),
        ("exif-rotated", frozenset({"train/dog/turned.jpg"})),
    }


def _passed_over(root: Path) -> Planted:
    """Files that are not read at all."""
    picture(-6).save(root / "loose.png")
    picture(-7).save(root / "train/dog/photo.dat", "JPEG")
    (root / "train/dog/phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "train/dog/readme.txt").write_text("dogs")
    (root / "train/dog/.hidden.png").touch()
    (root / "train/dog/gone.png").symlink_to("nowhere.png")
    return {
        ("passed-over", frozenset({"loose.png"})),
        ("passed-over", frozenset({"train/dog/photo.dat"})),
        ("passed-over", frozenset({"train/dog/phone.heic"})),
        ("ignored", frozenset({"train/dog/readme.txt"})),
        ("ignored", frozenset({"train/dog/.hidden.png"})),
        ("ignored", frozenset({"train/dog/gone.png"})),
    }


def _copies(root: Path) -> Planted:
    """Identical files."""
    pairs = {
        "duplicate": ("train/cat/001.png", "train/cat/again.png"),
        "leak": ("train/cat/002.png", "test/cat/leaked.png"),
        "label-conflict": ("train/cat/003.png", "train/dog/or-cat.png"),
    }
    for source, copy in pairs.values():
        shutil.copy(root / source, root / copy)
    return {(kind, frozenset(pair)) for kind, pair in pairs.items()}


def _alike(root: Path) -> Planted:
    """Images that look like others: resized, encoded again, brighter."""
    pairs = {
        "near-duplicate": ("train/cat/004.png", "train/cat/smaller.png"),
        "near-leak": ("train/cat/005.png", "val/cat/encoded.jpg"),
        "near-conflict": ("train/cat/006.png", "train/dog/brighter.png"),
    }
    with Image.open(root / "train/cat/004.png") as image:
        image.resize((48, 48)).save(root / "train/cat/smaller.png")
    with Image.open(root / "train/cat/005.png") as image:
        image.save(root / "val/cat/encoded.jpg", quality=80)
    with Image.open(root / "train/cat/006.png") as image:
        ImageEnhance.Brightness(image).enhance(1.1).save(root / "train/dog/brighter.png")
    return {(kind, frozenset(pair)) for kind, pair in pairs.items()}
