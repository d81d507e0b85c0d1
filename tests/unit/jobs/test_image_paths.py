"""Which files inputs stand for, in which order, and that a list is read as it is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.jobs.image_paths import ImagePath, expand

NAMES = st.sampled_from(["a", "b", "a b", "a.png", "A", "-x", "é", "0", "10", "9.png"])
TREES = st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=12)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def texts(*inputs: str, listed: tuple[str, ...] = ()) -> list[str]:
    return [str(found.path) for found in expand(inputs, listed)]


@given(TREES)
def test_a_folder_stands_for_its_images_sorted_by_path(
    tmp_path_factory: pytest.TempPathFactory, tree: set[tuple[str, ...]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for parts in tree:
        folder = root.joinpath("folders", *parts)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "1.png").touch()
        (folder / "notes.txt").touch()
    (root / "0.JPG").touch()
    images = (path for path in root.rglob("*") if path.suffix in (".png", ".JPG"))
    expected = [ImagePath(path) for path in sorted(filter(Path.is_file, images))]
    assert list(expand([str(root)])) == expected


def test_inputs_keep_their_order() -> None:
    touch("b.png", "a.png", "d/2.png", "d/1.png", "d/0.txt")
    assert texts("b.png", "d", "a.png", "d/0.txt", "b.png") == [
        "b.png",
        "d/1.png",
        "d/2.png",
        "a.png",
        "d/0.txt",
        "b.png",
    ]


def test_patterns() -> None:
    touch("1.png", "2.png", "d/3.png", "d/deep/4.png", "[x].png", "x.png")
    assert texts("[12].png") == ["1.png", "2.png"]
    assert texts("[x].png") == ["[x].png"]
    assert texts("d/*") == ["d/3.png", "d/deep/4.png"]
    assert texts("d/**") == ["d/3.png", "d/deep/4.png"]
    os.symlink("nowhere", "[y].png")
    assert list(expand(["[y].png"])) == [ImagePath(Path("[y].png"))]
    assert list(expand(["*.gif"])) == [ImagePath(Path("*.gif"), "no file matches this pattern")]


def test_a_list_stands_where_it_is_named_and_holds_no_patterns() -> None:
    touch("1.png", "2.png", "d/3.png")
    assert texts("2.png", "-", "1.png", listed=("d", "*.png")) == [
        "2.png",
        "d/3.png",
        "*.png",
        "1.png",
    ]


def test_a_list_is_read_as_it_is_needed() -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        for read in count(1):
            yield f"{read}.png"

    assert len(list(islice(expand(["-"], endless()), 5))) == 5
    assert read == 5


def test_links_in_circles_end() -> None:
    touch("d/1.png")
    os.symlink(".", "d/again")
    os.symlink("..", "d/up")
    os.symlink("self", "d/self")
    assert texts("d") == ["d/1.png"]


def test_a_folder_that_cannot_be_read_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("d/1.png", "d/locked/2.png", "d/z/3.png")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(expand(["d"])) == [
        ImagePath(Path("d/1.png")),
        ImagePath(Path("d/locked"), "cannot read the folder d/locked (Permission denied)"),
        ImagePath(Path("d/z/3.png")),
    ]


def test_what_stands_for_no_image() -> None:
    Path("hollow").mkdir()
    touch("texts/a.txt")
    said = "there is no image in this folder"
    assert list(expand(["hollow", "texts"])) == [
        ImagePath(Path("hollow"), said),
        ImagePath(Path("texts"), said),
    ]
    assert texts("x" * 5000) == ["x" * 5000]
