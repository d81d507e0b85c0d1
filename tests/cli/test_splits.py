"""Splits from the command line: groups, metadata.csv, the manifest, and training images at eval."""

from __future__ import annotations

import csv
import hashlib
import shutil
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from .conftest import QUICK, call, document_of, error_of, write_classes, write_images

RUN = Path("runs/simple-1")


def rows_of(run: Path = RUN) -> list[dict[str, str]]:
    with (run / "split.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def splits_by(column: str) -> dict[str, set[str]]:
    splits = defaultdict(set)
    for row in rows_of():
        splits[row[column]].add(row["split"])
    return splits


@pytest.fixture
def table(work: Path) -> Path:
    """Twelve images in one folder and a metadata.csv: labels, patients of two images, a site."""
    write_images(work / "data/images", 12)
    lines = [
        f"images/{number:03}.png,{'ab'[number // 2 % 2]},p{number // 2},x" for number in range(12)
    ]
    (work / "data/metadata.csv").write_text("\n".join(["file_name,label,patient,site", *lines]))
    return work / "data"


# ---- Groups -----------------------------------------------------------------------------------


def test_groups_by_a_pattern_stay_whole(work: Path) -> None:
    write_classes(work / "data", {"a": 30, "b": 30})
    result = call("train", "data", *QUICK, "--group-by", r"(\w/\d\d)\d\.png", "--val-fraction", 0.4)
    assert result.exit_code == 0, result.output
    assert r"Note: 6 groups by the pattern '(\w/\d\d)\d\.png'." in result.stderr
    groups = splits_by("group")
    assert sorted(groups) == ["a/00", "a/01", "a/02", "b/00", "b/01", "b/02"]
    assert all(len(splits) == 1 for splits in groups.values())
    assert splits_by("class") == {"a": {"train", "validation"}, "b": {"train", "validation"}}
    settings = tomllib.loads((RUN / "settings.toml").read_text())["train"]
    assert settings["group_by"] == r"(\w/\d\d)\d\.png"


def test_groups_by_a_column(table: Path) -> None:
    result = call("train", table, *QUICK, "--group-by", "patient", "--json")
    assert document_of(result)["notes"] == [
        "6 groups by the column patient of metadata.csv.",
        "metadata.csv has columns that are not used: 'site'.",
        "2 classes have few images to train on (a 4, b 4).",
    ]
    groups = splits_by("group")
    assert sorted(groups) == [f"p{number}" for number in range(6)]
    assert all(len(splits) == 1 for splits in groups.values())
    assert splits_by("class") == {"a": {"train", "validation"}, "b": {"train", "validation"}}


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("x(", "--group-by 'x(' is no regular expression"),
        ("sight", "--group-by 'sight' matches the path of no image"),
        ("site", "1 group by the column site of metadata.csv: none can be held out"),
        ("label", "2 groups by the column label of metadata.csv: none can be held out"),
    ],
)
def test_groups_that_cannot_be_meant(table: Path, by: str, message: str) -> None:
    assert message in error_of(call("train", table, *QUICK, "--group-by", by), 2)
    assert not RUN.exists()


def test_classes_without_validation_are_named(work: Path) -> None:
    write_classes(work / "data", {"a": 5, "b": 1, "c": 5})
    result = call("train", "data", *QUICK)
    assert "Note: 1 class has no image to validate, as there are too few (images: b 1)." in (
        result.stderr
    )


# ---- metadata.csv -----------------------------------------------------------------------------


def test_a_table_in_place_of_class_folders(table: Path) -> None:
    assert call("train", table, *QUICK).exit_code == 0
    labels = {row["path"]: row["class"] for row in rows_of()}
    assert len(labels) == 12
    assert labels["images/000.png"] == "a"
    assert labels["images/011.png"] == "b"
    assert "The validation images" in call("eval").stdout


def test_splits_of_a_table(table: Path) -> None:
    lines = (table / "metadata.csv").read_text().splitlines()
    names = ["split", *(["train"] * 8 + ["val"] * 2 + ["test"] * 2)]
    joined = [f"{line},{name}" for line, name in zip(lines, names, strict=True)]
    (table / "metadata.csv").write_text("\n".join(joined))
    result = call("train", table, *QUICK)
    assert "Images: 12 of 2 classes (train 8, validation 2, test 2)" in result.stderr
    assert "Train:  8 images, batch 32; 2 to validate" in result.stderr
    assert [row["split"] for row in rows_of() if row["path"] >= "images/008"] == [
        *["validation"] * 2,
        *["test"] * 2,
    ]
    assert call("eval", "--json", "--strict-split").exit_code == 0


def test_a_table_that_names_what_is_not_there(table: Path) -> None:
    (table / "images/003.png").unlink()
    message = error_of(call("train", table, *QUICK), 3)
    assert "1 row cannot be used: line 5: 'images/003.png' is not there" in message
    assert not RUN.exists()


# ---- The manifest -----------------------------------------------------------------------------


def test_the_manifest_has_the_content_of_every_image(images: Path, run: Path) -> None:
    rows = rows_of(run)
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert len(rows) == 44
    for row in rows:
        content = (images / row["path"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()


# ---- Training images at eval ------------------------------------------------------------------


@pytest.fixture
def mixed(run: Path, images: Path, tmp_path: Path) -> Path:
    """A folder of new images and copies of two training images under other names."""
    write_classes(tmp_path / "mixed", {"bus": 2, "car": 2, "van": 2}, seed=7)
    trained = [row["path"] for row in rows_of(run) if row["split"] == "train"]
    for path in trained[:2]:
        shutil.copy(images / path, tmp_path / "mixed" / "bus" / f"copy{Path(path).name}")
    return tmp_path / "mixed"


def test_training_images_are_known_by_their_content(run: Path, mixed: Path) -> None:
    result = call("eval", run, mixed)
    original = next(row["path"] for row in rows_of(run) if row["split"] == "train")
    example = f"bus/copy{Path(original).name}, in training {original}"
    assert f"The model was trained on 2 of these 8 images ({example}; " in result.stdout
    assert document_of(call("eval", run, mixed, "--json"))["training_images"] == 2


def test_strict_split_refuses_training_images(run: Path, mixed: Path, images: Path) -> None:
    message = error_of(call("eval", run, mixed, "--strict-split"), 3)
    assert "The model was trained on 2 of these 8 images" in message
    assert "leave out --strict-split" in message
    assert not (run / "eval-on-mixed").exists()
    assert "trained on" in error_of(call("eval", "--split", "train", "--strict-split"), 3)
    for arguments in ((), ("--split", "validation"), (run, images / "test")):
        result = call("eval", *arguments, "--strict-split", "--json")
        assert document_of(result)["training_images"] == 0
        assert not any("trained on" in note for note in document_of(result)["notes"])


def test_older_runs_know_their_images_by_place(run: Path, mixed: Path, images: Path) -> None:
    rows = rows_of(run)
    with (run / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "class", "split"), *((r["path"], r["class"], r["split"]) for r in rows)]
        )
    assert document_of(call("eval", run, mixed, "--strict-split", "--json"))["notes"] == []
    held_out = sum(row["split"] == "validation" for row in rows)
    message = error_of(call("eval", run, images / "train", "--strict-split"), 3)
    assert f"The model was trained on {32 - held_out} of these 32 images" in message


# ---- Splits that lack or add a class ----------------------------------------------------------


@pytest.fixture
def own(work: Path) -> Path:
    """A trained run in runs/simple-1 and its data, which a test may change."""
    write_classes(work / "data/train", {"bus": 6, "car": 6, "van": 6})
    write_classes(work / "data/test", {"bus": 3, "car": 4, "van": 2}, seed=1)
    assert call("train", "data", *QUICK).exit_code == 0
    return work / "data"


@pytest.mark.parametrize("lacks", ["bus", "car"])
def test_a_split_that_lacks_a_class_is_scored_by_name(own: Path, lacks: str) -> None:
    before = document_of(call("eval", "--json"))
    shutil.rmtree(own / "test" / lacks)
    after = document_of(call("eval", "--json"))
    assert after["classes"] == ["bus", "car", "van"]
    for name, old, new in zip(
        after["classes"], before["confusion"], after["confusion"], strict=True
    ):
        assert new == ([0, 0, 0] if name == lacks else old)
    (note,) = after["notes"]
    assert note == f"No image of {lacks!r}: the averages are over the classes that occur."


def test_a_split_that_adds_a_class_is_refused_or_scored_without_it(own: Path) -> None:
    before = document_of(call("eval", "--json"))
    write_images(own / "test/bike", 3)
    message = error_of(call("eval"), 5)
    assert "images of a class that the model does not know: 'bike'" in message
    assert "The model's classes are: 'bus', 'car', 'van'" in message
    after = document_of(call("eval", "--json", "--allow-unknown-classes"))
    assert after["confusion"] == before["confusion"]
    assert "'bike'" in after["notes"][0]


def test_a_missing_split_names_those_there_are(own: Path) -> None:
    shutil.rmtree(own / "test")
    message = error_of(call("eval", "--split", "test"), 3)
    assert "has no test images (it has: train, validation)" in message
    assert "Choose with --split from: train, validation." in message
    write_classes(own.parent / "new", {"bus": 2, "car": 2})
    message = error_of(call("eval", RUN, "new", "--split", "validation"), 3)
    assert "has no validation images (it has: all)" in message
    assert "Leave out --split to evaluate all of its images." in message
