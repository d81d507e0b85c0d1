"""Cross-validation: runs in a run, their figures together, and going on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from PIL import Image

from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.jobs.fold_results import FoldsEnded
from cpcnn.jobs.folds import (
    FoldEnded,
    FoldStarted,
    is_cross_validation,
    is_to_resume,
    resume_folds,
    train_folds,
)
from cpcnn.jobs.resume import ResumeSettings
from cpcnn.jobs.run_directory import RunDirectory
from cpcnn.jobs.settings import TrainSettings
from cpcnn.jobs.train import train_folder
from cpcnn.training.checkpoint import load_checkpoint
from cpcnn.training.events import EpochEnded


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    for label, level in (("bus", 40), ("car", 120), ("van", 200)):
        folder = tmp_path / "data" / label
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(level - 40, level + 40, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"t{number // 2}_{number}.png")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path / "data"


def settings(data: Path, **others: object) -> TrainSettings:
    quick = {"model": "simple", "width": 0.25, "epochs": 2, "device": "cpu", "folds": 3}
    return TrainSettings(data, **(quick | others))  # type: ignore[arg-type]


def end_of(events: Iterator[object]) -> FoldsEnded:
    return [event for event in events if isinstance(event, FoldsEnded)][-1]


def same_weights(one: Path, other: Path) -> bool:
    """Say whether the best models of two runs have the same bits."""
    weights = [load_checkpoint(run / "best.cpcnn").weights for run in (one, other)]
    return weights[0].keys() == weights[1].keys() and all(
        np.array_equal(weights[0][name], weights[1][name]) for name in weights[0]
    )


def interrupted(events: Iterator[object], fold: int) -> FoldsEnded:
    """Stop as Ctrl-C does, after the first epoch of a fold."""
    now, stop = 0, None
    last = None
    for event in events:
        match event:
            case FoldStarted():
                now = event.fold
            case EpochEnded() if now == fold and stop is not None:
                stop()
        stop = getattr(event, "request_stop", stop)
        last = event
    assert isinstance(last, FoldsEnded)
    return last


def test_every_fold_is_a_run_and_their_figures_are_put_together(data: Path) -> None:
    events = list(train_folds(settings(data)))
    end = events[-1]
    assert isinstance(end, FoldsEnded)
    assert (end.run, end.folds, end.interrupted) == (Path("runs/simple-1"), 3, False)
    assert [e.fold for e in events if isinstance(e, FoldStarted | FoldEnded)] == [1, 1, 2, 2, 3, 3]
    held_out: set[str] = set()
    for result in end.results:
        assert result.run == end.run / f"fold-{result.fold}"
        run = RunDirectory(result.run)
        assert run.checkpoint().name == "best.cpcnn"
        assert (run.settings()["folds"], run.settings()["fold"]) == (3, result.fold)
        names = {row.path for row in run.split() if row.split == "validation"}
        assert len(names) == result.validation_images == 24 - result.train_images
        assert not names & held_out
        held_out |= names
        epochs = [e for e in events if isinstance(e, EpochEnded)][2 * result.fold - 2 :][:2]
        best = epochs[result.best_epoch - 1]
        assert best.validation_accuracy == pytest.approx(result.accuracy)
        assert best.validation_metrics["macro_f1"] == pytest.approx(result.macro_f1)
        assert best.validation_metrics["macro_recall"] == pytest.approx(result.macro_recall)
    assert len(held_out) == 24
    values = [result.accuracy for result in end.results]
    assert end.mean()["accuracy"] == fmean(values)
    assert end.std()["accuracy"] == stdev(values)
    document = json.loads((end.run / "folds.json").read_text())
    assert document == json.loads(json.dumps(end.to_document()))
    assert (document["schema_version"], document["mean"]) == (1, end.mean())
    lines = (end.run / "folds.csv").read_text().splitlines()
    assert (
        lines[0] == "fold,train_images,validation_images,best_epoch,accuracy,macro_recall,macro_f1"
    )
    assert len(lines) == 4
    assert is_cross_validation(end.run)
    assert not is_cross_validation(end.results[0].run)
    with pytest.raises(CheckpointError, match=r"is a cross-validation: .* such as .*fold-1"):
        RunDirectory(end.run).checkpoint()


def test_groups_stay_together(data: Path) -> None:
    end = end_of(train_folds(settings(data, group_by=r"\w+/t\d", epochs=1)))
    for result in end.results:
        rows = RunDirectory(result.run).split()
        sides = [
            {row.group for row in rows if row.split == side} for side in ("train", "validation")
        ]
        assert not sides[0] & sides[1]


def test_one_fold_alone_is_that_fold(data: Path) -> None:
    list(train_folder(settings(data, fold=2, epochs=1)))
    whole = end_of(train_folds(settings(data, epochs=1)))
    alone = RunDirectory(Path("runs/simple-1"))
    assert alone.split() == RunDirectory(whole.results[1].run).split()
    assert same_weights(alone.path, whole.results[1].run)


def test_it_goes_on_where_it_was_interrupted(data: Path) -> None:
    whole = end_of(train_folds(settings(data)))
    stopped = interrupted(train_folds(settings(data)), fold=2)
    assert (stopped.run, stopped.interrupted, len(stopped.results)) == (
        Path("runs/simple-2"),
        True,
        1,
    )
    assert not (stopped.run / "folds.json").exists()
    assert is_to_resume(ResumeSettings(stopped.run))
    assert is_to_resume(ResumeSettings())
    resume = ResumeSettings(stopped.run)
    events = list(resume_folds(resume))
    assert [e.fold for e in events if isinstance(e, FoldStarted)] == [2, 3]
    end = events[-1]
    assert isinstance(end, FoldsEnded)
    assert [(r.fold, r.accuracy, r.macro_f1) for r in end.results] == [
        (r.fold, r.accuracy, r.macro_f1) for r in whole.results
    ]
    for one, other in zip(whole.results, end.results, strict=True):
        assert same_weights(one.run, other.run)
    with pytest.raises(UsageError, match=r"nothing to resume in .*: all of its 3 folds"):
        list(resume_folds(resume))
    with pytest.raises(UsageError, match="all folds have the same epochs"):
        list(resume_folds(ResumeSettings(stopped.run, epochs=9)))


def test_a_fold_that_was_killed_before_its_first_checkpoint_is_trained_anew(data: Path) -> None:
    whole = end_of(train_folds(settings(data, epochs=1)))
    fold = whole.results[2].run
    for name in ("best.cpcnn", "last.cpcnn", "curves.svg"):
        (fold / name).unlink()
    end = end_of(resume_folds(ResumeSettings(whole.run)))
    assert [r.accuracy for r in end.results] == [r.accuracy for r in whole.results]


def test_what_stops_a_fold_stops_before_the_first_and_leaves_nothing(data: Path) -> None:
    with pytest.raises(UsageError, match=r"Fold \d+ of 900 holds no image to validate"):
        list(train_folds(settings(data, folds=900)))
    with pytest.raises(UsageError, match="is a cross-validation, which is several trainings"):
        list(train_folder(settings(data)))
    for label in ("bus", "car"):
        (data / "val" / label).mkdir(parents=True)
        (data / "val" / label / "1.png").write_bytes(next(data.glob("van/*")).read_bytes())
    (data / "train").mkdir()
    for label in ("bus", "car", "van"):
        (data / label).rename(data / "train" / label)
    with pytest.raises(UsageError, match="has a split of 2 images to validate"):
        list(train_folds(settings(data)))
    assert not Path("runs").exists()
    end = end_of(train_folds(settings(data, exclude=("val",), epochs=1)))
    assert sum(result.validation_images for result in end.results) == 24
