"""Settings: the default recipe, refusals, and the way to a file and back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from cpcnn.core.errors import UsageError
from cpcnn.jobs import TrainSettings
from cpcnn.jobs.augment_presets import augmentation_keywords
from cpcnn.jobs.settings import OPTIMIZERS, SCHEDULES, did_you_mean
from cpcnn.optimizers import OPTIMIZERS as KNOWN_OPTIMIZERS
from cpcnn.schedules import SCHEDULES as KNOWN_SCHEDULES


def test_the_default_recipe() -> None:
    recipe = TrainSettings(Path("data"))
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adamw", "auto", 0.01)
    assert (recipe.schedule, recipe.label_smoothing, recipe.epochs) == ("one-cycle", 0.1, 20)
    assert (recipe.augment, recipe.val_fraction) == ("light", 0.2)
    augmentation = augmentation_keywords(recipe.augment, recipe)
    assert augmentation == {"horizontal_flip": True, "shift": 1 / 16}
    assert (recipe.warmup_epochs, recipe.accumulate, recipe.monitor) == (0, 1, "accuracy")
    off = (recipe.ema, recipe.clip_norm, recipe.patience, recipe.class_weights, recipe.weights)
    assert off == (None,) * 5
    assert (recipe.freeze, recipe.limit) == ((), None)
    assert recipe.batch_size_for(9_999) == 32
    assert recipe.batch_size_for(10_000) == 64
    assert (recipe.lr_for(32), recipe.lr_for(64)) == (2e-3, 4e-3)
    assert TrainSettings(Path("data"), lr=0.5).lr_for(64) == 0.5
    assert TrainSettings(Path("data"), batch_size=7).batch_size_for(10_000) == 7


def test_settings_survive_a_file() -> None:
    settings = TrainSettings(
        Path("data"),
        model="simple",
        img_size=48,
        channels="1",
        zoom_range=0.2,
        name="x",
        weights=Path("runs/other"),
        class_weights="weights.csv",
        freeze=("stem", "stage*"),
    )
    config = settings.to_config()
    assert tomllib.loads(tomli_w.dumps(config)) == config
    for name in ("data", "weights", "class_weights"):
        assert Path(config[name]).is_absolute()
    assert TrainSettings.from_config(config).to_config() == config
    assert TrainSettings.from_config(config).name is None


def test_settings_of_the_first_version_are_read() -> None:
    config = TrainSettings(Path("data")).to_config()
    new = ("warmup_epochs", "accumulate", "monitor", "freeze", "vertical_flip")
    old = {name: value for name, value in config.items() if name not in new}
    assert TrainSettings.from_config(old) == TrainSettings.from_config(config)
    assert TrainSettings(Path("data"), class_weights="balanced").to_config()["class_weights"] == (
        "balanced"
    )


def test_every_optimizer_and_schedule_can_be_chosen() -> None:
    assert set(OPTIMIZERS) == set(KNOWN_OPTIMIZERS)
    assert set(SCHEDULES) == set(KNOWN_SCHEDULES)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no setting 'epoch'.*Did you mean 'epochs'"):
        TrainSettings.from_config({"data": "x", "epoch": 3})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": True}, "--epochs is True"),
        ({"epochs": 1.5}, "--epochs is 1.5"),
        ({"lr": "fast"}, "--lr is 'fast'"),
        ({"lr": float("inf")}, "--lr is inf"),
        ({"optimizer": "adamv"}, "one of adamw, adam, nadam, sgd, rmsprop, lamb. Did you mean"),
        ({"schedule": "linear"}, "one of one-cycle, cosine, cosine-restarts"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "--momentum is 1.0"),
        ({"momentum": 0.9}, "--momentum goes with sgd and rmsprop; adamw has none"),
        ({"warmup_epochs": -1}, "--warmup-epochs is -1"),
        ({"warmup_epochs": 3, "epochs": 3}, "--warmup-epochs is 3; it must be below --epochs"),
        ({"ema": 1.0}, "--ema is 1.0; it must be a number above 0 and below 1"),
        ({"accumulate": 0}, "--accumulate is 0"),
        ({"clip_norm": 0}, "--clip-norm is 0"),
        ({"patience": 0}, "--patience is 0"),
        ({"limit": 1}, "--limit is 1; it must be a whole number of at least 2"),
        ({"monitor": "f1"}, "--monitor is 'f1'; it must be one of accuracy, macro-f1"),
        ({"flip": "yes"}, "--flip is 'yes'; it must be true or false"),
        ({"model": 9}, "--model is 9; it must be text"),
        ({"weights": 3}, "--weights is 3; it must be a path"),
        ({"freeze": [1]}, "--freeze is (1,); it must be a list of text"),
        ({"channels": 2}, "--channels is '2'"),
        ({"on_error": "cry"}, "--on-error is 'cry'"),
        ({"name": ".."}, "not the name of a folder"),
        ({"output": "x", "name": "y"}, "--output and --name"),
        ({"rotation": 181}, "--rotation is 181"),
        ({"img_size": 5000}, "from 8 to 4096"),
    ],
)
def test_nonsense_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainSettings(Path("data"), **values)
    assert said in str(caught.value)


def test_a_data_folder_that_no_file_could_name() -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        TrainSettings(Path("caf\udce9"))


def test_suggestions() -> None:
    assert did_you_mean("resnet", ["simple", "resnet9"]) == "Did you mean 'resnet9'?"
    assert did_you_mean("zzz", ["a", "b"]) == "Choose from a, b."
