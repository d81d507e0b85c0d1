"""Presets of augmentation, and how options of one's own change them."""

from __future__ import annotations

from typing import Any

from ..core.errors import UsageError

# By the names of settings. What a preset does not name is left out; these are part of what a run
# is, so a preset that is out stays as it is.
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "light": {"flip": True, "shift": 0.0625},  # two pixels of 32
    "medium": {
        "flip": True,
        "random_crop": 0.5,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
    },
    "strong": {
        "flip": True,
        "random_crop": 0.35,
        "trivial_augment": True,
        "erasing": 0.25,
        "mixup": 0.2,
        "cutmix": 1.0,
    },
}
DEFAULT = "light"

# The settings, each with its name in `Augmentation`.
NAMES = {
    "flip": "horizontal_flip",
    "vertical_flip": "vertical_flip",
    "shift": "shift",
    "rotation": "rotation",
    "shear_range": "shear",
    "zoom_range": "zoom",
    "random_crop": "random_crop",
    "brightness": "brightness",
    "contrast": "contrast",
    "saturation": "saturation",
    "hue": "hue",
    "rand_augment": "rand_augment",
    "rand_augment_steps": "rand_augment_steps",
    "trivial_augment": "trivial_augment",
    "erasing": "erasing",
    "mixup": "mixup",
    "cutmix": "cutmix",
}

# What numbers may be: the arguments of `number` and `whole` in `settings.py`.
NUMBERS: dict[str, dict[str, Any]] = {
    "shift": {"least": 0, "below": 1},
    "rotation": {"least": 0, "most": 180},
    "shear_range": {"least": 0, "below": 90},
    "zoom_range": {"least": 0, "below": 1},
    "random_crop": {"least": 0, "below": 1},
    "brightness": {"least": 0, "most": 1},
    "contrast": {"least": 0, "most": 1},
    "saturation": {"least": 0, "most": 1},
    "hue": {"least": 0, "most": 180},
    "erasing": {"least": 0, "most": 1},
}
WHOLES: dict[str, tuple[int, int]] = {"rand_augment": (0, 30), "rand_augment_steps": (1, 8)}
ALPHAS = ("mixup", "cutmix")  # 0, or within these bounds
ALPHA: dict[str, Any] = {"least": 0.05, "most": 100}


def augmentation_keywords(preset_name: str, settings: Any = None) -> dict[str, Any]:
    """Return the arguments of `Augmentation`: those of a preset, and what settings say besides.

    Of RandAugment and TrivialAugment the one that is asked for replaces the preset's.
    """
    given = {name: getattr(settings, name, None) for name in NAMES}
    preset = dict(PRESETS[preset_name])
    if given["rand_augment"]:
        preset.pop("trivial_augment", None)
    values = preset | {name: value for name, value in given.items() if value is not None}
    return {NAMES[name]: value for name, value in values.items()}


def check_policies(settings: Any) -> None:
    """Raise UsageError for two policies, or for steps of none."""
    if settings.rand_augment and settings.trivial_augment:
        raise UsageError(
            "--rand-augment and --trivial-augment are two policies.",
            suggestion="Give one of them.",
        )
    if settings.rand_augment_steps is not None and settings.rand_augment is None:
        raise UsageError(
            "--rand-augment-steps goes with --rand-augment.",
            suggestion="Give a magnitude as well, such as --rand-augment 9.",
        )
