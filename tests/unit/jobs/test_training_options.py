"""Options of training: each one has the effect that it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.errors import CheckpointError, DataError, UsageError
from cpcnn.data.samples import write_sample_images
from cpcnn.jobs import TrainSettings, train_folder
from cpcnn.jobs.dry_run import DryRunEnded, dry_run
from cpcnn.jobs.events import TrainingPrepared
from cpcnn.jobs.resume import ResumeSettings, resume_training
from cpcnn.jobs.settings import MONITORS
from cpcnn.training.checkpoint import load_checkpoint
from cpcnn.training.events import EpochEnded, StepEnded, TrainingEnded

PER_CLASS = 5
Make = Callable[..., TrainSettings]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images") / "shapes"
    write_sample_images(root, per_class=PER_CLASS, size=16, seed=3)
    return root


@pytest.fixture
def make(images: Path, tmp_path: Path) -> Make:
    """Settings of a small training, each with an output of its own."""
    numbers = iter(range(100))

    def settings(**options: Any) -> TrainSettings:
        small = TrainSettings(
            images, model="simple", width=0.25, epochs=2, batch_size=4, device="cpu", workers=0
        )
        return replace(small, output=tmp_path / f"run-{next(numbers)}", **options)

    return settings


def train(settings: TrainSettings) -> list[Any]:
    return list(train_folder(settings))


def weights_of(settings: TrainSettings, name: str = "last.cpcnn") -> dict[str, NDArray[Any]]:
    assert settings.output is not None
    return load_checkpoint(settings.output / name).weights


def trained(settings: TrainSettings) -> dict[str, NDArray[Any]]:
    train(settings)
    return weights_of(settings)


def equal(first: dict[str, NDArray[Any]], second: dict[str, NDArray[Any]]) -> bool:
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def rates(settings: TrainSettings) -> list[float]:
    return [event.learning_rate for event in train(settings) if isinstance(event, StepEnded)]


# ---- The update ------------------------------------------------------------------------------


def test_each_of_these_changes_what_is_learned(make: Make) -> None:
    plain = trained(make())
    assert equal(plain, trained(make()))
    changed: list[dict[str, Any]] = [
        {"optimizer": "nadam"},
        {"optimizer": "lamb"},
        {"schedule": "polynomial"},
        {"schedule": "reduce-on-plateau"},
        {"vertical_flip": True},
        {"accumulate": 2},
        {"clip_norm": 0.01},
    ]
    for options in changed:
        assert not equal(plain, trained(make(**options))), options


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_momentum(make: Make, optimizer: str) -> None:
    usual = trained(make(optimizer=optimizer))
    default = 0.9 if optimizer == "sgd" else 0.0
    assert equal(usual, trained(make(optimizer=optimizer, momentum=default)))
    assert not equal(usual, trained(make(optimizer=optimizer, momentum=0.5)))


def test_a_warm_up_takes_its_epochs(make: Make) -> None:
    found = rates(make(schedule="constant", lr=0.01, epochs=4, warmup_epochs=1.5))
    steps = len(found) // 4
    up = round(1.5 * steps)
    np.testing.assert_allclose(found[:up], [0.01 * (n + 1) / up for n in range(up)])
    assert found[up:] == [0.01] * (len(found) - up)
    assert rates(make(warmup_epochs=1)) != rates(make())


def test_schedules_count_updates(make: Make) -> None:
    found = rates(make(schedule="cosine", accumulate=2, epochs=2))
    steps = len(found) // 2
    assert len(set(found)) == 2 * -(-steps // 2)
    assert found[-1] == pytest.approx(0)


def test_ema_is_what_is_validated_and_kept_as_best(make: Make) -> None:
    plain, averaged = make(epochs=1), make(epochs=1, ema=0.9)
    train(plain)
    train(averaged)
    assert equal(weights_of(plain), weights_of(averaged))
    assert not equal(weights_of(averaged), weights_of(averaged, "best.cpcnn"))


# ---- Classes ---------------------------------------------------------------------------------


def test_class_weights_count_in_training_alone(make: Make, tmp_path: Path) -> None:
    classes = load_classes(make())
    path = tmp_path / "weights.csv"
    path.write_text("class,weight\n" + "".join(f"{name},3\n" for name in classes))
    plain, heavy = make(epochs=1, lr=1e-9), make(epochs=1, lr=1e-9, class_weights=str(path))
    (first,) = (e for e in train(plain) if isinstance(e, EpochEnded))
    (second,) = (e for e in train(heavy) if isinstance(e, EpochEnded))
    assert second.train_loss == pytest.approx(3 * first.train_loss, rel=1e-4)
    assert second.validation_loss == pytest.approx(first.validation_loss, rel=1e-4)


def load_classes(settings: TrainSettings) -> tuple[str, ...]:
    for event in train_folder(settings):
        if isinstance(event, TrainingPrepared):
            return event.classes
    raise AssertionError


def test_balanced_weights_matter_where_classes_are_uneven(make: Make) -> None:
    uneven = trained(make(val_fraction=0.4))
    assert not equal(uneven, trained(make(val_fraction=0.4, class_weights="balanced")))


def test_a_class_without_a_weight_is_named_before_training(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text("class,weight\nnothing,1\n")
    settings = make(class_weights=str(path))
    with pytest.raises(UsageError, match="'nothing', which is no class"):
        train(settings)
    assert settings.output is not None
    assert not settings.output.exists()


# ---- The best epoch --------------------------------------------------------------------------


def value_of(epoch: EpochEnded, monitor: str) -> float:
    assert epoch.validation_loss is not None
    assert epoch.validation_accuracy is not None
    return {
        "accuracy": epoch.validation_accuracy,
        "loss": -epoch.validation_loss,
        "macro-f1": epoch.validation_metrics.get("macro_f1", 0),
        "macro-recall": epoch.validation_metrics.get("macro_recall", 0),
    }[monitor]


def test_the_best_epoch_is_that_of_the_monitor(make: Make) -> None:
    chosen = set()
    for monitor in MONITORS:
        settings = make(monitor=monitor, epochs=8, lr=0.005, seed=1)
        events = train(settings)
        epochs = [event for event in events if isinstance(event, EpochEnded)]
        ranks = [(value_of(e, monitor), -(e.validation_loss or 0), -e.epoch) for e in epochs]
        best = -max(ranks)[-1]
        assert events[-1].best_epoch == best
        assert settings.output is not None
        assert load_checkpoint(settings.output / "best.cpcnn").training["epoch"] == best
        chosen.add(best)
        header = (settings.output / "history.csv").read_text().splitlines()[0]
        column = f"validation_{monitor.replace('-', '_')}"
        assert column in header.split(",")
    assert len(chosen) > 1  # or the monitor might not matter


def test_patience_ends_training(make: Make) -> None:
    settings = make(monitor="loss", patience=2, epochs=30, lr=0.1, schedule="constant")
    events = train(settings)
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    end = events[-1]
    assert isinstance(end, TrainingEnded)
    assert end.reason == "stopped"
    assert len(epochs) == end.best_epoch + 2 < 30


@pytest.mark.parametrize("options", [{"patience": 3}, {"monitor": "loss"}])
def test_nothing_can_be_watched_without_validation(
    tmp_path: Path, make: Make, options: dict[str, Any]
) -> None:
    root = tmp_path / "single"
    write_sample_images(root, per_class=1, size=16, seed=0)
    single = root / "train"
    name = f"--{next(iter(options))}"
    with pytest.raises(DataError, match=f"{name} needs images to validate on"):
        train(make(data=single, **options))


# ---- What it starts from ---------------------------------------------------------------------


def test_weights_are_taken_over(make: Make) -> None:
    first = make()
    train(first)
    second = make(weights=first.output, epochs=1, lr=1e-30, weight_decay=0.0)
    notes = notes_of(train(second))
    assert notes == (f"Weights of {first.output}/best.cpcnn: 8 of 8 arrays taken.",)
    for name, array in weights_of(second).items():
        np.testing.assert_allclose(array, weights_of(first, "best.cpcnn")[name], atol=1e-12)


def notes_of(events: list[Any]) -> tuple[str, ...]:
    (prepared,) = (event for event in events if isinstance(event, TrainingPrepared))
    few = "5 classes have few images to train on"  # which is so in every training here
    return tuple(note for note in prepared.notes if not note.startswith(few))


def test_the_head_stays_fresh_when_the_classes_are_others(
    make: Make, tmp_path: Path, images: Path
) -> None:
    first = make()
    train(first)
    others = tmp_path / "others"
    for number, folder in enumerate(sorted((images / "train").iterdir())):
        (others / f"new-{number}").mkdir(parents=True)
        for file in folder.iterdir():
            (others / f"new-{number}" / file.name).write_bytes(file.read_bytes())
    (note,) = notes_of(train(make(data=others, weights=first.output)))
    assert "6 of 8 arrays taken; fresh are dense_1.kernel, dense_1.bias." in note


def test_weights_that_do_not_fit_are_named_or_refused(make: Make) -> None:
    first = make()
    train(first)
    (note,) = notes_of(train(make(weights=first.output, img_size=20)))
    assert "7 of 8 arrays taken; fresh are dense.kernel." in note
    with pytest.raises(CheckpointError, match=r"No weight of .* fits the network"):
        train(make(weights=first.output, model="resnet9", width=0.05))
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        train(make(weights=Path("nowhere")))


def test_frozen_layers_stay_as_they_are(make: Make) -> None:
    first = make()
    train(first)
    second = make(weights=first.output, freeze=("conv2d*",))
    notes = notes_of(train(second))
    before, after = weights_of(first, "best.cpcnn"), weights_of(second)
    for name in before:
        assert np.array_equal(before[name], after[name]) == name.startswith("conv2d"), name
    frozen = sum(array.size for name, array in after.items() if name.startswith("conv2d"))
    total = sum(array.size for array in after.values())
    assert notes[0] == f"Frozen: {frozen:,} of {total:,} parameters."


def test_frozen_batch_normalisation_keeps_its_statistics(make: Make) -> None:
    settings = make(model="resnet9", width=0.05, freeze=("stem", "residual*.bn"), epochs=1)
    after = trained(settings)
    fixed = {name for name, array in after.items() if "moving_mean" in name and not array.any()}
    assert {"stem.bn.moving_mean", "residual1.body.stack.bn.moving_mean"} <= fixed
    assert "stage1.stack.bn.moving_mean" not in fixed
    assert all(name.startswith(("stem.", "residual")) for name in fixed)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (("stem",), "--freeze 'stem' matches no layer.*conv2d, max_pooling2d, .*dense_1"),
        (("*",), "--freeze leaves nothing to train"),
    ],
)
def test_patterns_that_cannot_be_meant(make: Make, patterns: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        train(make(freeze=patterns))


def test_a_resumed_training_with_all_options_has_the_same_bits(make: Make) -> None:
    first = make(model="resnet9", width=0.05)
    train(first)
    options = {
        "model": "resnet9",
        "width": 0.05,
        "epochs": 3,
        "weights": first.output,
        "freeze": ("stem", "residual1"),
        "ema": 0.9,
        "accumulate": 3,
        "clip_norm": 1.0,
        "monitor": "macro-f1",
        "patience": 2,
        "class_weights": "balanced",
        "vertical_flip": True,
        "schedule": "reduce-on-plateau",
        "warmup_epochs": 0.5,
        "limit": 20,
    }
    whole, parts = make(**options), make(**options)
    end = train(whole)[-1]
    for number, event in enumerate(train_folder(parts)):
        if isinstance(event, TrainingPrepared):
            stop = event.request_stop
        if isinstance(event, StepEnded) and number > 7:
            stop()
    *_, resumed = resume_training(ResumeSettings(parts.output))
    assert isinstance(resumed, TrainingEnded)
    assert (resumed.reason, resumed.best_epoch) == (end.reason, end.best_epoch)
    for name in ("last.cpcnn", "best.cpcnn"):
        assert equal(weights_of(whole, name), weights_of(parts, name))


# ---- Less work -------------------------------------------------------------------------------


def test_a_limit_holds_for_training_and_validation(make: Make) -> None:
    (prepared,) = (e for e in train(make(limit=12)) if isinstance(e, TrainingPrepared))
    assert prepared.train_images + prepared.validation_images == 12
    assert prepared.train_images >= len(prepared.classes)


def test_a_dry_run_learns_nothing_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    settings = make(accumulate=2, freeze=("conv2d",), epochs=3)
    events = list(dry_run(settings))
    end = events[-1]
    assert isinstance(end, DryRunEnded)
    (prepared,) = (event for event in events if isinstance(event, TrainingPrepared))
    assert end.batches_per_epoch == -(-prepared.train_images // 4)
    assert end.updates == 3 * -(-end.batches_per_epoch // 2)
    assert 0 < end.trainable < end.parameters == prepared.parameters
    assert end.loss == pytest.approx(np.log(len(prepared.classes)), rel=0.2)
    assert not any(isinstance(event, StepEnded) for event in events)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_refuses_what_training_would(make: Make, tmp_path: Path) -> None:
    for options in ({"model": "resnet"}, {"freeze": ("nothing",)}, {"class_weights": "no.csv"}):
        with pytest.raises(UsageError):
            list(dry_run(make(**options)))
    assert list(tmp_path.iterdir()) == []
