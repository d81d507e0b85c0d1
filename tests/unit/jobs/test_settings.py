"""Settings: the default recipe, refusals, and the way to a file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpcnn.core.errors import UsageError
from cpcnn.jobs import TrainSettings
from cpcnn.jobs.settings import did_you_mean


def test_the_default_recipe() -> None:
    recipe = TrainSettings(Path("data"))
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adamw", "auto", 0.01)
    assert (recipe.schedule, recipe.label_smoothing, recipe.epochs) == ("one-cycle", 0.1, 20)
    assert (recipe.flip, recipe.shift, recipe.val_fraction) == (True, 1 / 16, 0.2)
    assert recipe.batch_size_for(9_999) == 32
    assert recipe.batch_size_for(10_000) == 64
    assert (recipe.lr_for(32), recipe.lr_for(64)) == (2e-3, 4e-3)
    assert TrainSettings(Path("data"), lr=0.5).lr_for(64) == 0.5
    assert TrainSettings(Path("data"), batch_size=7).batch_size_for(10_000) == 7


def test_settings_survive_a_file() -> None:
    settings = TrainSettings(
        Path("data"), model="simple", img_size=48, channels="1", zoom_range=0.2, name="x"
    )
    config = settings.to_config()
    assert all(isinstance(value, str | int | float | bool) for value in config.values())
    assert Path(config["data"]).is_absolute()
    assert TrainSettings.from_config(config).to_config() == config
    assert TrainSettings.from_config(config).name is None


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
        ({"optimizer": "adamv"}, "one of adamw, adam, sgd. Did you mean 'adam'"),
        ({"schedule": "linear"}, "one of one-cycle, cosine, constant"),
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
