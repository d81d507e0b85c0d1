"""`cpcnn predict`: which files, in which order, with which exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cpcnn_cli.main import main

from .conftest import call, document_of, error_of, write_images


@pytest.fixture
def photos(run: Path) -> Path:
    folder = Path("photos")
    write_images(folder, 3, level=60)
    write_images(folder / "more", 2, level=120)
    return folder


def paths_of(output: str) -> list[str]:
    return [line.split("\t")[0] for line in output.splitlines()]


def test_a_line_for_each_image_in_the_order_given(photos: Path) -> None:
    result = call("predict", photos / "002.png", photos / "000.png")
    assert result.exit_code == 0, result.output
    assert paths_of(result.stdout) == ["photos/002.png", "photos/000.png"]
    name, probability = result.stdout.splitlines()[0].split("\t")[1:]
    assert name in ("bus", "car", "van")
    assert 0 < float(probability) <= 1


def test_the_model_may_be_named(run: Path, photos: Path) -> None:
    expected = call("predict", photos).stdout
    assert call("predict", run, photos).stdout == expected
    assert call("predict", run / "best.cpcnn", photos).stdout == expected
    assert call("predict", photos, "--model", run).stdout == expected
    archive = shutil.copy(run / "best.cpcnn", "model.png")
    assert call("predict", archive, photos).stdout == expected
    both = call("predict", "--model", run, run / "best.cpcnn")
    assert "is not a readable image" in both.stdout


def test_folders_and_patterns_are_expanded(photos: Path) -> None:
    assert paths_of(call("predict", photos).stdout) == [
        "photos/000.png",
        "photos/001.png",
        "photos/002.png",
        "photos/more/000.png",
        "photos/more/001.png",
    ]
    matches = call("predict", "photos/00[12].png")
    assert paths_of(matches.stdout) == ["photos/001.png", "photos/002.png"]


def test_what_is_no_image_gets_a_line_that_says_so(photos: Path) -> None:
    (photos / "bad\x1b[2J.png").write_bytes(b"x")
    Path("hollow").mkdir()
    os.mkfifo("pipe.png")
    result = call(
        "predict", photos / "000.png", "gone.png", "no*.png", "hollow", "pipe.png", photos
    )
    assert result.exit_code == 0
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert "\x1b" not in result.output
    assert len(lines) == 11
    assert lines[1][1].startswith("error: it cannot be opened")
    assert lines[2][1] == "error: no file matches this pattern"
    assert lines[3][1] == "error: there is no image in this folder"
    assert lines[4][1] == "error: it is not a regular file"
    assert result.stderr.splitlines()[-1] == "5 images could not be read."


def test_the_exit_code_is_3_when_no_image_could_be_read(photos: Path) -> None:
    for arguments in (("gone.png",), ("gone.png", "no*.png", "--json")):
        result = call("predict", *arguments)
        assert result.exit_code == 3
        assert "error" in result.stdout


def test_a_bad_image_can_be_an_error(photos: Path) -> None:
    result = call("predict", photos / "000.png", "gone.png", "--on-error", "fail")
    assert "gone.png: it cannot be opened (No such file or directory)." in error_of(result, 3)
    assert paths_of(result.stdout) == ["photos/000.png"]


def test_people_see_device_and_model(photos: Path) -> None:
    (photos.parent / "runs/simple-1/best.cpcnn").unlink()
    result = call("predict", photos)
    device, model, note = result.stderr.splitlines()
    assert device.startswith("Device: ")
    assert model == "Model:  runs/simple-1/last.cpcnn"
    assert note == "Note: runs/simple-1 has no best.cpcnn: using last.cpcnn."
    assert call("predict", photos, "--quiet").stderr == ""


def test_several_classes(photos: Path) -> None:
    cells = call("predict", "--top", 2, photos / "000.png").stdout.strip().split("\t")
    assert len(cells) == 5
    assert float(cells[2]) >= float(cells[4])
    assert len(call("predict", "-k", 9, photos / "000.png").stdout.split("\t")) == 7


def test_batches_and_threads_change_nothing(photos: Path) -> None:
    expected = call("predict", photos).stdout
    assert call("predict", "-b", 2, "-j", 0, photos).stdout == expected


def test_predict_agrees_with_eval(run: Path, images: Path) -> None:
    assert call("eval").exit_code == 0
    kept = [line.split(",") for line in (run / "predictions.csv").read_text().splitlines()[1:]]
    result = call("predict", images / "test")
    seen = {line.split("\t")[0]: line.split("\t")[1] for line in result.stdout.splitlines()}
    assert {str(images / row[0]): row[2] for row in kept} == seen


def test_json(photos: Path) -> None:
    result = call("predict", "--json", "--top", 3, photos / "000.png", "gone.png")
    assert result.exit_code == 0
    assert result.stderr == ""
    document = document_of(result)
    assert document["model"] == "runs/simple-1/best.cpcnn"
    assert (document["images"], document["bad_images"]) == (2, 1)
    first, second = document["predictions"]
    assert sorted(entry["class"] for entry in first["predictions"]) == ["bus", "car", "van"]
    assert sum(entry["probability"] for entry in first["predictions"]) == pytest.approx(1, abs=1e-4)
    assert second["path"] == "gone.png"
    assert "No such file" in second["error"]
    people = call("predict", "--format", "json", "--top", 3, photos / "000.png", "gone.png")
    assert document_of(people) == document
    assert "Device: " in people.stderr


def test_usage(run: Path) -> None:
    assert "-0 goes with -" in error_of(call("predict", "-0", "x.png"), 2)
    assert "can be read only once" in error_of(call("predict", "-", "-"), 2)
    assert "--on-error" in error_of(call("predict", "--on-error", "sulk", "x.png"), 2)
    assert "Missing argument" in error_of(call("predict"), 2)
    assert "No images are given" in error_of(call("predict", run), 2)
    assert "--top is 0" in error_of(call("predict", "--top", 0, "x.png"), 2)


def test_names_that_cannot_be_names(run: Path) -> None:
    name = "x" * 5000
    assert (
        call("predict", name).stdout == f"{name}\terror: it cannot be opened (File name too long)\n"
    )
    assert "does not exist" in error_of(call("predict", "--model", name, "x.png"), 5)


# ---- A list of paths on standard input -------------------------------------------------------


def piped(text: str | bytes, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", "-", *map(str, arguments)], input=text)


def test_paths_on_standard_input(photos: Path) -> None:
    Path("[0].png").write_bytes((photos / "000.png").read_bytes())
    expected = ["photos/002.png", "photos/more/000.png", "photos/more/001.png", "[0].png"]
    assert paths_of(piped("photos/002.png\n\nphotos/more\r\n[0].png").stdout) == expected
    result = piped("\0".join(expected[1:]), "-0", "photos/002.png")
    assert paths_of(result.stdout) == [*expected[1:], "photos/002.png"]


def test_a_list_without_paths(photos: Path) -> None:
    assert "the list of paths is empty" in error_of(piped("\n"), 3)


def test_an_image_on_standard_input_is_no_list(photos: Path) -> None:
    message = error_of(piped((photos / "000.png").read_bytes()), 2)
    assert "not a list of paths, one a line" in message
    assert "name its file" in message


def test_a_long_list_is_not_held(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written while the list is still being read."""
    rows = 0

    def feed(*, null: bool) -> Iterator[str]:
        for number in range(200):
            assert rows >= number - 4, "more than a batch is waiting"
            yield "gone.png"

    def count_rows(_: object, text: str) -> None:
        nonlocal rows
        rows += text.count("gone.png")

    monkeypatch.setattr("cpcnn_cli.path_list.listed_paths", feed)
    monkeypatch.setattr("cpcnn_cli.result_file.ResultFile.write", count_rows)
    result = call("predict", "-", "-b", 4, "--format", "csv")
    assert result.exit_code == 3, result.output
    assert rows == 200


# ---- Formats ---------------------------------------------------------------------------------

ODD_NAMES = (
    "new\nline.png",
    "-dash.png",
    "quo\"te', comma.png",
    "tab\t.png",
    "日本 é.png",
    os.fsdecode(b"latin-\xe9.png"),
)


@pytest.fixture
def odd(photos: Path) -> list[str]:
    """Copies of one image under odd names, and a bad image; their paths in order."""
    Path("odd").mkdir()
    for name in ODD_NAMES:
        shutil.copy(photos / "000.png", f"odd/{name}")
    Path("odd/bad\n.png").write_bytes(b"x")
    return sorted(f"odd/{name}" for name in (*ODD_NAMES, "bad\n.png"))


def rows_of(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode("utf-8", "surrogateescape"), newline="")))


def test_csv_keeps_odd_names_exactly(odd: list[str]) -> None:
    result = call("predict", "odd", "--format", "csv", "--top", 9, "--quiet")
    rows = rows_of(result.stdout_bytes)
    assert [row["path"] for row in rows] == odd
    ranks = [name for n in ("", "_2", "_3") for name in (f"class{n}", f"probability{n}")]
    assert list(rows[0]) == ["path", *ranks, "error"]
    for row in rows:
        if "bad" in row["path"]:
            assert "not a readable image" in row["error"]
            assert not any(row[name] for name in ranks)
        else:
            assert sum(float(row[name]) for name in ranks[1::2]) == pytest.approx(1, abs=1e-5)
            assert row["error"] == ""


def test_json_keeps_odd_names_exactly(odd: list[str]) -> None:
    lines = call("predict", "odd", "--format", "jsonl", "--quiet").stdout.splitlines()
    documents = [json.loads(line) for line in lines]
    assert [document["path"] for document in documents] == odd
    whole = document_of(call("predict", "odd", "--json"))
    assert whole["predictions"] == documents


def test_lines_for_people_cannot_be_broken_by_names(odd: list[str]) -> None:
    result = call("predict", "odd", "--quiet")
    assert result.stdout.isascii() is False
    assert len(result.stdout.splitlines()) == len(odd)
    assert {line.count("\t") for line in result.stdout.splitlines()} == {1, 2}
    assert "new\\nline.png" in result.stdout
    table = call("predict", "odd", "--quiet", "--format", "table").stdout
    assert len(table.splitlines()) == 1 + len(odd) + 1  # the header, and the error's own line


def test_the_table(photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"x" * 50)
    long = photos / ("long" * 30 + ".png")
    shutil.copy(photos / "000.png", long)
    result = call(
        "predict", "--format", "table", "--top", 2, photos / "000.png", photos / "bad.png", long
    )
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Image", "Class", "Probability"]
    assert lines[1].split()[0] == "photos/000.png"
    assert len(lines[2].split()) == 2
    assert lines[3] == "photos/bad.png"
    assert lines[4].startswith("  error: its content is not a readable image")
    assert "…" in lines[-2]
    assert max(map(len, lines)) <= 80
    ends = [line[-6:] for line in (*lines[1:3], *lines[-2:])]
    assert all(0 <= float(end) <= 1 for end in ends)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("out.csv", "path,"),
        ("out.JSONL", '{"path"'),
        ("out.json", "{\n"),
        ("out", "photos/000.png\t"),
    ],
)
def test_a_file_takes_the_format_that_its_name_ends_in(photos: Path, name: str, start: str) -> None:
    result = call("predict", photos, "gone.png", "-o", name)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Kept in {name}: 6 rows\n"
    assert result.stderr.splitlines()[-1] == "1 image could not be read."
    assert Path(name).read_text().startswith(start)
    assert Path(name).read_text().count("photos/") == 5


def test_a_format_asked_for_comes_first(photos: Path) -> None:
    result = call("predict", photos, "-o", "out.csv", "--format", "jsonl", "--json")
    document = document_of(result)
    assert (document["output"], document["format"], document["images"]) == ("out.csv", "jsonl", 5)
    assert "predictions" not in document
    assert len(Path("out.csv").read_text().splitlines()) == 5
    conflict = call("predict", photos, "--json", "--format", "csv")
    assert conflict.exit_code == 2
    assert "cannot both have stdout" in document_of(conflict)["error"]["message"]


def test_a_file_is_never_overwritten(photos: Path) -> None:
    Path("mine.csv").write_text("mine")
    assert "The output mine.csv exists." in error_of(call("predict", photos, "-o", "mine.csv"), 2)
    assert Path("mine.csv").read_text() == "mine"
    assert "Cannot write no/where.csv" in error_of(call("predict", photos, "-o", "no/where.csv"), 2)


def test_an_error_leaves_no_empty_file(photos: Path) -> None:
    error_of(call("predict", "--model", "none", photos, "-o", "out.csv"), 5)
    assert not Path("out.csv").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", *rest, **named: opened(
            Path("/dev/full") if path.name == "full.csv" else path,
            "wb" if mode == "xb" else mode,
            *rest,
            **named,
        ),
    )
    message = error_of(call("predict", photos, "-o", "full.csv"), 2)
    assert "Cannot write full.csv: No space left on device." in message
