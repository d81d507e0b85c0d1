"""What a command does, without a terminal: train on a folder, evaluate a run, predict images.

The command line renders what these functions yield; a script can use them just as well:

    from cpcnn.jobs import TrainSettings, train_folder

    for event in train_folder(TrainSettings(data="images")):
        print(event)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "EvaluateSettings": "evaluate",
    "PredictSettings": "predict",
    "ResumeSettings": "resume",
    "RunDirectory": "run_directory",
    "SummarySettings": "summary",
    "TrainSettings": "settings",
    "evaluate_run": "evaluate",
    "predict_images": "predict",
    "resume_folds": "folds",
    "resume_training": "resume",
    "summarise_model": "summary",
    "train_folder": "train",
    "train_folds": "folds",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
