"""`cpcnn predict`: which files, in which order, with which exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    result = call("predict", photos / "000.png", "gone.png", "no*.png", "hollow", photos)
    assert result.exit_code == 3
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert "\x1b" not in result.output
    assert len(lines) == 10
    assert lines[1][1].startswith("error: it cannot be opened")
    assert lines[2][1] == "error: no file matches this pattern"
    assert lines[3][1] == "error: there is no image in this folder"
    assert result.stderr == "4 images could not be read.\n"


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
    assert result.exit_code == 3
    first, second = document_of(result)["predictions"]
    assert [entry["class"] for entry in first["predictions"]].sort() is None
    assert sum(entry["probability"] for entry in first["predictions"]) == pytest.approx(1, abs=1e-4)
    assert second["path"] == "gone.png"
    assert "No such file" in second["error"]


def test_usage(run: Path) -> None:
    assert "Missing argument" in error_of(call("predict"), 2)
    assert "No images are given" in error_of(call("predict", run), 2)
    assert "--top is 0" in error_of(call("predict", "--top", 0, "x.png"), 2)
