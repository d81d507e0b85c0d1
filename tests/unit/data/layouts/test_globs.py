"""Patterns of --include and --exclude: what they match, and what scanning makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import DataError, UsageError
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.layouts.globs import Globs


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("*.png", ["1.png", "a/1.png", "a/b/1.png"], ["1.jpg", "a.png.d/1.jpg.x"]),
        ("thumbs", ["thumbs/1.png", "a/thumbs/b/1.png"], ["a/thumbs2/1.png", "thumbs.png"]),
        ("thumbs/", ["thumbs/1.png", "a/thumbs/1.png"], ["a/1.png"]),
        ("a/*.png", ["a/1.png"], ["1.png", "b/a/1.png", "a/b/1.png"]),
        ("/a", ["a/1.png", "a"], ["b/a/1.png"]),
        ("a/**", ["a/1.png", "a/b/1.png"], ["a", "b/a/1.png"]),
        ("**/a/*.png", ["a/1.png", "b/a/1.png", "b/c/a/1.png"], ["a/b/1.png", "1.png"]),
        ("a/**/x.png", ["a/x.png", "a/b/x.png", "a/b/c/x.png"], ["x.png", "a/b/y.png"]),
        ("**", ["1.png", "a/b/1.png"], []),
        ("./a/b", ["a/b/1.png"], ["a/1.png"]),
        ("?.png", ["1.png", "a/1.png"], ["12.png"]),
        ("[a-c]*.png", ["b1.png", "x/c.png"], ["d.png"]),
        ("[!a-c]*.png", ["d.png"], ["b1.png"]),
        ("[.png", ["[.png"], ["a.png"]),
        ("a*/1.png", ["a/1.png", "ab/1.png"], ["a/b/1.png"]),
        ("é.png", ["e\u0301.png", "\u00e9.png"], ["e.png"]),
        ("a\nb", ["a\nb/1.png"], ["a/b"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, matched: list[str], others: list[str]) -> None:
    for name in matched:
        assert Globs([pattern]).keep(name)
        assert not Globs([], [pattern]).keep(name)
    for name in others:
        assert not Globs([pattern]).keep(name)
        assert Globs([], [pattern]).keep(name)


@pytest.mark.parametrize("pattern", ["", "/", ".", "./", "..", "a/../b"])
def test_patterns_that_match_nothing(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"--exclude is .* which matches no file"):
        Globs([], [pattern])


NAMES = st.text("ab*?[]!-.é", min_size=1, max_size=4).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(path=PATHS)
def test_a_plain_path_matches_itself_and_all_that_is_in_it(path: str) -> None:
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in path)
    globs = Globs([f"/{escaped}"])
    assert globs.keep(path)
    assert globs.keep(f"{path}/x/y")
    assert not globs.keep(f"x/{path}")


@given(path=PATHS, patterns=st.lists(NAMES, max_size=3), more=st.lists(NAMES, max_size=3))
def test_exclude_goes_before_include_and_order_does_not_matter(
    path: str, patterns: list[str], more: list[str]
) -> None:
    kept = Globs(patterns, more).keep(path)
    assert kept == Globs(patterns[::-1], more[::-1]).keep(path)
    assert kept == (Globs(patterns).keep(path) and Globs([], more).keep(path))
    if Globs([], more).excludes(path.rpartition("/")[0] or "x"):
        assert path.count("/") == 0 or not Globs([], more).keep(path)


# ---- Folders -------------------------------------------------------------------------------------


def plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


FILES = ("cat/1.png", "cat/1_mask.png", "cat/thumbs/2.png", "dog/1.png", "dog/1.jpg", "eel/1.png")


def names(root: Path, **options: list[str]) -> list[str]:
    folder = scan_folder(root, training=False, **options)
    return [s.path.relative_to(root).as_posix() for p in folder.splits.values() for s in p]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"exclude": ["*_mask.png"]}, "cat/1.png cat/thumbs/2.png dog/1.jpg dog/1.png eel/1.png"),
        ({"exclude": ["thumbs", "eel"]}, "cat/1.png cat/1_mask.png dog/1.jpg dog/1.png"),
        ({"include": ["*.jpg"]}, "dog/1.jpg"),
        (
            {"include": ["cat/**", "dog/*.png"], "exclude": ["thumbs"]},
            "cat/1.png cat/1_mask.png dog/1.png",
        ),
    ],
)
def test_files_that_are_left(tmp_path: Path, options: dict[str, list[str]], left: str) -> None:
    assert names(plant(tmp_path, *FILES), **options) == left.split()


def test_what_is_left_out_is_counted_and_classes_without_images_go(tmp_path: Path) -> None:
    folder = scan_folder(plant(tmp_path, *FILES), include=["cat", "dog"], exclude=["*.gif", "eel"])
    assert folder.classes == ("cat", "dog")
    assert folder.unmatched == ("--exclude '*.gif'",)
    assert dict(folder.ignored) == {tmp_path / "eel": "excluded"}
    folder = scan_folder(tmp_path, include=["cat", "dog"])
    assert (folder.left_out, folder.classes) == (1, ("cat", "dog"))
    (tmp_path / "fox").mkdir()
    with pytest.raises(DataError, match="1 class has no image to train on: fox"):
        scan_folder(tmp_path, include=["cat", "dog"])


def test_leaving_out_everything_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave out all of the 6 images in"):
        scan_folder(plant(tmp_path, *FILES), include=["*.gif"])
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/1.png,a\ndog/1.png,b\n")
    assert names(tmp_path, exclude=["dog"]) == ["cat/1.png"]
    with pytest.raises(DataError, match="leave out all of"):
        scan_folder(tmp_path, exclude=["*.png"])


def test_splits_can_be_left_out(tmp_path: Path) -> None:
    plant(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png")
    assert list(scan_folder(tmp_path, exclude=["val"]).splits) == ["train"]
    assert list(scan_folder(tmp_path, exclude=["/val/a"]).splits) == ["train", "validation"]
