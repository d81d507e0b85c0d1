"""Tables in every format, in split folders, and as a list of images that is itself the data."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import DataError
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.layouts.image_folder import ImageFolder
from cpcnn.data.layouts.metadata import read_table
from cpcnn.data.layouts.table_files import open_table
from cpcnn.data.splits.grouping import choose_grouping, group_images

Rows = Sequence[dict[str, Any]]


def write_csv(path: Path, rows: Rows) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), "utf-8", newline="")


def write_jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_parquet(path: Path, rows: Rows) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}
FORMATS = pytest.mark.parametrize("extension", WRITERS)


def plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def labels(folder: ImageFolder) -> dict[str, dict[str, str]]:
    return {
        split: {sample.name_in(folder.root): sample.label for sample in samples}
        for split, samples in folder.splits.items()
    }


def refusal(data: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        scan_folder(data, **options)
    return f"{caught.value.message} {caught.value.suggestion}"


NAMES = st.text(st.characters(exclude_characters="/\\\0:", exclude_categories=["Cs"]), min_size=1)
CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@FORMATS
@given(rows=st.dictionaries(NAMES, st.tuples(CELLS, st.text("ab ,\"'\n")), min_size=1, max_size=6))
def test_every_cell_comes_back(
    tmp_path_factory: pytest.TempPathFactory, extension: str, rows: dict[str, tuple[str, str]]
) -> None:
    def nfc(text: str) -> str:
        return unicodedata.normalize("NFC", text)

    rows = {
        nfc(name): (nfc(label.strip()), group.strip())
        for name, (label, group) in rows.items()
        if name.strip(" .") and name.strip() and label.strip()
    }
    if not rows:
        return
    root = tmp_path_factory.mktemp("table")
    written = [{"file_name": n, "label": c, "group": g} for n, (c, g) in rows.items()]
    WRITERS[extension](root / f"metadata{extension}", written)
    table = read_table(root)
    assert table is not None
    assert table.columns == ("file_name", "label", "group")
    found = {name: (row.cells["label"], row.cells["group"]) for name, row in table.rows.items()}
    assert found == rows
    assert [row.line for row in table.rows.values()] == sorted(
        row.line for row in table.rows.values()
    )


@FORMATS
def test_a_folder_reads_the_same_from_every_format(tmp_path: Path, extension: str) -> None:
    root = plant(tmp_path, "1.png", "in/2.png", "in/3.png", "4.png")
    rows = [
        {"file_name": "1.png", "label": 7, "patient": 1, "split": "train"},
        {"file_name": "in/2.png", "label": 10, "patient": 1, "split": "val"},
        {"file_name": "in/3.png", "label": 10, "patient": 2, "split": "train"},
    ]
    WRITERS[extension](root / f"metadata{extension}", rows)
    folder = scan_folder(root)
    assert labels(folder) == {
        "train": {"in/3.png": "10", "1.png": "7"},
        "validation": {"in/2.png": "10"},
    }
    assert dict(folder.ignored) == {root / "4.png": f"not in metadata{extension}"}
    grouping = choose_grouping(folder, "patient")
    assert grouping is not None
    assert grouping.source == f"the column patient of metadata{extension}"
    grouped, _ = group_images(folder, grouping)
    assert {s.group for s in grouped.splits["train"]} == {"1", "2"}
    names = choose_grouping(folder, "file_name|png")
    assert names is not None


@FORMATS
def test_numbers_and_gaps(tmp_path: Path, extension: str) -> None:
    if extension == ".csv":
        pytest.skip("all is text there")
    root = plant(tmp_path, "1.png", "2.png")
    rows = [
        {"file_name": "1.png", "label": 3.0, "group": None, "box": [1, 2], "ok": True},
        {"file_name": "2.png", "label": 4.0, "group": "g", "box": [3], "ok": False},
    ]
    WRITERS[extension](root / f"metadata{extension}", rows)
    table = read_table(root)
    assert table is not None
    assert "box" not in table.columns
    cells = [dict(row.cells) for row in table.rows.values()]
    assert cells == [
        {"label": "3", "group": "", "ok": "true"},
        {"label": "4", "group": "g", "ok": "false"},
    ]


def test_lines_of_json_may_have_different_keys(tmp_path: Path) -> None:
    plant(tmp_path, "1.png", "2.png", "3.png")
    lines = [
        '{"file_name": "1.png", "label": "a"}',
        "",
        '{"file_name": "2.png", "label": "b", "group": "g"}',
        '{"label": "b", "file_name": "3.png"}',
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    table = read_table(tmp_path)
    assert table is not None
    assert [(row.line, row.cells["group"]) for row in table.rows.values()] == [
        (1, ""),
        (3, "g"),
        (4, ""),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: it is no JSON (Expecting property name"),
        ("[1]", "line 2: it is no JSON object"),
        ('"text"', "line 2: it is no JSON object"),
        ("[" * 100_000, "line 2: it is no JSON (maximum recursion"),
        ('{"file_name": 1' + "0" * 5000 + "}", "line 2: it is no JSON (Exceeds the limit"),
        ('{"label": "b"}', "line 2: it names no file"),
        ('{"file_name": "2.png"}', "line 2: it has no label"),
        ('{"file_name": "2.png", "label": ["b"]}', "line 2: it has no label"),
        ('{"file_name": "../2.png", "label": "b"}', "line 2: '../2.png' leads out of the folder"),
        ('{"file_name": "1.png", "label": "b"}', "line 2: '1.png' stands in line 1 already"),
        ('{"file_name": "\\ud800.png", "label": "b"}', "line 2: '\\ud800.png' is not there"),
        ('{"file_name": "2.png", "label": "\\ud800"}', "has control characters"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path: Path, line: str, message: str) -> None:
    root = plant(tmp_path, "1.png", "2.png")
    (root / "metadata.jsonl").write_text('{"file_name": "1.png", "label": "a"}\n' + line + "\n")
    assert message in refusal(root)


def test_a_damaged_first_line_is_not_passed_over(tmp_path: Path) -> None:
    (plant(tmp_path, "a/1.png", "b/1.png") / "metadata.jsonl").write_text("{file_name}\n")
    assert "metadata.jsonl, line 1: it is no JSON" in refusal(tmp_path)


def test_two_tables(tmp_path: Path) -> None:
    root = plant(tmp_path, "1.png")
    write_csv(root / "metadata.csv", [{"file_name": "1.png", "label": "a"}])
    write_jsonl(root / "metadata.jsonl", [{"file_name": "1.png", "label": "a"}])
    assert "has two tables: metadata.csv and metadata.jsonl. Keep one" in refusal(root)
    (root / "metadata.csv").write_text("id\n1\n")
    assert labels(scan_folder(root, training=False)) == {"all": {"1.png": "a"}}


def test_parquet_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root = plant(tmp_path, "1.png")
    for content in (b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"):
        (root / "metadata.parquet").write_bytes(content)
        assert "metadata.parquet cannot be read as a Parquet file" in refusal(root)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (plant(tmp_path, "1.png") / "metadata.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert 'pip install "cpcnn[parquet]"' in refusal(tmp_path)


def test_no_table_is_none(tmp_path: Path) -> None:
    assert [open_table(tmp_path / f"metadata{end}") for end in WRITERS] == [None] * 3


# ---- Split folders -------------------------------------------------------------------------------


@FORMATS
def test_tables_in_split_folders(tmp_path: Path, extension: str) -> None:
    root = plant(tmp_path, "train/1.png", "train/x/2.png", "train/no.png", "test/1.png")
    rows = [
        {"file_name": "1.png", "label": "a", "patient": "p"},
        {"file_name": "x/2.png", "label": "b", "patient": "q"},
    ]
    WRITERS[extension](root / f"train/metadata{extension}", rows)
    WRITERS[extension](root / f"test/metadata{extension}", rows[:1])
    folder = scan_folder(root)
    assert labels(folder) == {
        "train": {"train/1.png": "a", "train/x/2.png": "b"},
        "test": {"test/1.png": "a"},
    }
    assert dict(folder.ignored) == {root / "train/no.png": f"not in metadata{extension}"}
    grouping = choose_grouping(folder, "patient")
    assert grouping is not None
    grouped, notes = group_images(folder, grouping)
    assert [s.group for s in grouped.splits["train"]] == ["p", "q"]
    assert [s.group for s in grouped.splits["test"]] == ["p"]
    assert "1 group has images to train on and others in another split" in notes[1]


def test_a_table_in_one_split_and_class_folders_in_another(tmp_path: Path) -> None:
    root = plant(tmp_path, "train/a/1.png", "train/b/1.png", "val/1.png")
    write_csv(root / "val/metadata.csv", [{"file_name": "1.png", "label": "b"}])
    assert labels(scan_folder(root)) == {
        "train": {"train/a/1.png": "a", "train/b/1.png": "b"},
        "validation": {"val/1.png": "b"},
    }


# ---- Lists ---------------------------------------------------------------------------------------


@FORMATS
def test_a_list_is_data(tmp_path: Path, extension: str) -> None:
    root = plant(tmp_path / "lists", "in/1.png", "2.img", "in/a/3.png", "not.png")
    outside = plant(tmp_path / "other", "4.png", "5.png")
    rows = [
        {"path": "in/1.png", "class": "a", "split": "train"},
        {"path": "./in/a//3.png", "class": "a", "split": "train"},
        {"path": "2.img", "class": "b", "split": "train"},
        {"path": "../other/4.png", "class": "b", "split": "test"},
        {"path": str(outside / "5.png"), "class": "a", "split": "test"},
    ]
    WRITERS[extension](root / f"list{extension}", rows)
    folder = scan_folder(root / f"list{extension}")
    assert (folder.root, folder.source) == (root, root / f"list{extension}")
    assert labels(folder) == {
        "train": {"in/1.png": "a", "in/a/3.png": "a", "2.img": "b"},
        "test": {str(outside / "5.png"): "a", "../other/4.png": "b"},
    }
    assert all(s.path.is_file() for part in folder.splits.values() for s in part)
    assert folder.ignored == ()
    left = scan_folder(root / f"list{extension}", training=False, exclude=["in", "/../other"][:1])
    assert labels(left)["train"] == {"2.img": "b"}
    assert left.left_out == 2


def test_a_list_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "1.png", "in/2.png")
    monkeypatch.chdir(tmp_path)
    write_csv(
        Path("list.csv"), [{"file": "1.png", "label": "a"}, {"file": "in/2.png", "label": "b"}]
    )
    folder = scan_folder("list.csv")
    assert [s.path for s in folder.splits["all"]] == [Path("1.png"), Path("in/2.png")]
    assert scan_folder("list.csv") == folder
    write_csv(Path("metadata.csv"), [{"file_name": "1.png", "label": "a"}])
    here = scan_folder(".", training=False)
    assert [s.path for s in here.splits["all"]] == [Path("1.png")]


def test_absolute_names_in_the_folder_of_the_list_are_relative_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "1.png", "2.png")
    monkeypatch.chdir(tmp_path)
    rows = [{"path": str(tmp_path / "1.png"), "label": "a"}, {"path": "2.png", "label": "b"}]
    write_csv(Path("list.csv"), rows)
    for data in (Path("list.csv"), tmp_path / "list.csv"):
        assert labels(scan_folder(data))["all"] == {"1.png": "a", "2.png": "b"}
    write_csv(Path("list.csv"), [*rows, {"path": "1.png", "label": "a"}])
    assert "line 4: '1.png' stands in line 2 already" in refusal(Path("list.csv"))


def test_names_in_any_unicode_form_are_found(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "é") + ".png" for form in ("NFC", "NFD")]
    for name in names:
        plant(tmp_path, f"{len(name)}/{name}")
    rows = [{"path": f"{len(name)}/{name}", "label": str(len(name))} for name in names]
    write_csv(tmp_path / "list.csv", rows)
    folder = scan_folder(tmp_path / "list.csv")
    assert sorted(s.path.name for s in folder.splits["all"]) == sorted(names)
    assert all(s.path.is_file() for s in folder.splits["all"])
    assert folder.table is not None
    assert all(folder.table.row(s.path) is not None for s in folder.splits["all"])


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    plant(tmp_path, name, "2.png")
    (tmp_path / "list.csv").write_bytes(b"file_name,label\ncaf\xe9.png,a\n2.png,b\n")
    folder = scan_folder(tmp_path / "list.csv")
    assert folder.splits["all"][0].path == tmp_path / name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,label\n9.png,a\n", "list.csv: 1 row cannot be used: line 2: '9.png' is not"),
        ("file_name,label\nin,a\n", "line 2: 'in' is a folder"),
        ("file_name,label\npipe,a\n", "line 2: 'pipe' is not a regular file"),
        ("file_name,label\na\0b,a\n", "line 2: 'a\\x00b' is no name of a file"),
        ("file_name,label\n" + "x" * 5000 + ",a\n", "cannot be read (File name too long)"),
        ("file_name,label\n ,a\n", "line 2: it names no file"),
        ("file_name,label\n1.png,\n", "line 2: it has no label"),
        ("file_name,label\n1.png,a\n./1.png,b\n", "line 3: './1.png' stands in line 2 already"),
        ("file_name,label\n", "names no image"),
        ("1.png,a\n", "is no list of images: list.csv has no column file_name and label"),
        ("", "has no column file_name and label (it has: none)"),
        ("path,lable\n1.png,a\n", "Did you mean 'lable'?"),
        ("path,file,label\n1.png,1.png,a\n", "has two columns 'file_name'"),
        ("path,label,split\n1.png,a,holdout\n", "the split 'holdout' is none of"),
        ("path,label\n1.png,a\n", "1 class found in"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    plant(tmp_path, "1.png", "in/2.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "list.csv").write_text(text)
    assert message in refusal(tmp_path / "list.csv")
