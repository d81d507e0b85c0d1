"""metadata.csv: labels, groups and splits from a table, and what may be wrong with it."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import DataError
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.layouts.metadata import read_table


def write(root: Path, table: str | bytes, *images: str) -> Path:
    """Write a table and empty image files; nothing here opens an image."""
    (root / "metadata.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def labels_of(root: Path, **options: bool) -> Mapping[str, dict[str, str]]:
    folder = scan_folder(root, **options)
    return {
        split: {s.path.relative_to(root).as_posix(): s.label for s in samples}
        for split, samples in folder.splits.items()
    }


def refusal(root: Path, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        scan_folder(root, **options)
    return f"{caught.value.message} {caught.value.suggestion}"


TABLE = "file_name,label\n1.png,cat\nin/2.png,dog\n"


# ---- What it says -------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["file_name,label", "filename,class", " file_name , label "])
def test_labels_come_from_the_table(tmp_path: Path, header: str) -> None:
    table = TABLE.replace("file_name,label", header)
    root = write(tmp_path, table, "1.png", "in/2.png", "cat/3.png", "notes.txt")
    folder = scan_folder(root)
    assert labels_of(root) == {"all": {"1.png": "cat", "in/2.png": "dog"}}
    assert folder.classes == ("cat", "dog")
    assert dict(folder.ignored) == {
        root / "cat/3.png": "not in metadata.csv",
        root / "notes.txt": "not an image (.txt)",
    }


def test_samples_are_sorted_by_class_and_path(tmp_path: Path) -> None:
    root = write(
        tmp_path, "file_name,label\n1.png,b\n2.png,a\n3.png,b\n", "1.png", "2.png", "3.png"
    )
    assert list(labels_of(root)["all"].items()) == [("2.png", "a"), ("1.png", "b"), ("3.png", "b")]


def test_splits_come_from_the_table_under_all_their_names(tmp_path: Path) -> None:
    table = "label,split,file_name\na,train,1.png\nb,Training,2.png\na,val,3.png\nb,test,4.png\n"
    root = write(tmp_path, table, *(f"{number}.png" for number in (1, 2, 3, 4)))
    assert labels_of(root) == {
        "train": {"1.png": "a", "2.png": "b"},
        "validation": {"3.png": "a"},
        "test": {"4.png": "b"},
    }


def test_folders_give_the_classes_that_the_table_does_not(tmp_path: Path) -> None:
    table = "file_name,patient,split\na/1.png,x,train\na/2.png,y,val\nb/3.png,z,train\n"
    root = write(tmp_path, table, "a/1.png", "a/2.png", "b/3.png", "b/4.png")
    folder = scan_folder(root)
    assert labels_of(root) == {
        "train": {"a/1.png": "a", "b/3.png": "b"},
        "validation": {"a/2.png": "a"},
    }
    assert dict(folder.ignored) == {root / "b/4.png": "not in metadata.csv"}
    assert folder.table is not None
    row = folder.table.row(root / "a/2.png")
    assert row is not None
    assert (row.line, row.cells["patient"]) == (3, "y")


def test_any_other_table_is_a_file_like_any_other(tmp_path: Path) -> None:
    root = write(tmp_path, "id,name\n1,cat\n", "a/1.png", "b/2.png")
    assert labels_of(root) == {"all": {"a/1.png": "a", "b/2.png": "b"}}
    assert dict(scan_folder(root).ignored) == {root / "metadata.csv": "not an image (.csv)"}
    root = write(tmp_path, "file_name,label\na/1.png,x\nb/2.png,y\n")
    assert labels_of(root)["all"] == {"a/1.png": "x", "b/2.png": "y"}
    assert labels_of(root, use_table=False)["all"] == {"a/1.png": "a", "b/2.png": "b"}


@pytest.mark.parametrize(
    "table",
    [
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\r\n"),
        "\n\n" + TABLE.replace("1.png", "./1.png"),
        TABLE.replace("1.png,cat", '"1.png"," cat "'),
    ],
)
def test_forms_of_the_same_table(tmp_path: Path, table: str) -> None:
    root = write(tmp_path, table, "1.png", "in/2.png")
    assert labels_of(root) == {"all": {"1.png": "cat", "in/2.png": "dog"}}


def test_unicode_forms_are_one(tmp_path: Path) -> None:
    composed, split = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    table = f"file_name,label\n{composed}.png,{split}\n2.png,{composed}\n"
    root = write(tmp_path, table, f"{split}.png", "2.png")
    assert set(labels_of(root, training=False)["all"].values()) == {composed}


NAMES = st.text(st.characters(exclude_characters="/\\\0:", exclude_categories=["Cs"]), min_size=1)
LABELS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(rows=st.dictionaries(NAMES, LABELS, min_size=1, max_size=6))
def test_every_quoted_cell_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, str]
) -> None:
    rows = {
        unicodedata.normalize("NFC", name): unicodedata.normalize("NFC", label.strip())
        for name, label in rows.items()
        if name.strip(" .") and name.strip() and label.strip()
    }
    text = io.StringIO()
    csv.writer(text).writerows([("file_name", "label"), *rows.items()])
    root = tmp_path_factory.mktemp("table")
    (root / "metadata.csv").write_text(text.getvalue(), "utf-8", newline="")
    table = read_table(root)
    assert table is not None
    assert {name: row.cells["label"] for name, row in table.rows.items()} == rows


# ---- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("9.png,cat", "1 row cannot be used: line 4: '9.png' is not there."),
        (".x.png,cat", "line 4: '.x.png' is passed over: hidden"),
        (".git/x.png,cat", "line 4: '.git/x.png' is passed over: hidden"),
        ("x.txt,cat", "line 4: 'x.txt' is passed over: not an image (.txt)"),
        ("1.png,cat", "line 4: '1.png' stands in line 2 already"),
        ("./in//2.png,cat", "line 4: './in//2.png' stands in line 3 already"),
        ("../1.png,cat", "line 4: '../1.png' leads out of the folder"),
        ("in/../../1.png,cat", "leads out of the folder"),
        ("/etc/1.png,cat", "line 4: '/etc/1.png' leads out of the folder"),
        ("C:\\1.png,cat", "leads out of the folder"),
        ("..\\1.png,cat", "leads out of the folder"),
        (" ,cat", "line 4: it names no file"),
        ("3.png,", "line 4: it has no label"),
        ("3.png,  ", "line 4: it has no label"),
        ('3.png,"a\tb"', r"line 4: the label 'a\tb' has control characters"),
        ("3.png", "line 4: it has 1 cell, the first line has 2"),
        ("3.png,cat,x", "the first line has 2. Correct them, or take them out."),
        ("3.png,cat,x", "line 4: it has 3 cells, the first line has 2"),
        ('3.png,"cat', "line 4: it is no CSV (unexpected end of data)"),
        ('3.png,"cat"s', "line 4: it is no CSV"),
        (
            "\n".join(f"{number}.png,cat" for number in range(10, 17)),
            "7 rows cannot be used: line 4: '10.png' is not there; line 5: '11.png' is not there; "
            "line 6: '12.png' is not there; line 7: '13.png' is not there; "
            "line 8: '14.png' is not there; and 2 more.",
        ),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, lines: str, message: str) -> None:
    images = ("1.png", "in/2.png", "3.png", ".x.png", ".git/x.png", "x.txt")
    root = write(tmp_path, TABLE + lines + "\n", *images)
    refused = refusal(root)
    assert f"{root}/metadata.csv" in refused
    assert message in refused


def test_labels_that_are_not_utf_8(tmp_path: Path) -> None:
    root = write(tmp_path, "file_name,label\n1.png,café\n".encode("latin-1"), "1.png")
    assert r"line 2: the label 'caf\udce9' has control characters or bytes" in refusal(root)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file_name,lable\n1.png,a\n", "no column label (it has: 'file_name', 'lable'). Did you"),
        ("name,label\n", "no column file_name (it has: 'name', 'label'). Did you mean 'name'?"),
        ("file_name;label\n1.png;a\n", "no column file_name and label"),
        ("file_name;label\n1.png;a\n", "Its cells must be separated by commas."),
        ("", "no column file_name and label (it has: none)."),
        ("file_name,label,class\n", "has two columns 'label'"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, table: str, message: str) -> None:
    assert message in refusal(write(tmp_path, table, "1.png", "2.png"))


def test_a_table_without_images(tmp_path: Path) -> None:
    assert "metadata.csv names no image" in refusal(write(tmp_path, "file_name,label\n", "1.png"))


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*metadata\.csv"):
        scan_folder(tmp_path)


@pytest.mark.parametrize("name", ["", "holdout", "train2"])
def test_splits_that_mean_nothing(tmp_path: Path, name: str) -> None:
    root = write(tmp_path, f"file_name,label,split\n1.png,a,{name}\n", "1.png")
    assert f"line 2: the split {name!r} is none of train, validation, test" in refusal(root)


def test_a_folder_that_is_split_twice(tmp_path: Path) -> None:
    table = "file_name,split\ntrain/a/1.png,train\ntrain/b/1.png,train\n"
    root = write(tmp_path, table, "train/a/1.png", "train/b/1.png")
    assert "is split twice: by its folders and by the column split" in refusal(root)


def test_what_cannot_be_trained_on(tmp_path: Path) -> None:
    root = write(tmp_path, "file_name,label,split\n1.png,a,test\n2.png,b,val\n", "1.png", "2.png")
    assert "marks images as validation and test, but none as train" in refusal(root)
    assert set(labels_of(root, training=False)) == {"validation", "test"}
    write(root, "file_name,label\n1.png,a\n2.png,a\n")
    assert "1 class found in" in refusal(root)
    write(root, "file_name,label,split\n1.png,a,train\n2.png,b,test\n")
    assert "1 class has no image in the train split to train on: b" in refusal(root)
    assert set(labels_of(root, allow_empty_classes=True)) == {"train", "test"}


def test_a_table_in_a_split_folder_belongs_above(tmp_path: Path) -> None:
    root = write(tmp_path, "", "train/1.png", "train/2.png")
    (root / "metadata.csv").rename(root / "train/metadata.csv")
    assert f"Move its metadata.csv up to {root}, with names like train/1.png" in refusal(root)


def test_links_out_of_the_folder_are_followed_as_in_class_folders(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "2.png").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "in").symlink_to(outside)
    write(root, TABLE, "1.png")
    assert labels_of(root) == {"all": {"1.png": "cat", "in/2.png": "dog"}}
