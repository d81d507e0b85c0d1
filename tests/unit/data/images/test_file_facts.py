"""What is said of one file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpcnn.data.images.decode import read_header
from cpcnn.data.images.file_facts import (
    HUGE_PIXELS,
    FileFacts,
    image_format_of,
    inspect_file,
    inspect_files,
    misnamed,
)

PICTURE = Image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3))
FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "TIFF": ".tif"}


@pytest.mark.parametrize("kind", [*FORMATS, "BMP", "PPM"])
def test_the_format_is_that_of_the_content(kind: str, tmp_path: Path) -> None:
    named = tmp_path / f"right{FORMATS.get(kind, '.' + kind.lower())}"
    other = tmp_path / ("wrong.png" if kind != "PNG" else "wrong.jpg")
    for path in (named, other):
        PICTURE.save(path, kind)
    facts = inspect_file(other)
    assert (facts.format, facts.width, facts.height, facts.fault) == (kind, 30, 20, "")
    assert facts.sha256 == hashlib.sha256(other.read_bytes()).hexdigest()
    assert misnamed(other, facts)
    assert not misnamed(named, inspect_file(named))
    assert not misnamed(named.rename(named.with_suffix(named.suffix.upper())), facts)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signature_tells_an_image_without_its_extension(kind: str, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "data", kind)
    assert image_format_of(tmp_path / "data") == kind


def test_what_is_no_image_has_no_signature(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("RIFF and nothing else")
    assert image_format_of(tmp_path / "text") == ""
    assert image_format_of(tmp_path / "missing") == ""
    assert image_format_of(tmp_path) == ""


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_several_frames(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"moves{FORMATS[kind]}"
    other = PICTURE.rotate(180)
    PICTURE.save(path, kind, save_all=True, append_images=[other])
    assert inspect_file(path).animated
    PICTURE.save(path, kind)
    assert not inspect_file(path).animated


def test_a_preview_in_a_jpeg_is_no_animation(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[PICTURE])
    facts = inspect_file(tmp_path / "two.jpg")
    assert (facts.format, facts.animated, facts.fault) == ("JPEG", False, "")


def test_a_damaged_second_frame_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "moves.gif"
    PICTURE.save(path, save_all=True, append_images=[PICTURE.rotate(180)])
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    assert inspect_file(path).fault == ""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_orientation_are_those_of_the_display(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    PICTURE.save(tmp_path / "turned.jpg", exif=exif)
    facts = inspect_file(tmp_path / "turned.jpg")
    header = read_header(tmp_path / "turned.jpg")
    assert facts.orientation == orientation
    assert (facts.width, facts.height) == (header.width, header.height)
    assert (facts.width > facts.height) == (orientation < 5)


def test_faults(tmp_path: Path) -> None:
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("text")
    PICTURE.save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    found = {name: inspect_file(tmp_path / f"{name}.png") for name in ("zero", "text", "cut")}
    assert {name: facts.fault for name, facts in found.items()} == {
        "zero": "zero-byte",
        "text": "unreadable",
        "cut": "truncated",
    }
    assert all(facts.reason and not facts.sha256 for facts in found.values())
    gone = inspect_file(tmp_path / "gone.png")
    assert (gone.fault, gone.reason) == (
        "unreadable",
        "it cannot be opened (No such file or directory)",
    )


def test_a_huge_image_is_not_decoded(tmp_path: Path) -> None:
    side = int(HUGE_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "vast.png")
    content = (tmp_path / "vast.png").read_bytes()
    (tmp_path / "vast.png").write_bytes(content[:100])  # all but its header is missing
    facts = inspect_file(tmp_path / "vast.png")
    assert facts.huge
    assert facts.fault == ""
    assert FileFacts(bytes=1 << 30, width=1, height=1).huge
    assert not FileFacts(bytes=1 << 20, width=5000, height=5000).huge


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_files_are_told_of_in_their_order(workers: int, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(70)]
    for number, path in enumerate(paths):
        Image.new("L", (number + 1, 2)).save(path)
    heard: list[tuple[int, int]] = []
    found = inspect_files(paths, workers=workers, progress=lambda *done: heard.append(done))
    assert [facts.width for facts in found] == list(range(1, 71))
    assert heard == [(32, 70), (64, 70), (70, 70)]
    assert inspect_files([], workers=workers) == []
