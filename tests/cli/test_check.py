"""`cpcnn check`: everything that can be wrong with a folder is found, and nothing else."""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import QUICK, call, document_of, error_of
from .planted_folder import Planted, picture, plant, write_pictures

NEAR = {"near-duplicate", "near-leak", "near-conflict"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    root = tmp_path_factory.mktemp("planted") / "images"
    return root, plant(root)


def found_in(document: dict[str, Any]) -> list[tuple[str, frozenset[str]]]:
    return [
        (finding["kind"], frozenset(image["path"] for image in finding["images"]))
        for finding in document["findings"]
    ]


def contents(root: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in (root, *root.rglob("*"))
    }


# ---- What is found ---------------------------------------------------------------------------


def test_every_planted_case_is_found_and_nothing_else(
    planted: tuple[Path, Planted], work: Path
) -> None:
    root, expected = planted
    before = contents(root)
    result = call("check", root, "--json", "--html", "page.html", "--fix-list", "fix.csv")
    assert result.exit_code == 3
    found = found_in(document_of(result))
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert contents(root) == before


def test_without_near_duplicates(planted: tuple[Path, Planted], work: Path) -> None:
    root, expected = planted
    document = document_of(call("check", root, "--no-near", "--json"))
    assert set(found_in(document)) == {case for case in expected if case[0] not in NEAR}
    assert document["near_duplicates_searched"] is False


def test_workers_change_nothing(planted: tuple[Path, Planted], work: Path) -> None:
    one, four = (
        document_of(call("check", planted[0], "-j", workers, "--json")) for workers in (1, 4)
    )
    del one["seconds"], four["seconds"]
    assert one == four


def test_the_document_counts_what_is_there(planted: tuple[Path, Planted], work: Path) -> None:
    document = document_of(call("check", planted[0], "--no-near", "--json"))
    assert document["classes"] == ["cat", "dog", "emu"]
    assert document["splits"]["test"] == {"cat": 11, "dog": 3, "emu": 1}
    assert document["images"] - document["readable_images"] == 3
    assert sum(document["formats"].values()) == document["readable_images"]
    assert document["modes"]["1"] == 1
    assert document["sizes"]["width"] == [48, 64, 9000]
    assert document["sizes"]["common"][0]["width"] == 64
    assert document["found"]["error"] == {"label-conflict": 1, "leak": 1}
    assert document["imbalance"] == 44 / 4


def test_the_report_fits_80_columns_and_names_what_was_found(
    planted: tuple[Path, Planted], work: Path
) -> None:
    root, expected = planted
    result = call("check", root)
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Data: ")) <= 80
    assert not any(line.endswith(" ") for line in lines)
    assert "\x1b" not in result.output
    for kind, files in expected:
        for name in files - {""}:
            assert name in result.stdout, kind
    assert "Error: identical files in several splits (1)" in lines
    assert lines[-1].startswith("Unsound to train on: 2 errors, ")


def test_patterns_decide_what_is_read(planted: tuple[Path, Planted], work: Path) -> None:
    patterns = ("--exclude", "test", "--exclude", "*.heic", "--exclude", "nothing")
    document = document_of(call("check", planted[0], "--no-near", "--json", *patterns))
    assert document["splits"].keys() == {"train", "validation"}
    kinds = [kind for kind, _ in found_in(document)]
    assert "label-conflict" in kinds
    assert "leak" not in kinds
    assert any("--exclude 'nothing' matches nothing" in note for note in document["notes"])


# ---- Exit codes ------------------------------------------------------------------------------


def sound_folder(root: Path) -> Path:
    for seed, name in enumerate(("cat", "dog")):
        write_pictures(root / name, 20, seed + 1)
    return root


def test_a_sound_folder(work: Path) -> None:
    result = call("check", sound_folder(Path("data")))
    assert result.exit_code == 0
    assert "Sound to train on: nothing to object to." in result.stdout


def test_warnings_do_not_fail(work: Path) -> None:
    shutil.copy(sound_folder(Path("data")) / "cat/000.png", "data/cat/copy.png")
    result = call("check", "data", "--json", "--val-fraction", 0.01)
    assert [kind for kind, _ in found_in(document_of(result))] == ["duplicate"]
    assert result.exit_code == 0


def test_a_copy_that_the_drawn_split_tears_apart_is_a_leak(work: Path) -> None:
    held_out = _held_out(sound_folder(Path("data")))
    shutil.copy(f"data/{held_out}", "data/cat/zz-copy.png")
    result = call("check", "data", "--json", "--val-fraction", 0.2)
    assert result.exit_code == 3
    assert found_in(document_of(result)) == [("leak", frozenset({held_out, "cat/zz-copy.png"}))]


def _held_out(root: Path) -> str:
    """Return an image of class cat that a training would hold out."""
    call("train", root, *QUICK, "--output", "run")
    with open("run/split.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return next(r["path"] for r in rows if r["split"] == "validation" and r["class"] == "cat")


def test_unreadable_files_are_as_serious_as_training_takes_them(work: Path) -> None:
    (sound_folder(Path("data")) / "cat/zero.png").touch()
    assert call("check", "data", "--no-near").exit_code == 0
    result = call("check", "data", "--no-near", "--on-error", "fail")
    assert result.exit_code == 3
    assert "Error: empty files (1)" in result.stdout


def test_one_class(work: Path) -> None:
    write_pictures(Path("data/cat"), 20, 1)
    (Path("data/cat") / "zero.png").touch()
    result = call("check", "data", "--json")
    assert result.exit_code == 3
    document = document_of(result)
    assert {kind for kind, _ in found_in(document)} == {"one-class", "zero-byte"}
    assert "1 class found" in document["findings"][0]["detail"]


def test_a_class_without_a_readable_image(work: Path) -> None:
    sound_folder(Path("data"))
    Path("data/emu").mkdir()
    Path("data/fox").mkdir()
    Path("data/fox/zero.png").touch()
    result = call("check", "data", "--json", "--no-near")
    document = document_of(result)
    assert result.exit_code == 3
    details = [f["detail"] for f in document["findings"] if f["kind"] == "empty-class"]
    assert details == [f"{name} has no readable image to train on" for name in ("emu", "fox")]
    assert call("check", "data", "--no-near", "--allow-empty-classes").exit_code == 0


def test_an_image_for_validation_is_missing(work: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        write_pictures(Path("data") / name, 1, number + 1)
    result = call("check", "data", "--json")
    kinds = {kind for kind, _ in found_in(document_of(result))}
    assert kinds == {"few-images", "no-validation"}
    assert result.exit_code == 0


# ---- Layouts that training refuses -------------------------------------------------------------


def refused(layout: str) -> None:
    """Make a folder that training refuses, with an empty file and two identical ones in it."""
    places = {
        "no train folder": ("test/cat", "test/dog"),
        "two train folders": ("train/cat", "training/dog"),
        "mixed": ("val/cat", "dog", "val/dog"),
        "nested": ("one/cat", "two/dog", "two/emu"),
        "loose": (".", "."),
        "control characters": ("cat\n", "dog"),
        "a table of other names": ("cat", "dog"),
    }[layout]
    for seed, place in enumerate(places):
        folder = Path("data") / place
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(3):
            picture(1000 * seed + number).save(folder / f"{seed}{number}.png")
    shutil.copy(folder / f"{seed}0.png", folder / "copy.png")
    (folder / "zero.png").touch()
    if layout.startswith("a table"):
        Path("data/metadata.csv").write_text("file_name,label\ncat/nothing.png,cat\n")


@pytest.mark.parametrize(
    "layout",
    [
        "no train folder",
        "two train folders",
        "mixed",
        "nested",
        "loose",
        "control characters",
        "a table of other names",
    ],
)
def test_a_folder_that_training_refuses_is_reported_all_the_same(layout: str, work: Path) -> None:
    refused(layout)
    message = error_of(call("train", "data", *QUICK), 3).splitlines()[0]
    result = call("check", "data", "--json")
    assert result.exit_code == 3
    document = document_of(result)
    kinds = [kind for kind, _ in found_in(document)]
    assert kinds[0] == "layout"
    assert message == f"error: {document['findings'][0]['detail']}".replace("\n", "\\n")
    assert "zero-byte" in kinds
    assert {"duplicate", "leak"} & set(kinds)  # in a folder that would be split it may be either
    assert call("check", "data").exit_code == 3


def test_a_folder_without_permission(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound_folder(Path("data"))
    list_folder = os.scandir

    def refuse(path: Any = ".") -> Any:
        if Path(path).name == "dog":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = call("check", "data", "--json")
    assert result.exit_code == 3
    first, second = document_of(result)["findings"][:2]
    assert (first["kind"], second["kind"]) == ("one-class", "ignored")
    assert "Permission denied" in first["detail"]
    assert "Permission denied" in second["detail"]


@pytest.mark.parametrize("command", [("check", "nowhere"), ("check", "file"), ("check", "empty")])
def test_nothing_to_report(command: tuple[str, str], work: Path) -> None:
    Path("file").touch()
    Path("empty").mkdir()
    assert error_of(call(*command), 3)


# ---- Files that are written ----------------------------------------------------------------------


def test_the_fix_list(planted: tuple[Path, Planted], work: Path) -> None:
    root, expected = planted
    result = call("check", root, "--fix-list", "fix.csv")
    assert "Fix list: fix.csv" in result.stdout
    with open("fix.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "finding", "detail", "what_to_do"]
    listed = {(row["finding"], row["path"]) for row in rows}
    notes = {"ignored", "exif-rotated", "near-duplicate"}
    assert listed == {
        (kind, name) for kind, files in expected if kind not in notes for name in files or {"."}
    }
    advice = {(r["finding"], r["path"]): r["what_to_do"] for r in rows}
    assert advice["leak", "test/cat/leaked.png"] == "Keep it."
    assert advice["leak", "train/cat/002.png"] == "Remove it."
    assert advice["duplicate", "train/cat/001.png"] == "Keep it."
    assert advice["duplicate", "train/cat/again.png"] == "Remove it."
    assert advice["passed-over", "train/dog/photo.dat"] == "Rename it to end in .jpg."


class Page(HTMLParser):
    """Gathers the elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_has_everything_and_loads_nothing(
    planted: tuple[Path, Planted], work: Path
) -> None:
    root, expected = planted
    assert "Page:     page.html" in call("check", root, "--html", "page.html").stdout
    text = Path("page.html").read_text("utf-8")
    for kind, files in expected:
        assert f'-{kind}"' in text
        for name in files:
            assert name in text
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    links = [str(tag["href"]) for _, tag in page.tags if "href" in tag]
    assert {link.removeprefix("#") for link in links} <= {tag.get("id") for _, tag in page.tags}
    loaded = [str(tag["src"]) for _, tag in page.tags if "src" in tag]
    assert len(loaded) >= 15
    assert all(source.startswith("data:image/jpeg;base64,") for source in loaded)
    assert "url(" not in text
    assert not re.search(r"https?://", text)


def test_names_from_strangers(work: Path) -> None:
    sound_folder(Path("data"))
    names = ['<img src=x onerror=alert(1)>&".png', "\nbreak.png", "=1+1.png", "-rf.png"]
    for name in names:
        (Path("data/cat") / name).touch()
    os.close(os.open(b"data/cat/\xff.png", os.O_CREAT))
    result = call("check", "data", "--html", "page.html", "--fix-list", "fix.csv")
    assert result.exit_code == 0
    assert "cat/\\nbreak.png" in result.stdout
    text = Path("page.html").read_text("utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror" in text
    with open("fix.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        paths = {row["path"] for row in csv.DictReader(file)}
    assert paths == {f"cat/{name}" for name in (*names, "\udcff.png")}
    assert call("check", "data", "--json").exit_code == 0


@pytest.mark.parametrize("option", ["--html", "--fix-list"])
@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("data/new.txt", "lies in the data folder"),
        ("link/new.txt", "lies in the data folder"),
        ("there.txt", "exists"),
        ("no/where.txt", "there is no folder"),
    ],
)
def test_files_that_are_not_written(option: str, file: str, says: str, work: Path) -> None:
    sound_folder(Path("data"))
    Path("there.txt").write_text("mine")
    Path("link").symlink_to("data")
    before = contents(Path("data"))
    assert says in error_of(call("check", "data", option, file), 2)
    assert contents(Path("data")) == before
    assert Path("there.txt").read_text() == "mine"


def test_one_file_for_two_results(work: Path) -> None:
    sound_folder(Path("data"))
    assert "both" in error_of(call("check", "data", "--html", "x", "--fix-list", "./x"), 2)


# ---- What training says of it --------------------------------------------------------------------


def test_training_names_copies_in_three_lines(planted: tuple[Path, Planted], work: Path) -> None:
    root = Path("data")
    shutil.copytree(planted[0], root, symlinks=True)
    (root / "train/dog/vast.png").unlink()
    result = call("train", root, *QUICK, "--img-size", 16, "--json")
    assert result.exit_code == 0, result.output
    assert document_of(result)["notes"] == [
        "1 image has several labels, in identical files: train/cat/003.png = "
        "train/dog/or-cat.png. `cpcnn check` lists them.",
        "1 image is trained on, and validated or tested on too: train/cat/002.png = "
        "test/cat/leaked.png. `cpcnn check` lists them.",
        "1 copy of other images: train/cat/001.png = train/cat/again.png. "
        "`cpcnn check` lists them.",
    ]


def test_training_names_small_and_uneven_classes(work: Path) -> None:
    for seed, (name, count) in enumerate({"cat": 30, "dog": 12, "emu": 2}.items()):
        write_pictures(Path("data") / name, count, seed + 1)
    result = call("train", "data", *QUICK, "--val-fraction", 0.01)
    assert (
        "Note: 1 class has few images to train on (emu 1); cat has 29 times the images of emu "
        "(--class-weights)." in result.stderr
    )


def test_training_on_a_sound_folder_says_nothing(work: Path) -> None:
    assert document_of(call("train", sound_folder(Path("data")), *QUICK, "--json"))["notes"] == []


def test_an_image_is_upright_in_the_page(work: Path) -> None:
    """The thumbnails are what training sees."""
    from cpcnn.data.images.thumbnail import thumbnail_jpeg

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 100), "red").save("turned.jpg", exif=exif)
    Path("small.jpg").write_bytes(thumbnail_jpeg(Path("turned.jpg"), 64))
    with Image.open("small.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (32, 64))
