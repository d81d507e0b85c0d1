"""Training and evaluation with every way to keep images: the same bits, and nothing in the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.data import dataset
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.data.samples import write_sample_images
from cpcnn.jobs import EvaluateSettings, TrainSettings, evaluate_run, train_folder
from cpcnn.jobs.evaluate import Evaluated
from cpcnn.jobs.events import TrainingPrepared
from cpcnn.jobs.open_cache import open_cache
from cpcnn.training.checkpoint import load_checkpoint


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_sample_images(tmp_path / "shapes", per_class=4, size=16, seed=3)
    return tmp_path / "shapes"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CPCNN_IMAGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def settings(images: Path, tmp_path: Path) -> TrainSettings:
    return TrainSettings(
        images,
        model="simple",
        width=0.25,
        epochs=1,
        batch_size=8,
        device="cpu",
        output=tmp_path / "run",
    )


def train(settings: TrainSettings) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the weights of a training, and its notes."""
    (prepared,) = [e for e in train_folder(settings) if isinstance(e, TrainingPrepared)]
    return load_checkpoint(prepared.run / "last.cpcnn").weights, prepared.notes


def loss(settings: EvaluateSettings) -> float:
    """Return the loss of an evaluation."""
    (evaluated,) = [e for e in evaluate_run(settings) if isinstance(e, Evaluated)]
    return evaluated.evaluation.loss


def test_every_way_ends_in_the_same_bits(
    settings: TrainSettings, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = train(replace(settings, cache="memory"))
    assert not cache.exists()
    ways = [("off", None), *[(kept, fits) for kept in ("auto", "disk") for fits in (True, False)]]
    for number, (kept, fits) in enumerate(ways * 2):
        if fits is not None:
            monkeypatch.setattr(dataset, "available_memory", lambda fits=fits: fits * (1 << 30))
        weights, notes = train(replace(settings, cache=kept, output=tmp_path / f"run{number}"))
        assert all(np.array_equal(weights[name], expected[name]) for name in expected)
        assert not [note for note in notes if "cache" in note]
    assert len(list(cache.glob("*/*.images"))) >= 1


def test_a_second_run_and_its_evaluation_decode_nothing(
    settings: TrainSettings, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings)
    with monkeypatch.context() as patch:
        patch.setattr(Preprocessing, "load", None)
        train(replace(settings, output=tmp_path / "again"))
        with_cache = loss(EvaluateSettings(tmp_path / "run", split="validation"))
    assert with_cache == loss(EvaluateSettings(tmp_path / "run", split="validation", cache="off"))


def test_nothing_is_kept_in_the_data_folder(
    settings: TrainSettings, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPCNN_IMAGE_CACHE", str(images / ".cache"))
    before = sorted(images.rglob("*"))
    _, notes = train(settings)
    assert sorted(images.rglob("*")) == before
    (note,) = [note for note in notes if "cache" in note]
    assert "lies in the data folder" in note


def test_a_cache_that_cannot_be_written_is_told_in_one_line(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CPCNN_IMAGE_CACHE", str(tmp_path / "file" / "cache"))
    _, notes = train(settings)
    (note,) = [note for note in notes if "cache" in note]
    assert "cannot be written" in note
    assert "\n" not in note


def test_where_it_has_no_part(images: Path, cache: Path) -> None:
    assert open_cache("memory", images) is None
    assert open_cache("off", images) is None
    opened = open_cache("auto", images)
    assert opened is not None
    assert opened.folder == cache


def test_mistakes(images: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--cache is 'dsik'; it must be one of auto, memory"):
        TrainSettings(images, cache="dsik")
    with pytest.raises(UsageError, match="--cache"):
        EvaluateSettings(cache="ram")
    monkeypatch.setenv("CPCNN_CACHE_SIZE", "a lot")
    with pytest.raises(UsageError, match="CPCNN_CACHE_SIZE is 'a lot'"):
        open_cache("auto", images)
