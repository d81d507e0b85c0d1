"""The mistakes that people make, and the odd files that they have: what each of them is told.

Every row runs a command line. REFUSED are answered with a message, a suggestion and an exit code;
ACCEPTED work, and say what was done; of odd image files, those that can be read are classified
like a plain file with the same picture, and those that cannot get a row that says why.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cpcnn.training.checkpoint import load_checkpoint, save_checkpoint

from .conftest import QUICK, call, document_of, error_of, write_classes, write_images

Prepare = Callable[[pytest.MonkeyPatch], object]

DATA = Path("data")
RUN = Path("runs/simple-1")  # of the classes bus, car and van, in the folder where a row works
BEST = RUN / "best.cpcnn"
TRAIN = ("train", DATA, *QUICK)
CODES = {1: "memory", 2: "usage", 3: "data", 4: "device", 5: "checkpoint"}


@dataclass(frozen=True)
class Row:
    """What somebody has prepared, the command they give, and what they are told."""

    name: str
    prepare: Prepare
    command: tuple[object, ...]
    says: tuple[str, ...]
    exit_code: int = 0

    def __str__(self) -> str:
        return self.name


def nothing(_: pytest.MonkeyPatch) -> None:
    """Prepare nothing."""


def classes(**counts: int) -> Prepare:
    """Write class folders into DATA; an underscore in a name stands for a slash."""
    return lambda _: write_classes(DATA, {k.replace("_", "/"): n for k, n in counts.items()})


def named(*names: str) -> Prepare:
    """Write class folders of these names into DATA."""
    return lambda _: write_classes(DATA, dict.fromkeys(names, 4))


def files(*names: str, beside: Prepare = nothing, content: bytes = b"nothing") -> Prepare:
    def write(patch: pytest.MonkeyPatch) -> None:
        beside(patch)
        for name in names:
            (DATA / name).parent.mkdir(parents=True, exist_ok=True)
            (DATA / name).write_bytes(content)

    return write


def linked(link: str, target: str, beside: Prepare) -> Prepare:
    def write(patch: pytest.MonkeyPatch) -> None:
        beside(patch)
        os.symlink(target, DATA / link)

    return write


# ---- Refused ---------------------------------------------------------------------------------


def lock(name: str, beside: Prepare) -> Prepare:
    """Make a folder unreadable, for the superuser as well, whom permissions do not stop."""

    def write(patch: pytest.MonkeyPatch) -> None:
        beside(patch)
        scan = os.scandir

        def refuse(path: Any) -> Any:
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        patch.setattr(os, "scandir", refuse)

    return write


def out_of_memory(patch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 64.0 GiB for an array")

    classes(cat=4, dog=4)(patch)
    patch.setattr("cpcnn.training.step.TrainingStep.__call__", fail)


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """Fill the disk when a checkpoint is to reach it."""

    def fail(_: int) -> None:
        raise OSError(28, os.strerror(28))

    classes(cat=4, dog=4)(patch)
    patch.setattr("cpcnn.training.checkpoint.os.fsync", fail)


def tampered(_: pytest.MonkeyPatch) -> None:
    """Change one bit in the middle of the weights."""
    content = bytearray(BEST.read_bytes())
    content[len(content) // 2] ^= 1
    BEST.write_bytes(content)


def cut_short(_: pytest.MonkeyPatch) -> None:
    BEST.write_bytes(BEST.read_bytes()[:-100])


def rewritten(**changes: Any) -> Prepare:
    """Write the checkpoint anew, as an honest zip with other words in it."""

    def write(_: pytest.MonkeyPatch) -> None:
        with zipfile.ZipFile(BEST) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        model = json.loads(members["model.json"]) | changes
        with zipfile.ZipFile(BEST, "w") as archive:
            for name, content in (members | {"model.json": json.dumps(model)}).items():
                archive.writestr(name, content)

    return write


def pickled(_: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(BEST, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cos\nsystem\n")


def poisoned(_: pytest.MonkeyPatch) -> None:
    """Put numbers into the weights that are none."""
    checkpoint = load_checkpoint(BEST)
    for values in checkpoint.weights.values():
        values.fill(np.nan)
    save_checkpoint(BEST, checkpoint)


def without_checkpoint(_: pytest.MonkeyPatch) -> None:
    for name in ("best.cpcnn", "last.cpcnn"):
        (RUN / name).unlink()


TWO = classes(cat=4, dog=4)
THREE = classes(bus=2, car=2, van=2)
REFUSED = [
    # Folders
    Row("no such folder", nothing, TRAIN, ("data does not exist.", "Check the path."), 3),
    Row(
        "empty folder",
        lambda _: DATA.mkdir(),
        TRAIN,
        ("data is an empty folder.", "Expected one folder per class"),
        3,
    ),
    Row(
        "no image in the folder",
        files("1.heic", "2.heic", "notes.txt"),
        TRAIN,
        ("found 2 .heic files, 1 .txt file, 0 subfolders", "Images end in one of: .bmp"),
        3,
    ),
    Row(
        "an archive",
        lambda _: Path("data.zip").write_bytes(b"PK"),
        ("train", "data.zip", *QUICK),
        ("data.zip is a file, not a folder", "Unpack the archive"),
        3,
    ),
    Row(
        "images without class folders",
        lambda _: write_images(DATA, 3),
        TRAIN,
        ("data holds 3 images directly, but no class folder", "If data is itself a class"),
        3,
    ),
    Row(
        "one class",
        classes(cat=3),
        TRAIN,
        ("1 class found in data: cat. A classifier needs 2 or more.", "If data is itself one"),
        3,
    ),
    Row(
        "a folder above the classes",
        classes(photos_cat=3, photos_dog=3),
        TRAIN,
        ("1 class found in data: photos.", "did you mean data/photos?"),
        3,
    ),
    Row(
        "a class without images",
        classes(cat=3, dog=0, eel=3),
        TRAIN,
        (
            "1 class has no image to train on: dog. Images per class: cat 3, dog 0, eel 3.",
            "--allow-empty-classes",
        ),
        3,
    ),
    Row(
        "groups of classes",
        classes(animal_cat=2, animal_dog=2, vehicle_bus=2, vehicle_car=2),
        TRAIN,
        ("folder of folders", "The class could be either level.", "--allow-nested"),
        3,
    ),
    Row(
        "a class folder in another one",
        classes(cat=3, cat_dog=2, dog=3),
        TRAIN,
        ("data/cat/dog lies in class cat and is named like class dog: 2 images", "--allow-nested"),
        3,
    ),
    Row(
        "splits in classes",
        classes(cat_train=2, cat_val=2, dog_train=2, dog_val=2),
        TRAIN,
        ("hold split folders (train, val)", "train/<class>/ instead of <class>/train/"),
        3,
    ),
    Row(
        "nothing to train on",
        classes(test_cat=2, test_dog=2),
        TRAIN,
        ("data has a test folder, but no train folder.", "train/<class>/"),
        3,
    ),
    Row(
        "an unreadable folder",
        lock("dog", TWO),
        TRAIN,
        ("cannot read the folder data/dog (Permission denied).", "Check its permissions."),
        3,
    ),
    Row(
        "a class name with a newline",
        named("c\nat", "dog"),
        TRAIN,
        (r"'data/c\nat' has control characters", "Rename it."),
        3,
    ),
    Row(
        "a class name that is not UTF-8",
        files(os.fsdecode(b"caf\xe9/1.png"), beside=TWO),
        TRAIN,
        (r"'data/caf\udce9' has control characters or bytes that are not UTF-8", "Rename it."),
        3,
    ),
    Row(
        "a name like an option",
        lambda _: write_classes(Path("-data"), {"cat": 3, "dog": 3}),
        ("train", "-data", *QUICK),
        ("No such option '-d'", "If you mean what is called -data, write ./-data."),
        2,
    ),
    # Files
    Row(
        "a corrupt file, not to be skipped",
        files("cat/9.png", beside=TWO),
        (*TRAIN, "--on-error", "fail"),
        ("data/cat/9.png: its content is not a readable image", "--on-error skip"),
        3,
    ),
    Row(
        "corrupt files only",
        files("cat/1.png", "dog/2.png"),
        (*TRAIN, "--img-size", 16, "--channels", 3),
        ("none of 2 sampled files is a readable image.", "data/cat/1.png: its", "Look at"),
        3,
    ),
    Row(
        "a class of corrupt files",
        files("eel/1.png", "eel/2.png", beside=TWO),
        TRAIN,
        ("1 class has no image to train on: eel.", "eel 0"),
        3,
    ),
    # Machines
    Row(
        "a device that is none",
        TWO,
        (*TRAIN, "--device", "gpuu"),
        ("gpuu", "Did you mean 'gpu'?"),
        4,
    ),
    Row(
        "a full disk",
        full_disk,
        TRAIN,
        (".cpcnn cannot be written: No space left on device.", "free space"),
        5,
    ),
    Row("out of memory", out_of_memory, TRAIN, ("Out of memory.", "a smaller --batch-size"), 1),
    # Evaluation
    Row(
        "a split that is not there",
        THREE,
        ("eval", RUN, DATA, "--split", "test"),
        ("data has no test images (it has: all).", "--split"),
        3,
    ),
    Row(
        "training images only",
        classes(train_bus=2, train_car=2, train_van=2),
        ("eval", RUN, DATA),
        ("neither test nor validation images", "--split train"),
        3,
    ),
    Row(
        "a class that the model does not know",
        classes(bus=2, zebra=2),
        ("eval", RUN, DATA),
        ("'zebra'", "'bus', 'car', 'van'", "--allow-unknown-classes"),
        5,
    ),
    # Checkpoints
    Row("a tampered checkpoint", tampered, ("eval", RUN), ("is damaged: Bad CRC-32 for file",), 5),
    Row("a checkpoint cut short", cut_short, ("eval", RUN), ("or it was cut short",), 5),
    Row(
        "a checkpoint of a newer version",
        rewritten(version=99),
        ("eval", RUN),
        ("is of checkpoint version 99, this cpcnn reads up to", "Update cpcnn."),
        5,
    ),
    Row("a foreign checkpoint", pickled, ("predict", BEST, "x.png"), ("not a cpcnn check",), 5),
    Row(
        "a checkpoint with other classes than its network",
        rewritten(classes=["bus"]),
        ("predict", BEST, "x.png"),
        ("is damaged: its network turns (16, 16, 3) into (3,)", "its classes 1"),
        5,
    ),
    Row("weights that are no numbers", poisoned, ("eval", RUN), ("not finite numbers",), 5),
    Row("a run without a checkpoint", without_checkpoint, ("eval", RUN), ("no checkpoint",), 5),
    Row("no such model", nothing, ("predict", "no.cpcnn", "x.png"), ("does not exist",), 5),
    Row(
        "no run at all",
        lambda _: shutil.rmtree("runs"),
        ("eval",),
        ("There is no trained run in", "cpcnn train DATA"),
        2,
    ),
    # Typing
    Row("a misspelt command", nothing, ("evel",), ("Did you mean 'eval'?",), 2),
    Row("a misspelt option", TWO, (*TRAIN, "--epoch", 1), ("Did you mean", "'--epochs'"), 2),
    Row("a misspelt network", TWO, (*TRAIN, "--model", "resnt9"), ("Did you mean 'resnet9'?",), 2),
    Row(
        "a misspelt setting",
        lambda _: Path("c.toml").write_text("[train]\nepoch = 3\n"),
        (*TRAIN, "--config", "c.toml"),
        ("c.toml, line 2: there is no setting 'epoch'.", "Did you mean 'epochs'?"),
        2,
    ),
    Row(
        "a configuration that is no TOML",
        lambda _: Path("c.toml").write_text("[train"),
        (*TRAIN, "--config", "c.toml"),
        ("c.toml is not TOML",),
        2,
    ),
    Row(
        "a finished run resumed",
        nothing,
        ("train", "--resume", RUN),
        ("There is nothing to resume in runs/simple-1", "--resume runs/simple-1 --epochs"),
        2,
    ),
    Row("no folder named", nothing, ("train",), ("Missing argument 'DATA'", "--help"), 2),
    Row("no image named", nothing, ("predict", RUN), ("No images are given.", "Name image"), 2),
    Row(
        "an output that exists",
        TWO,
        (*TRAIN, "--output", RUN),
        ("exists and is not empty.", "Nothing is ever overwritten"),
        2,
    ),
    Row(
        "an output among the images",
        TWO,
        (*TRAIN, "--output", DATA / "run"),
        ("lies in the data folder data, where nothing is ever written.",),
        2,
    ),
]


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_a_mistake_is_answered(row: Row, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row.prepare(monkeypatch)
    message = error_of(call(*row.command), row.exit_code)
    for words in row.says:
        assert words in message
    assert message.count("\n") < 8
    document = document_of(call(*row.command, "--json"))["error"]
    assert document["code"] == CODES[row.exit_code]
    for words in row.says:
        assert words in f"{document['message']}\n{document['suggestion']}"


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a GPU may be usable here")
def test_a_gpu_that_is_not_there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TWO(monkeypatch)
    message = error_of(call(*TRAIN, "--device", "gpu"), 4)
    assert "the gpu device needs" in message or "driver" in message
    assert "Or use --device cpu." in message


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every folder")
def test_a_folder_without_permission(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TWO(monkeypatch)
    (DATA / "dog").chmod(0)
    try:
        assert "data/dog (Permission denied)" in error_of(call(*TRAIN), 3)
        assert "data/dog (Permission denied)" in call("predict", RUN, DATA).stdout
    finally:
        (DATA / "dog").chmod(0o700)


# ---- Accepted --------------------------------------------------------------------------------


def elsewhere(patch: pytest.MonkeyPatch) -> None:
    """Make a class a link to a folder out of the tree, and an image a link to such a file."""
    TWO(patch)
    write_images(Path("other/eel"), 4)
    os.symlink("../other/eel", DATA / "eel")
    os.symlink("../../other/eel/000.png", DATA / "cat/link.png")


EVAL = ("eval", RUN, DATA)
ACCEPTED = [
    Row(
        "folders that programs leave behind",
        named("cat", "dog", ".git", "__MACOSX", ".ipynb_checkpoints"),
        TRAIN,
        ("8 of 2 classes", ".git (hidden)", "__MACOSX (hidden)", ".ipynb_checkpoints (hidden)"),
    ),
    Row(
        "a class without images, allowed",
        classes(cat=4, dog=4, eel=0),
        (*TRAIN, "--allow-empty-classes"),
        ("8 of 3 classes",),
    ),
    Row(
        "a corrupt file",
        files("cat/9.png", beside=TWO),
        TRAIN,
        ("Skipped 1 unreadable file:", "data/cat/9.png: its content is not a readable image"),
    ),
    Row(
        "a decompression bomb",
        files("cat/9.ppm", beside=TWO, content=b"P6 100000 100000 255\n"),
        TRAIN,
        ("Skipped 1 unreadable file:", "data/cat/9.ppm: it claims more pixels than"),
    ),
    Row("class folders in their own kind", classes(cat_cat=4, dog_dog=4), TRAIN, ("of 2 classes",)),
    Row(
        "a class folder in another one, allowed",
        classes(cat=3, cat_dog=2, dog=3),
        (*TRAIN, "--allow-nested"),
        ("8 of 2 classes",),
    ),
    Row("names in all scripts", named("日本 語", "été", "🐈"), TRAIN, ("12 of 3 classes",)),
    Row("names with quotes", named("it's", '"', "`id`", "$HOME"), TRAIN, ("16 of 4 classes",)),
    Row("names like options", named("-rf", "--help", "-"), TRAIN, ("12 of 3 classes",)),
    Row(
        "a file name with a newline",
        files("cat/new\nline.png", beside=TWO),
        TRAIN,
        (r"data/cat/new\nline.png: its content",),
    ),
    Row(
        "a folder like an option",
        lambda _: write_classes(Path("-data"), {"cat": 4, "dog": 4}),
        ("train", "./-data", *QUICK),
        ("8 of 2 classes",),
    ),
    Row("a link in circles", linked("cat/up", "../..", TWO), TRAIN, ("Ignored: up (link to a",)),
    Row("a link to itself", linked("self", "self", TWO), TRAIN, ("self (broken link)",)),
    Row("links out of the tree", elsewhere, TRAIN, ("13 of 3 classes",)),
    Row("a class that is missing", classes(bus=2, car=2), EVAL, ("van", "all images, 4")),
    Row(
        "a class left out",
        classes(bus=2, car=2, zebra=3),
        (*EVAL, "--allow-unknown-classes"),
        ("left out: 3", "zebra"),
    ),
]


@pytest.mark.parametrize("row", ACCEPTED, ids=str)
def test_what_is_odd_works(row: Row, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row.prepare(monkeypatch)
    result = call(*row.command)
    assert result.exit_code == 0, result.output
    for words in row.says:
        assert words in result.output


ODD_FILES = ("new\nline.png", "-dash.png", "quo\"te'.png", "日本.png", " .png", "a\\b.png")


def test_odd_names_go_through_a_whole_run(work: Path) -> None:
    """Trained on, evaluated and written down; every table can be read back."""
    write_classes(DATA / "train", {"it's": 6, "-x": 6})
    write_classes(DATA / "test", {"it's": 1, "-x": 1})
    for name in ODD_FILES:
        shutil.copy(DATA / "train/-x/000.png", DATA / "test/-x" / name)
    assert call("train", DATA, *QUICK).exit_code == 0
    result = call("eval")
    assert result.exit_code == 0, result.output
    expected = {f"test/-x/{name}" for name in (*ODD_FILES, "000.png")} | {"test/it's/000.png"}
    with (RUN / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert {row["path"] for row in csv.DictReader(file)} == expected
    with (RUN / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows if row["split"] == "test"} == expected
    rows = json.loads(call("predict", DATA / "test", "--json").stdout)["predictions"]
    assert {row["path"].removeprefix("data/") for row in rows} == expected


# ---- Odd images ------------------------------------------------------------------------------

Pixels = NDArray[Any]
PICTURE: Pixels = np.random.default_rng(5).integers(0, 256, (12, 20, 3)).astype(np.uint8)
GREY = PICTURE[:, :, 0]
FLAT = np.full((16, 16, 3), (200, 90, 10), np.uint8)


def in_colour(grey: Pixels) -> Pixels:
    return np.repeat(grey[:, :, None], 3, axis=2)


def png_of_16_bits(pixels: Pixels) -> bytes:
    """Return a PNG of 16 bits a channel, which Pillow reads but does not write."""
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in pixels.astype(">u2"))
    parts = {b"IHDR": header, b"IDAT": zlib.compress(lines), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )


def write_16_bits(path: Path) -> Pixels:
    wide = GREY.astype(np.uint16) * 256 + 77
    Image.fromarray(wide).save(path)
    return in_colour(GREY)


def write_16_bits_of_colour(path: Path) -> Pixels:
    path.write_bytes(png_of_16_bits(PICTURE.astype(np.uint16) * 256 + 77))
    return PICTURE


def write_cmyk(path: Path) -> Pixels:
    inks = np.concatenate([255 - PICTURE, np.zeros_like(PICTURE[:, :, :1])], axis=2)
    Image.fromarray(inks, "CMYK").save(path)
    return PICTURE


def write_transparent_palette(path: Path) -> Pixels:
    numbers = GREY // 64
    image = Image.fromarray(numbers, "P")
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    image.putpalette(colours.tobytes())
    image.save(path, transparency=bytes([255, 0, 255, 255]))
    colours[1] = 255  # over white
    return colours[numbers]


def write_animation(path: Path) -> Pixels:
    first, *rest = (Image.new("RGB", (16, 16), colour) for colour in ((200, 90, 10), "lime"))
    options = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, **options)
    return FLAT


def write_flat(width: int, height: int) -> Callable[[Path], Pixels]:
    def write(path: Path) -> Pixels:
        Image.new("RGB", (width, height), (200, 90, 10)).save(path)
        return FLAT

    return write


UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def write_turned(orientation: int) -> Callable[[Path], Pixels]:
    def write(path: Path) -> Pixels:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(PICTURE).save(path, exif=exif)
        return UPRIGHT[orientation](PICTURE)

    return write


ODD_IMAGES: dict[str, tuple[str, Callable[[Path], Pixels]]] = {
    "16 bits, grey": ("a.png", write_16_bits),
    "16 bits, grey, TIFF": ("a.tif", write_16_bits),
    "16 bits, colour": ("a.png", write_16_bits_of_colour),
    "CMYK": ("a.tif", write_cmyk),
    "palette with transparency": ("a.png", write_transparent_palette),
    "animated GIF": ("a.gif", write_animation),
    "animated PNG": ("a.png", write_animation),
    "animated WebP": ("a.webp", write_animation),
    "TIFF of several pages": ("a.tif", write_animation),
    "1x1": ("a.png", write_flat(1, 1)),
    "1x10000": ("a.png", write_flat(1, 10_000)),
    "10000x1": ("a.png", write_flat(10_000, 1)),
    **{f"EXIF {number}": ("a.png", write_turned(number)) for number in UPRIGHT},
}


@pytest.mark.parametrize("kind", ODD_IMAGES)
def test_an_odd_image_is_classified_like_its_plain_twin(run: Path, kind: str) -> None:
    name, write = ODD_IMAGES[kind]
    twin = write(Path(name))
    Image.fromarray(np.ascontiguousarray(twin)).save("twin.png")
    Image.fromarray(np.ascontiguousarray(255 - twin)).save("other.png")
    result = call("predict", name, "twin.png", "other.png", "--top", 3, "--json")
    assert result.exit_code == 0, result.output
    odd, plain, other = (row["predictions"] for row in document_of(result)["predictions"])
    assert odd == plain
    assert odd != other


def test_the_eight_orientations_are_eight_pictures(run: Path) -> None:
    for number in UPRIGHT:
        write_turned(number)(Path(f"{number}.png"))
    result = call("predict", "[1-8].png", "--top", 3, "--format", "jsonl")
    seen = {json.dumps(json.loads(line)["predictions"]) for line in result.stdout.splitlines()}
    assert len(seen) == 8


def test_odd_images_can_be_trained_on(work: Path) -> None:
    for number, (name, write) in enumerate(ODD_IMAGES.values()):
        folder = DATA / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{number}{Path(name).suffix}")
    result = call(*TRAIN, "--img-size", 16)
    assert result.exit_code == 0, result.output
    assert "Skipped" not in result.stderr
    assert f"{len(ODD_IMAGES)} of 2 classes" in result.stderr


def good_png() -> bytes:
    Image.fromarray(PICTURE).save("good.png")
    return Path("good.png").read_bytes()


def png_that_claims(width: int, height: int) -> bytes:
    """Return a small PNG whose header, with a good check sum, says that it is large."""
    content = png_of_16_bits(PICTURE.astype(np.uint16))
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


BAD_IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "it is empty (0 bytes)"),
    "a text": (lambda: b"<html>", "its content is not a readable image (it begins with b'<html>')"),
    "cut short": (lambda: good_png()[:-200], "it is cut short or damaged"),
    "a decompression bomb": (lambda: png_that_claims(60_000, 60_000), "decompression bombs"),
    "no pixels": (lambda: png_that_claims(0, 12), "its content is not a readable image"),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "its content is not a readable image"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_gets_a_row_that_says_so(run: Path, kind: str) -> None:
    content, reason = BAD_IMAGES[kind]
    Path("bad.png").write_bytes(content())
    result = call("predict", "bad.png")
    assert result.exit_code == 3
    assert result.stdout.startswith("bad.png\terror: ")
    assert reason in result.stdout
    assert result.stderr.endswith("1 image could not be read.\n")


def test_an_unreadable_folder_gets_a_row_that_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock("dog", TWO)(monkeypatch)
    result = call("predict", DATA)
    assert result.exit_code == 0
    row = "data/dog\terror: cannot read the folder data/dog (Permission denied)"
    assert result.stdout.splitlines()[-1] == row
