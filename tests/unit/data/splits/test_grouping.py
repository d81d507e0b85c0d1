"""Groups: from a pattern in the path, or from a column of metadata.csv."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from cpcnn.core.errors import UsageError
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.layouts.image_folder import ImageFolder
from cpcnn.data.splits.grouping import choose_grouping, group_images


def plant_files(root: Path, *names: str, table: str | None = None) -> ImageFolder:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if table is not None:
        (root / "metadata.csv").write_text(table, "utf-8")
    return scan_folder(root)


def groups(folder: ImageFolder, by: str | None) -> tuple[dict[str, str], tuple[str, ...]]:
    grouping = choose_grouping(folder, by)
    assert grouping is not None
    grouped, notes = group_images(folder, grouping)
    names = {
        sample.path.relative_to(folder.root).as_posix(): sample.group
        for part in grouped.splits.values()
        for sample in part
    }
    return names, notes


TRACKS = ("a/t1_0.png", "a/t1_1.png", "a/t2_0.png", "b/t2_9.png", "b/other.png")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"t\d+", ["", "t1", "t1", "t2", "t2"]),
        (r"t(\d+)_", ["", "1", "1", "2", "2"]),
        (r"t(\d+)_(\d+)", ["", "1", "1", "2", "2"]),
        (r"(x)?t\d", ["", "t1", "t1", "t2", "t2"]),  # a group that took no part: the whole match
        (r"^(.)/t2", ["", "", "", "a", "b"]),
        (r"x*", None),
        (r"nowhere", None),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[str] | None) -> None:
    folder = plant_files(tmp_path, *TRACKS)
    if found is None:
        with pytest.raises(UsageError, match="matches the path of no image") as caught:
            groups(folder, pattern)
        assert "paths like 'a/t1_0.png'" in caught.value.suggestion
        return
    names, notes = groups(folder, pattern)
    assert [names[name] for name in ("b/other.png", *TRACKS[:-1])] == found
    alone = found.count("")
    number = len(set(found) - {""})
    assert notes[0].startswith(f"{number} groups by the pattern '{pattern}'; {alone} image")


def test_what_stands_alone_is_named(tmp_path: Path) -> None:
    folder = plant_files(tmp_path, "a/t1.png", "b/t2.png", *(f"a/{n}.png" for n in range(4)))
    _, notes = groups(folder, r"t\d")
    assert notes == (
        r"2 groups by the pattern 't\d'; "
        "4 images have none and stand alone (0.png, 1.png, 2.png and 1 more).",
    )


def test_patterns_see_one_unicode_form(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    for form in forms:
        folder = plant_files(tmp_path / str(len(form)), f"a/{form}1.png", f"b/{form}2.png")
        for pattern in forms:
            names, _ = groups(folder, pattern)
            assert set(names.values()) == {forms[0]}


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    folder = plant_files(tmp_path, *TRACKS)
    with pytest.raises(UsageError, match=r"--group-by 't\(' is no regular expression: missing \)"):
        choose_grouping(folder, "t(")


TABLE = """file_name,group,patient,label
1.png,g1,p1,a
2.png,g1,p2,b
3.png,,p2,a
"""


def test_columns(tmp_path: Path) -> None:
    folder = plant_files(tmp_path, "1.png", "2.png", "3.png", table=TABLE)
    names, notes = groups(folder, "patient")
    assert names == {"1.png": "p1", "2.png": "p2", "3.png": "p2"}
    assert notes == ("2 groups by the column patient of metadata.csv.",)
    for by in (None, "group"):
        names, notes = groups(folder, by)
        assert names == {"1.png": "g1", "2.png": "g1", "3.png": ""}
        assert "1 image has none and stand" in notes[0]
    with pytest.raises(UsageError, match="matches the path of no image") as caught:
        choose_grouping(folder, "patients")
    assert "columns of metadata.csv are file_name, group, patient, label" in caught.value.suggestion
    assert groups(folder, r"\d")[0] == {"1.png": "1", "2.png": "2", "3.png": "3"}


def test_files_without_a_row_stand_alone(tmp_path: Path) -> None:
    table = "file_name,group\na/1.png,g\nb/2.png,g\n"
    folder = plant_files(tmp_path, "a/1.png", "b/2.png", "b/3.png", table=table)
    assert groups(folder, None)[0] == {"a/1.png": "g", "b/2.png": "g", "b/3.png": ""}


def test_no_grouping_unless_asked_for(tmp_path: Path) -> None:
    assert choose_grouping(plant_files(tmp_path, *TRACKS)) is None


def test_groups_that_the_folders_tear_apart_are_named(tmp_path: Path) -> None:
    splits = ("train/a/t1_0.png", "train/b/t2_0.png", "test/a/t1_1.png", "test/b/t3_0.png")
    folder = plant_files(tmp_path, *splits, "val/a/t9.png", "val/b/t3.png")
    names, notes = groups(folder, r"t\d")
    assert names["test/a/t1_1.png"] == "t1"
    assert notes[1:] == (
        "1 group has images to train on and others in another split of the data folder (t1): "
        "that split is easier than new images are.",
    )
