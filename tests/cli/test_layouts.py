"""Every layout through the commands, and what they write of it; folds and uneven classes."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import pytest

from .conftest import QUICK, call, document_of, error_of, write_classes

COUNTS = {"bus": 8, "car": 8, "van": 8}


@pytest.fixture
def data(work: Path) -> Path:
    return write_classes(Path("data"), COUNTS)


def pack(shard: Path, data: Path, *, extra: dict[str, bytes] | None = None) -> Path:
    """Put class folders into a tar file as WebDataset has it."""
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, "w") as file:
        members: dict[str, bytes] = {}
        for image in sorted(data.rglob("*.png")):
            key = f"{image.parent.name}_{image.stem}"
            members |= {f"{key}.png": image.read_bytes(), f"{key}.cls": image.parent.name.encode()}
        for name, content in (members | (extra or {})).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return shard


def split_of(run: str) -> dict[str, dict[str, str]]:
    with open(f"{run}/split.csv", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def train(*arguments: object) -> dict[str, object]:
    result = call("train", *arguments, *QUICK, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, object] = document_of(result)
    return document


def test_a_shard_from_training_to_prediction(data: Path) -> None:
    bad = {"bad.png": b"no image", "bad.cls": b"bus"}
    shard = pack(Path("data.tar"), data, extra=bad)
    trained = train(shard)
    assert trained["train_images"] + trained["validation_images"] == 24  # type: ignore[operator]
    (listed,) = trained["bad_files"]  # type: ignore[misc]
    assert listed["path"] == "data.tar/bad.png"
    rows = split_of("runs/simple-1")
    assert rows["bus_000.png"]["class"] == "bus"
    assert all(len(row["sha256"]) == 64 for row in rows.values())
    with open("runs/simple-1/bad_files.csv", newline="") as file:
        assert next(csv.DictReader(file))["path"] == "data.tar/bad.png"

    evaluated = document_of(call("eval", "runs/simple-1", "--json"))
    assert (evaluated["data"], evaluated["split"]) == (str(shard.absolute()), "validation")
    assert evaluated["training_images"] == 0
    with open("runs/simple-1/predictions.csv", newline="") as file:
        names = {row["path"] for row in csv.DictReader(file)}
    assert names == {name for name, row in rows.items() if row["split"] == "validation"}

    # the same images in folders are known again by their content
    leaked = document_of(call("eval", "runs/simple-1", data, "--json"))
    assert leaked["training_images"] == trained["train_images"]
    leak = call("eval", "runs/simple-1", shard, "--split", "train", "--strict-split")
    assert "was trained on" in error_of(leak, 3)

    result = call("predict", "runs/simple-1", shard, "--json")
    rows_by_path = {row["path"]: row for row in document_of(result)["predictions"]}
    assert len(rows_by_path) == 25
    assert "begins with" in rows_by_path["data.tar/bad.png"]["error"]
    one = document_of(call("predict", "runs/simple-1", data / "bus/000.png", "--json"))
    probability = one["predictions"][0]["predictions"][0]["probability"]
    assert rows_by_path["data.tar/bus_000.png"]["predictions"][0]["probability"] == probability


def test_training_on_a_shard_is_training_on_its_images(data: Path) -> None:
    """Only names differ, which decide the split: with the split given, results are the same."""
    for split in ("train", "val"):
        pack(Path(f"shards/{split}/0.tar"), write_classes(Path("folders") / split, COUNTS))
    first, second = train("folders"), train("shards")
    history = [
        [{**e, "seconds": 0, "images_per_second": 0, "data_wait": 0} for e in run["history"]]  # type: ignore[union-attr]
        for run in (first, second)
    ]
    assert history[0] == history[1]
    assert next(iter(split_of("runs/simple-2"))) == "train/0.tar/bus_000.png"


def test_an_interrupted_run_on_shards_goes_on(data: Path) -> None:
    shard = pack(Path("data.tar"), data)
    train(shard)
    result = call("train", "--resume", "runs/simple-1", "--epochs", 2, "--json")
    assert document_of(result)["resumed"]["epochs_done"] == 1
    pack(shard, data, extra={"new.png": (data / "bus/000.png").read_bytes(), "new.cls": b"bus"})
    changed = call("train", "--resume", "runs/simple-1", "--epochs", 3)
    assert "1 new (new.png)" in error_of(changed, 3)


def test_predicting_a_damaged_shard_says_so(run: Path) -> None:
    Path("x.tar").write_bytes(b"x" * 600)
    Path("y.tar").write_bytes(b"")
    rows = document_of(call("predict", run, "x.tar", "y.tar", "--json"))["predictions"]
    assert "x.tar is no tar file" in rows[0]["error"]
    assert rows[1]["error"] == "there is no image in this tar file"


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_a_list_from_training_to_evaluation(data: Path, extension: str) -> None:
    rows = [(f"data/{p.parent.name}/{p.name}", p.parent.name) for p in sorted(data.rglob("*.png"))]
    rows[0] = (str(Path(rows[0][0]).absolute()), rows[0][1])
    lines = ["file_name,label", *map(",".join, rows)]
    if extension == "jsonl":
        lines = [json.dumps({"file_name": name, "label": label}) for name, label in rows]
    Path(f"list.{extension}").write_text("\n".join(lines))
    train(f"list.{extension}", "--output", "run")
    found = split_of("run")
    assert set(found) == {name if i else "data/bus/000.png" for i, (name, _) in enumerate(rows)}
    result = document_of(call("eval", "run", "--json", "--output", "report"))
    assert result["data"] == str(Path(f"list.{extension}").absolute())
    assert result["training_images"] == 0
    again = document_of(call("eval", "run", data, "--json"))
    assert again["training_images"] == sum(row["split"] == "train" for row in found.values())
    Path(f"list.{extension}").unlink()
    assert "is not there any more" in error_of(call("eval", "run"), 3)


def test_patterns_are_the_runs_in_its_evaluation(data: Path) -> None:
    write_classes(data, {"eel": 4})
    trained = call(
        "train", data, *QUICK, "--exclude", "eel", "--exclude", "*9.png", "--include", "*.png"
    )
    assert trained.exit_code == 0, trained.output
    assert "Note: --exclude '*9.png' matches nothing in data." in trained.stderr
    assert "eel (excluded)" in trained.stderr
    assert document_of(call("eval", "runs/simple-1", "--json"))["classes"] == ["bus", "car", "van"]
    other = write_classes(Path("other"), {"bus": 3, "eel": 3})
    assert "'eel'" in error_of(call("eval", "runs/simple-1", other), 5)
    left = document_of(call("eval", "runs/simple-1", other, "--exclude", "eel", "--json"))
    assert left["images"] == 3
    out = error_of(call("train", data, *QUICK, "--include", "*.gif"), 3)
    assert "--include and --exclude leave out all of the 28 images in data." in out
    assert "--exclude is '..', which matches no file" in error_of(
        call("train", data, *QUICK, "--exclude", ".."), 2
    )


# ---- Imbalance and folds -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sampler", "balanced", "--class-weights", "balanced"), "even the classes out twice"),
        (("--focal-gamma", 1), "--focal-gamma goes with --loss focal; cross-entropy has none."),
        (("--loss", "focal", "--focal-gamma", -1), "--focal-gamma is -1.0; it must be a number"),
        (("--fold", 2), "--fold is 2, but of how many? Give --folds as well"),
        (("--folds", 3, "--fold", 4), "--fold is 4; it must be a whole number from 1 to 3"),
        (("--folds", 1), "--folds is 1; it must be a whole number from 2 to 1000"),
        (("--folds", 500), "holds no image to validate, as there are too few images"),
        (("--sampler", "balance"), "Did you mean 'balanced'?"),
    ],
)
def test_options_that_do_not_go_together(
    data: Path, options: tuple[object, ...], message: str
) -> None:
    said = error_of(call("train", data, *QUICK, *options), 2)
    assert message in said.replace("\n", " ")
    assert not Path("runs").exists()


def test_imbalanced_classes(work: Path) -> None:
    data = write_classes(Path("data"), {"bus": 30, "car": 5})
    balanced = train(data, "--sampler", "balanced", "--loss", "focal", "--focal-gamma", 1.5)
    plain = train(data, "--loss", "focal", "--focal-gamma", 0)
    same = train(data)
    losses = [run["history"][0]["train_loss"] for run in (balanced, plain, same)]  # type: ignore[index]
    assert losses[1] == pytest.approx(losses[2], rel=1e-5)
    assert losses[0] != losses[1]
    resumed = call("train", "--resume", "runs/simple-1", "--epochs", 2)
    assert resumed.exit_code == 0, resumed.output


def test_folds(data: Path) -> None:
    result = call("train", data, *QUICK, "--folds", 2, "--json")
    assert result.exit_code == 0, result.output
    document = document_of(result)
    assert (document["run"], document["folds"], document["model"]) == ("runs/simple-1", 2, "simple")
    assert [row["run"] for row in document["results"]] == [
        "runs/simple-1/fold-1",
        "runs/simple-1/fold-2",
    ]
    assert set(document["mean"]) == set(document["std"]) == {"accuracy", "macro_recall", "macro_f1"}
    assert json.loads(Path("runs/simple-1/folds.json").read_text())["mean"] == document["mean"]
    shown = call("train", data, *QUICK, "--folds", 2)
    mean = document["mean"]["accuracy"]
    assert f"{mean:.4f} ± {document['std']['accuracy']:.4f}" in shown.stdout
    assert shown.stderr.count("Device: ") == shown.stderr.count("Data: ") == 1
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "There is nothing to resume in runs/simple-2: all of its 2 folds" in error_of(
        call("train", "--resume"), 2
    )
    assert "is a cross-validation" in error_of(call("eval", "runs/simple-1"), 5)
    assert call("eval", "runs/simple-1/fold-2").exit_code == 0
    dry = document_of(call("train", data, *QUICK, "--folds", 2, "--dry-run", "--json"))
    assert dry["settings"]["fold"] == 1
