"""The pictures that `train` and `eval` leave in the run."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from cpcnn.core.errors import UsageError

from .conftest import QUICK, call


def texts(path: Path) -> set[str | None]:
    return {element.text for element in ElementTree.parse(path).iter()}


def test_training_draws_its_curves(run: Path) -> None:
    assert {"Loss", "Accuracy", "training", "validation", "epoch"} <= texts(run / "curves.svg")


def test_evaluation_draws_the_confusion_matrix(run: Path, images: Path) -> None:
    assert call("eval").exit_code == 0
    assert {"bus", "car", "van"} <= texts(run / "confusion.svg")
    first = (run / "confusion.svg").read_bytes()
    assert call("eval", run, images / "train", "-o", "elsewhere").exit_code == 0
    assert (run / "confusion.svg").read_bytes() == first
    assert "32 images" in (Path("elsewhere") / "confusion.svg").read_text("utf-8")


def test_the_same_run_gives_the_same_pictures(images: Path, work: Path) -> None:
    for name in ("one", "two"):
        assert call("train", images, *QUICK, "--name", name).exit_code == 0
        assert call("eval", f"runs/{name}").exit_code == 0
    for picture in ("curves.svg", "confusion.svg"):
        assert Path(f"runs/one/{picture}").read_bytes() == Path(f"runs/two/{picture}").read_bytes()


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_training(
    images: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: Path) -> None:
        raise UsageError("Cannot write: No space left on device.")

    monkeypatch.setattr("cpcnn.jobs.train.write_curves", full)
    result = call("train", images, *QUICK)
    assert result.exit_code == 0, result.output
    assert "Evaluate:" in result.stdout
    assert not Path("runs/simple-1/curves.svg").exists()


def test_a_demo_can_be_quiet(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpcnn.jobs.demo.PER_CLASS", 6)
    monkeypatch.setattr("cpcnn.jobs.demo.SIZE", 16)
    monkeypatch.setattr("cpcnn.jobs.demo.EPOCHS", 1)
    result = call("demo", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "macro avg" in result.stdout
