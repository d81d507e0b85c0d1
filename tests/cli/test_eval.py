"""`cpcnn eval`: what is evaluated, how the report looks, what is kept, what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from sklearn.metrics import classification_report

from cpcnn.training.checkpoint import load_checkpoint, save_checkpoint

from .conftest import QUICK, call, document_of, error_of, write_classes, write_images


def predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_last_run_and_its_test_images_by_default(run: Path) -> None:
    result = call("eval")
    assert result.exit_code == 0, result.output
    people = result.stderr.splitlines()
    assert people[0].startswith("Device: cpu (")
    assert people[1] == f"Model:  {run}/best.cpcnn"
    assert people[3] == "Images: the test images, 12"
    assert result.stdout.startswith("The test images (12)\n")
    assert "Confusion matrix (rows: true, columns: predicted)" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.output


def test_the_table_is_scikit_learns(run: Path) -> None:
    result = call("eval")
    rows = predictions(run)
    true, predicted = [row["true"] for row in rows], [row["predicted"] for row in rows]
    table = classification_report(true, predicted, zero_division=0)
    assert table.rstrip("\n") in result.stdout
    report = json.loads((run / "report.json").read_text())["report"]
    expected = classification_report(true, predicted, zero_division=0, output_dict=True)
    for name, values in expected.items():
        assert report[name] == pytest.approx(values)


def test_what_is_kept(run: Path) -> None:
    assert call("eval").exit_code == 0
    table = list(csv.reader((run / "confusion.csv").read_text().splitlines()))
    assert table[0][1:] == ["bus", "car", "van"]
    assert sum(int(cell) for row in table[1:] for cell in row[1:]) == 12
    assert "accuracy" in (run / "report.txt").read_text()
    rows = predictions(run)
    assert len(rows) == 12
    assert {row["true"] for row in rows} == {"bus", "car", "van"}
    assert all((Path("x") / row["path"]).parts[1] == "test" for row in rows)
    assert all(0 < float(row["probability"]) <= 1 for row in rows)


def test_val_is_another_name_for_eval(run: Path) -> None:
    assert "The test images (12)" in call("val", run).stdout


def test_the_newest_run_is_the_last_one_whatever_its_name(images: Path, run: Path) -> None:
    assert call("train", images, *QUICK, "--name", "a").exit_code == 0
    (run / "touched").write_text("")
    assert "Model:  runs/a/best.cpcnn" in call("eval").stderr
    unfinished = Path("runs/unfinished")
    unfinished.mkdir()
    (unfinished / "settings.toml").write_text("[run]\ncreated = 2999-01-01T00:00:00Z\n")
    (Path("runs/damaged")).mkdir()
    (Path("runs/damaged") / "settings.toml").write_text("]")
    assert "Model:  runs/a/best.cpcnn" in call("eval").stderr


def test_another_split(run: Path) -> None:
    result = call("eval", "--split", "validation")
    assert "Images: the validation images" in result.stderr
    assert (run / "eval-validation/report.txt").is_file()
    assert not (run / "report.txt").exists()
    result = call("eval", "--split", "train")
    assert "The model was trained on" in result.stdout


def test_validation_files_of_an_unsplit_folder(work: Path) -> None:
    write_classes(work / "data", {"a": 12, "b": 12})
    assert call("train", "data", *QUICK).exit_code == 0
    write_images(work / "data/a", 30)
    result = call("eval", "runs/simple-1", "data")
    with Path("runs/simple-1/split.csv").open(newline="") as file:
        held_out = {r["path"] for r in csv.DictReader(file) if r["split"] == "validation"}
    assert "Images: the validation images" in result.stderr
    assert {row["path"] for row in predictions(Path("runs/simple-1"))} == held_out
    (work / "data" / sorted(held_out)[0]).unlink()
    assert "1 of the run's validation images are not there any more" in call("eval").stdout


def test_another_folder_is_evaluated_whole(run: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "new", {"bus": 3, "car": 3, "van": 3}, seed=2)
    result = call("eval", run, tmp_path / "new")
    assert "Images: all images, 9" in result.stderr
    assert (run / "eval-on-new/report.txt").is_file()
    alone = call("eval", tmp_path / "new")
    assert alone.stdout.splitlines()[0] == "All images (9)"


def test_training_images_are_recognised(images: Path, run: Path) -> None:
    result = call("eval", run, images / "train")
    assert "The model was trained on" in result.stdout


def test_classes_are_matched_by_name(run: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "new", {"van": 4, "bus": 3})
    result = call("eval", run, tmp_path / "new", "--json")
    document = document_of(result)
    assert result.exit_code == 0
    assert document["classes"] == ["bus", "car", "van"]
    assert [sum(row) for row in document["confusion"]] == [3, 0, 4]
    assert any("car" in note for note in document["notes"])


def test_a_class_that_the_model_does_not_know(run: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "new", {"bus": 3, "zebra": 3})
    message = error_of(call("eval", run, tmp_path / "new"), 5)
    assert "'zebra'" in message
    assert "'bus', 'car', 'van'" in message
    result = call("eval", run, tmp_path / "new", "--allow-unknown-classes")
    assert result.exit_code == 0, result.output
    assert "left out: 3" in result.stdout


def test_a_checkpoint_file_is_a_model(images: Path, run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.cpcnn"
    shutil.copy(run / "best.cpcnn", alone)
    result = call("eval", alone)
    assert "Images: the test images, 12" in result.stderr
    assert f"Data:   {images}" in result.stderr
    assert list(tmp_path.glob("*.txt")) == []
    assert call("eval", alone, "-o", "kept").exit_code == 0
    assert Path("kept/confusion.csv").is_file()


def test_the_last_checkpoint_stands_in_for_the_best(run: Path) -> None:
    (run / "best.cpcnn").unlink()
    assert "has no best.cpcnn: using last.cpcnn" in call("eval", run).stdout


@pytest.mark.parametrize("kind", ["cut", "foreign", "empty", "text"])
def test_damaged_and_foreign_checkpoints(run: Path, images: Path, kind: str) -> None:
    path = Path("other.cpcnn")
    good = (run / "best.cpcnn").read_bytes()
    content = {"cut": good[: len(good) // 2], "empty": b"", "text": b"hello", "foreign": b""}
    path.write_bytes(content[kind])
    if kind == "foreign":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", "x")
    for arguments in ((path,), (path, images)):
        assert "other.cpcnn" in error_of(call("eval", *arguments), 5)
    assert "other.cpcnn" in error_of(call("predict", path, images / "test"), 5)


@pytest.mark.parametrize("lie", ["classes", "size", "nothing", "nonsense"])
def test_checkpoints_that_do_not_fit_together(run: Path, images: Path, lie: str) -> None:
    checkpoint = load_checkpoint(run / "best.cpcnn")
    assert checkpoint.preprocessing is not None
    if lie == "classes":
        checkpoint.classes = ("bus",)
    elif lie == "size":
        checkpoint.preprocessing["height"] = 32
    elif lie == "nothing":
        checkpoint.preprocessing = None
    else:
        checkpoint.preprocessing = {"height": "high"}
    save_checkpoint(run / "best.cpcnn", checkpoint)
    error_of(call("eval", run), 5)
    error_of(call("predict", run, images / "test"), 5)


def test_models_that_are_not_there(run: Path, images: Path) -> None:
    assert "no.cpcnn does not exist" in error_of(call("eval", "no.cpcnn", images), 5)
    Path("runs/started").mkdir()
    Path("runs/started/settings.toml").write_text("")
    assert "holds no checkpoint" in error_of(call("eval", "runs/started"), 5)


def test_no_run_at_all(work: Path, images: Path) -> None:
    assert "There is no trained run in" in error_of(call("eval"), 2)
    assert "There is no trained run in" in error_of(call("eval", images), 2)


def test_data_that_is_gone(work: Path) -> None:
    write_classes(work / "data", {"a": 5, "b": 5})
    assert call("train", "data", *QUICK).exit_code == 0
    shutil.rmtree(work / "data")
    assert "is not there any more" in error_of(call("eval"), 3)


def test_a_split_that_is_not_there(run: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "new", {"bus": 3, "car": 3})
    message = error_of(call("eval", run, tmp_path / "new", "--split", "test"), 3)
    assert "no test images (it has: all)" in message
    write_classes(tmp_path / "half/train", {"bus": 3, "car": 3})
    assert "neither test nor validation" in error_of(call("eval", run, tmp_path / "half"), 3)


def test_an_output_that_exists_or_cannot_be_written(run: Path) -> None:
    assert "not empty" in error_of(call("eval", "-o", run), 2)
    Path("file").write_text("mine")
    assert "Cannot write file/x" in error_of(call("eval", "-o", "file/x"), 2)


def test_a_run_that_cannot_be_written_still_shows_its_report(run: Path) -> None:
    (run / "eval-validation").write_text("in the way")
    result = call("eval", "--split", "validation")
    assert result.exit_code == 0, result.output
    assert "The report is not kept" in result.stdout


def test_json_is_the_report(run: Path) -> None:
    result = call("eval", "--json")
    document = document_of(result)
    assert result.stderr == ""
    assert document["split"] == "test"
    assert document["images"] == 12
    assert document == json.loads((run / "report.json").read_text())


def test_large_matrices_stay_off_the_terminal(work: Path) -> None:
    names = [f"class with quite a long name {number:02}" for number in range(13)]
    write_classes(work / "data", dict.fromkeys(names, 2))
    assert call("train", "data", *QUICK).exit_code == 0
    result = call("eval")
    assert "Confusion matrix" not in result.stdout
    lines = [line for line in result.stdout.splitlines() if not line.startswith("Note: ")]
    assert max(map(len, lines)) <= 80
    assert Path("runs/simple-1/confusion.csv").is_file()


def test_long_names_fit_eighty_columns(work: Path) -> None:
    names = [f"{number} {'a very long name ' * 6}{number}" for number in range(12)]
    write_classes(work / "data", dict.fromkeys(names, 2))
    assert call("train", "data", *QUICK).exit_code == 0
    result = call("eval")
    assert "Confusion matrix" in result.stdout
    lines = [line for line in result.stdout.splitlines() if not line.startswith("Note: ")]
    assert max(map(len, lines)) <= 80
    assert names[0] in Path("runs/simple-1/report.txt").read_text()


@pytest.mark.parametrize(
    ("option", "value"), [("--batch-size", "0"), ("--workers", "-1"), ("--split", "all")]
)
def test_nonsense_is_refused(run: Path, option: str, value: str) -> None:
    assert option in error_of(call("eval", option, value), 2)
