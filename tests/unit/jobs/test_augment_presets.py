"""Presets of augmentation, and options beside them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from cpcnn.core.errors import UsageError
from cpcnn.data import Augmentation
from cpcnn.jobs import TrainSettings
from cpcnn.jobs.augment_presets import NAMES, PRESETS, augmentation_keywords


def augmentation(**options: Any) -> Augmentation:
    return of(TrainSettings(Path("data"), **options))


def of(settings: TrainSettings) -> Augmentation:
    return Augmentation(**augmentation_keywords(settings.augment, settings))


def test_presets_hold_what_they_say() -> None:
    assert not augmentation(augment="none")
    assert augmentation() == augmentation(augment="light")
    assert augmentation() == Augmentation(horizontal_flip=True, shift=0.0625)
    assert augmentation(augment="medium") == Augmentation(
        horizontal_flip=True, random_crop=0.5, brightness=0.2, contrast=0.2, saturation=0.2
    )
    assert augmentation(augment="strong") == Augmentation(
        horizontal_flip=True, random_crop=0.35, trivial_augment=True, erasing=0.25, mixup=0.2,
        cutmix=1.0,
    )  # fmt: skip
    for preset in PRESETS.values():
        assert preset.keys() <= NAMES.keys()


def test_options_change_a_preset() -> None:
    strong = augmentation(augment="strong", flip=False, mixup=0, erasing=0.5, rotation=10)
    assert (strong.horizontal_flip, strong.mixup, strong.cutmix) == (False, 0, 1.0)
    assert (strong.erasing, strong.rotation, strong.trivial_augment) == (0.5, 10, True)
    assert augmentation(augment="none", hue=30) == Augmentation(hue=30)
    assert augmentation(shear_range=9, zoom_range=0.1) == Augmentation(
        horizontal_flip=True, shift=0.0625, shear=9, zoom=0.1
    )


def test_one_policy_replaces_the_presets() -> None:
    other = augmentation(augment="strong", rand_augment=9, rand_augment_steps=3)
    assert (other.rand_augment, other.rand_augment_steps, other.trivial_augment) == (9, 3, False)
    assert not augmentation(augment="strong", trivial_augment=False).trivial_augment


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "strog"}, r"--augment is 'strog'.*Did you mean 'strong'"),
        ({"random_crop": 1}, r"--random-crop is 1; .* at least 0 and below 1"),
        ({"brightness": 1.2}, "--brightness is 1.2"),
        ({"hue": -5}, "--hue is -5"),
        ({"rand_augment": 31}, "--rand-augment is 31; it must be a whole number from 0 to 30"),
        ({"rand_augment": 3, "rand_augment_steps": 0}, "--rand-augment-steps is 0"),
        ({"rand_augment_steps": 2}, "--rand-augment-steps goes with --rand-augment"),
        ({"rand_augment": 3, "trivial_augment": True}, "are two policies"),
        ({"trivial_augment": 1}, "--trivial-augment is 1; it must be true or false"),
        ({"erasing": float("nan")}, "--erasing is nan"),
        ({"mixup": 0.01}, r"--mixup is 0.01; .* at least 0.05 and at most 100, or 0"),
        ({"cutmix": True}, "--cutmix is True"),
        ({"flip": "yes"}, "--flip is 'yes'; it must be true or false"),
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainSettings(Path("data"), **options)


def test_settings_survive_files() -> None:
    settings = TrainSettings(
        Path("data"), augment="strong", cutmix=0, hue=20.5, trivial_augment=False, rand_augment=7
    )
    config = settings.to_config()
    assert "erasing" not in config  # the preset's: another preset brings its own
    for text in (tomllib.loads(tomli_w.dumps(config)), json.loads(json.dumps(config))):
        again = TrainSettings.from_config(text)
        assert again.to_config() == config
        assert of(again) == of(settings)


def test_settings_of_earlier_versions_mean_the_same() -> None:
    """They name what was then the default, and know no presets."""
    old = {
        "data": "x", "flip": False, "shift": 0.0625, "rotation": 5.0, "shear_range": 0.0,
        "zoom_range": 0.0, "vertical_flip": False,
    }  # fmt: skip
    assert of(TrainSettings.from_config(old)) == Augmentation(shift=0.0625, rotation=5.0)
