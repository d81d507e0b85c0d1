"""`cpcnn train`: what it prints, what it leaves behind, what it refuses."""

from __future__ import annotations

import csv
import os
import shutil
import tomllib
from pathlib import Path

import pytest

from cpcnn.jobs import TrainSettings
from cpcnn.models import load_model

from .conftest import QUICK, call, document_of, error_of, write_classes, write_images


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*"))


def test_a_run_holds_its_settings_history_split_and_checkpoints(images: Path, work: Path) -> None:
    before = files_below(images)
    result = call("train", images, *QUICK, "--epochs", 2, "--seed", 5)
    assert result.exit_code == 0, result.output
    run = work / "runs/simple-1"
    names = {path.name for path in run.iterdir()}
    assert names == {
        "settings.toml",
        "history.csv",
        "split.csv",
        "best.cpcnn",
        "last.cpcnn",
        "curves.svg",
    }
    settings = tomllib.loads((run / "settings.toml").read_text())["train"]
    assert TrainSettings.from_config(settings).seed == 5
    assert settings["batch_size"] == 32
    assert settings["img_size"] == 16
    assert [row["epoch"] for row in rows_of(run / "history.csv")] == ["1", "2"]
    splits = [row["split"] for row in rows_of(run / "split.csv")]
    assert splits.count("train") + splits.count("validation") == 32
    assert splits.count("validation") >= 3
    assert splits.count("test") == 12
    assert load_model(run / "best.cpcnn").classes == ("bus", "car", "van")
    assert files_below(images) == before


def test_output_goes_where_it_belongs(images: Path, work: Path) -> None:
    result = call("train", images, *QUICK, "--epochs", 2)
    people = result.stderr.splitlines()
    assert people[0].startswith("Device: cpu (")
    assert sum(line.startswith("Epoch ") for line in people) == 2
    assert "\x1b" not in result.output
    assert max(map(len, people[2:])) <= 80
    assert result.stdout.splitlines()[-1] == "Evaluate:   cpcnn eval runs/simple-1"


def test_a_saved_run_can_be_repeated_from_its_own_settings(run: Path) -> None:
    settings = tomllib.loads((run / "settings.toml").read_text())["train"]
    again = TrainSettings.from_config(settings)
    assert again.to_config() == settings


def test_runs_are_numbered_and_never_overwritten(images: Path, run: Path) -> None:
    before = (run / "best.cpcnn").read_bytes()
    assert "runs/simple-2" in call("train", images, *QUICK, "--seed", 1).stdout
    assert (run / "best.cpcnn").read_bytes() == before


def test_name_and_output_choose_the_folder(images: Path, work: Path) -> None:
    assert call("train", images, *QUICK, "--name", "mine").exit_code == 0
    assert (work / "runs/mine/best.cpcnn").is_file()
    assert call("train", images, *QUICK, "-o", "deep/er").exit_code == 0
    assert (work / "deep/er/best.cpcnn").is_file()
    assert "not empty" in error_of(call("train", images, *QUICK, "--name", "mine"), 2)
    assert "not empty" in error_of(call("train", images, *QUICK, "-o", "deep/er"), 2)
    both = call("train", images, *QUICK, "-o", "x", "--name", "y")
    assert "--output and --name" in error_of(both, 2)


def test_an_output_that_cannot_be_written_is_refused_before_training(
    images: Path, work: Path
) -> None:
    (work / "file").write_text("mine")
    for output in ("file", "file/below", "/proc/cpcnn"):
        result = call("train", images, *QUICK, "-o", output)
        message = error_of(result, 2)
        assert f"Cannot write {output}" in message
        assert "Make it writable, or choose another with --output." in message
        assert "Epoch" not in result.output
    assert (work / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_refused(images: Path, work: Path) -> None:
    (work / "locked").mkdir(mode=0o500)
    result = call("train", images, *QUICK, "-o", "locked/run")
    assert "Permission denied" in error_of(result, 2)


def test_nothing_is_written_into_the_data_folder(
    images: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_below(images)
    inside = call("train", images, *QUICK, "-o", images / "run")
    assert "lies in the data folder" in error_of(inside, 2)
    monkeypatch.chdir(images)
    assert "lies in the data folder" in error_of(call("train", ".", *QUICK), 2)
    assert files_below(images) == before


def test_a_preparation_that_fails_leaves_no_folder(work: Path) -> None:
    assert call("train", "nowhere", *QUICK).exit_code == 3
    assert list(work.iterdir()) == []


def test_json_is_one_document(images: Path, work: Path) -> None:
    result = call("train", images, *QUICK, "--json")
    document = document_of(result)
    assert result.stderr == ""
    assert document["run"] == "runs/simple-1"
    assert document["reason"] == "finished"
    assert document["train_images"] + document["validation_images"] == 32
    assert [epoch["epoch"] for epoch in document["history"]] == [1]


def test_quiet_keeps_the_result(images: Path, work: Path) -> None:
    result = call("train", images, *QUICK, "--quiet")
    assert result.stderr == ""
    assert "runs/simple-1" in result.stdout


def test_given_validation_images_are_used(work: Path) -> None:
    data = work / "data"
    write_classes(data / "train", {"a": 4, "b": 4})
    write_classes(data / "val", {"a": 3, "b": 2})
    result = call("train", data, *QUICK, "--no-flip", "--rotation", 5, "--zoom-range", 0.1)
    assert "Train:  8 images, batch 32; 5 to validate\n" in result.stderr
    assert result.exit_code == 0


def test_aliases_of_options(images: Path, work: Path) -> None:
    options = ("--opt", "sgd", "--wd", 0, "--imgsz", 16, "-b", 8, "-j", 0, "--schedule", "cosine")
    assert call("train", images, *QUICK, *options, "--threads", 1).exit_code == 0
    settings = tomllib.loads(Path("runs/simple-1/settings.toml").read_text())["train"]
    assert settings["optimizer"] == "sgd"
    assert settings["weight_decay"] == 0
    assert settings["batch_size"] == 8
    assert settings["workers"] == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--epochs", "0", "--epochs is 0; it must be a whole number of at least 1."),
        ("--epochs", "x", "'x' is not a valid integer"),
        ("--batch-size", "0", "--batch-size is 0"),
        ("--batch-size", "many", "'many' is neither a whole number nor 'auto'"),
        ("--lr", "0", "--lr is 0.0; it must be a number above 0, or auto."),
        ("--lr", "nan", "--lr is nan"),
        ("--lr", "-1", "--lr is -1.0"),
        ("--img-size", "4", "--img-size is 4; it must be a whole number from 8 to 4096."),
        ("--val-fraction", "1", "--val-fraction is 1.0; it must be a number above 0 and below 1."),
        ("--label-smoothing", "1", "at least 0 and below 1"),
        ("--weight-decay", "inf", "--weight-decay is inf"),
        ("--shift", "-0.1", "--shift is -0.1"),
        ("--zoom-range", "1", "--zoom-range is 1.0"),
        ("--workers", "-1", "--workers is -1"),
        ("--threads", "0", "--threads is 0"),
        ("--seed", "-1", "--seed is -1"),
        ("--width", "0", "--width is 0.0"),
        ("--name", "a/b", "not the name of a folder"),
        ("--optimizer", "adamx", "'adamx' is not one of"),
        ("--resize", "stretch", "'stretch' is not one of"),
        ("--model", "resnet", "Did you mean 'resnet"),
        ("--epoch", "1", "Did you mean '--epoch"),
    ],
)
def test_nonsense_is_refused_by_name(
    images: Path, work: Path, option: str, value: str, said: str
) -> None:
    result = call("train", images, *QUICK, option, value)
    assert said in error_of(result, 2)
    assert list(work.iterdir()) == []


def test_no_data_is_a_usage_error(work: Path) -> None:
    assert "Missing argument 'DATA'" in error_of(call("train"), 2)


def test_devices_that_cannot_be_used(images: Path, work: Path) -> None:
    assert "Did you mean 'cpu'" in error_of(call("train", images, *QUICK, "--device", "cpuu"), 4)
    assert list(work.iterdir()) == []


def test_an_unusable_gpu_names_the_cause(images: Path, work: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("a GPU may be usable here")
    message = error_of(call("train", images, *QUICK, "--device", "gpu"), 4)
    assert "--device cpu" in message


# ---- Data that cannot be used ----------------------------------------------------------------


def test_an_empty_folder(work: Path) -> None:
    (work / "data").mkdir()
    assert "data is an empty folder" in error_of(call("train", "data", *QUICK), 3)


def test_a_folder_that_is_a_file(work: Path) -> None:
    (work / "data.zip").write_bytes(b"PK")
    assert "data.zip is a file" in error_of(call("train", "data.zip", *QUICK), 3)


def test_folders_of_folders(work: Path) -> None:
    write_classes(work / "data/first", {"a": 2, "b": 2})
    write_classes(work / "data/second", {"c": 2, "d": 2})
    message = error_of(call("train", "data", *QUICK), 3)
    assert "folder of folders" in message
    assert call("train", "data", *QUICK, "--allow-nested").exit_code == 0


def test_one_class(work: Path) -> None:
    write_classes(work / "data", {"cat": 3})
    assert "1 class found in data: cat" in error_of(call("train", "data", *QUICK), 3)
    assert "no class folder" in error_of(call("train", "data/cat", *QUICK), 3)


def test_an_empty_class(work: Path) -> None:
    write_classes(work / "data", {"a": 6, "b": 6, "c": 0})
    message = error_of(call("train", "data", *QUICK), 3)
    assert "c 0" in message
    result = call("train", "data", *QUICK, "--allow-empty-classes")
    assert result.exit_code == 0, result.output


def test_hidden_folders_are_no_classes(work: Path) -> None:
    names = ["a", "b", ".git", "__MACOSX", ".ipynb_checkpoints"]
    write_classes(work / "data", dict.fromkeys(names, 4))
    result = call("train", "data", *QUICK, "--json")
    document = document_of(result)
    assert document["classes"] == ["a", "b"]
    ignored = {Path(entry["path"]).name for entry in document["ignored"]}
    assert ignored == {".git", "__MACOSX", ".ipynb_checkpoints"}


def spoil(folder: Path) -> list[Path]:
    """Add one file of every bad kind; return them."""
    good = (folder / "000.png").read_bytes()
    contents = {
        "empty.png": b"",
        "cut.png": good[: len(good) // 2],
        "renamed.jpg": b"just text",
        "colour\x1b[31m.png": b"x",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def test_bad_files_are_named_skipped_and_listed(work: Path) -> None:
    write_classes(work / "data", {"a": 6, "b": 6})
    bad = spoil(work / "data/a")
    result = call("train", "data", *QUICK)
    assert result.exit_code == 0, result.output
    assert "Skipped 4 unreadable files" in result.stderr
    assert "\x1b" not in result.output
    listed = rows_of(Path("runs/simple-1/bad_files.csv"))
    assert {Path(row["path"]).name for row in listed} == {path.name for path in bad}
    assert all(row["reason"] for row in listed)
    trained_on = {row["path"] for row in rows_of(Path("runs/simple-1/split.csv"))}
    assert len(trained_on) == 12


def test_bad_files_can_be_an_error(work: Path) -> None:
    write_classes(work / "data", {"a": 6, "b": 6})
    (work / "data/a/empty.png").write_bytes(b"")
    message = error_of(call("train", "data", *QUICK, "--on-error", "fail"), 3)
    assert "empty.png: it is empty (0 bytes)" in message
    assert not (work / "runs").exists()


def test_a_class_of_bad_files_only(work: Path) -> None:
    write_classes(work / "data", {"a": 6, "b": 0})
    for number in range(5):
        (work / f"data/b/{number}.png").write_bytes(b"nothing")
    assert "b 0" in error_of(call("train", "data", *QUICK, "--img-size", 16), 3)


def test_class_names_are_text_and_nothing_else(work: Path) -> None:
    names = ["[bold red]x", "{0} %s", "=1+1"]
    write_classes(work / "data", dict.fromkeys(names, 6))
    assert call("train", "data", *QUICK).exit_code == 0
    result = call("eval")
    assert result.exit_code == 0, result.output
    for name in names:
        assert name in result.stdout


def test_a_loss_that_is_not_finite(images: Path, work: Path) -> None:
    result = call("train", images, *QUICK, "--lr", "1e20", "--schedule", "constant")
    message = error_of(result, 6)
    assert "not finite" in message
    assert "--lr" in message


def test_a_json_error_has_code_message_and_suggestion(work: Path) -> None:
    result = call("train", "nowhere", "--json")
    assert result.exit_code == 3
    assert result.stderr == ""
    error = document_of(result)["error"]
    assert error["code"] == "data"
    assert "nowhere does not exist" in error["message"]
    assert error["suggestion"]


def test_more_images_do_not_move_old_ones(work: Path) -> None:
    write_classes(work / "data", {"a": 12, "b": 12})
    assert call("train", "data", *QUICK).exit_code == 0
    write_images(work / "data/a", 20)
    assert call("train", "data", *QUICK).exit_code == 0
    first, second = (
        {row["path"]: row["split"] for row in rows_of(Path(f"runs/simple-{n}/split.csv"))}
        for n in (1, 2)
    )
    moved = [path for path, split in first.items() if second[path] != split]
    assert len(moved) <= 2
