"""Training as a script sees it: events, and the same weights from the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cpcnn.core.errors import DivergedError
from cpcnn.data.samples import write_sample_images
from cpcnn.jobs import (
    EvaluateSettings,
    PredictSettings,
    TrainSettings,
    evaluate_run,
    predict_images,
    train_folder,
)
from cpcnn.jobs.evaluate import Evaluated
from cpcnn.jobs.events import DataFound, DeviceSelected, TrainingPrepared
from cpcnn.jobs.predict import PredictionPrepared
from cpcnn.training.checkpoint import load_checkpoint
from cpcnn.training.events import EpochEnded, StepEnded, TrainingEnded


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images") / "shapes"
    write_sample_images(root, per_class=5, size=16, seed=3)
    return root


@pytest.fixture
def settings(images: Path, tmp_path: Path) -> TrainSettings:
    return TrainSettings(
        images,
        model="simple",
        width=0.25,
        epochs=2,
        batch_size=8,
        device="cpu",
        rotation=10,
        zoom_range=0.1,
        output=tmp_path / "run",
    )


def weights_of(settings: TrainSettings) -> dict[str, np.ndarray]:
    for _ in train_folder(settings):
        pass
    assert settings.output is not None
    return load_checkpoint(settings.output / "last.cpcnn").weights


def test_events_come_in_order(settings: TrainSettings) -> None:
    heard: list[tuple[str, int, int]] = []
    events = list(train_folder(settings, lambda *progress: heard.append(progress)))
    assert [type(event) for event in events[:3]] == [DeviceSelected, DataFound, TrainingPrepared]
    assert isinstance(events[-1], TrainingEnded)
    assert [event.epoch for event in events if isinstance(event, EpochEnded)] == [1, 2]
    assert heard[-1] == ("Reading images", 25, 25)
    prepared = events[2]
    assert isinstance(prepared, TrainingPrepared)
    assert prepared.validation_drawn
    assert prepared.train_images + prepared.validation_images == 25


def test_the_same_seed_gives_the_same_bits(settings: TrainSettings, tmp_path: Path) -> None:
    first = weights_of(settings)
    second = weights_of(replace(settings, output=tmp_path / "again", workers=4))
    third = weights_of(replace(settings, output=tmp_path / "other", seed=1))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not all(np.array_equal(first[name], third[name]) for name in first)


def test_a_stop_keeps_the_weights(settings: TrainSettings) -> None:
    stop = None
    for event in train_folder(replace(settings, epochs=100)):
        if isinstance(event, TrainingPrepared):
            stop = event.request_stop
        if isinstance(event, StepEnded) and event.epoch == 2:
            assert stop is not None
            stop()
    assert isinstance(event, TrainingEnded)
    assert event.reason == "interrupted"
    assert settings.output is not None
    assert load_checkpoint(settings.output / "last.cpcnn").training["epoch"] == 1


def test_leaving_before_training_begins_leaves_nothing(settings: TrainSettings) -> None:
    for event in train_folder(settings):
        if isinstance(event, TrainingPrepared):
            break
    assert settings.output is not None
    assert not settings.output.exists()


def test_divergence_keeps_the_last_good_epoch(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "cpcnn.jobs.build_trainer.get_schedule",
        lambda *_, **__: lambda step: 1e-3 if step < 3 else 1e30,
    )
    with pytest.raises(DivergedError) as caught:
        list(train_folder(replace(settings, epochs=9)))
    assert f"The run is {settings.output}." in caught.value.message
    assert settings.output is not None
    weights = load_checkpoint(settings.output / "last.cpcnn").weights
    assert all(np.isfinite(values).all() for values in weights.values())


def test_train_evaluate_predict(settings: TrainSettings, images: Path) -> None:
    for _ in train_folder(settings):
        pass
    *_, evaluated = evaluate_run(EvaluateSettings(settings.output, device="cpu"))
    assert isinstance(evaluated, Evaluated)
    assert evaluated.prepared.split == "test"
    paths = [str(path) for path in evaluated.evaluation.paths]
    _, prepared, *predictions = predict_images(PredictSettings(tuple(paths), settings.output))
    classes = evaluated.evaluation.report.classes
    assert isinstance(prepared, PredictionPrepared)
    assert prepared.classes == classes
    expected = [classes[number] for number in evaluated.evaluation.predicted]
    assert [prediction.ranked[0][0] for prediction in predictions] == expected
    assert [str(prediction.path) for prediction in predictions] == paths
