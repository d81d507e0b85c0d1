"""Which checkpoint a user means, and the classifier in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import CheckpointError
from ..data.images.preprocess import Preprocessing
from ..devices import Device
from ..models import Model, load_model
from .run_directory import BEST, LAST, SETTINGS, RunDirectory, is_run, last_run

ZIP_MAGIC = b"PK"
SUFFIX = ".cpcnn"


@dataclass(frozen=True)
class ModelSource:
    """A checkpoint, the run that it belongs to, if any, and a remark on the choice."""

    checkpoint: Path
    run: RunDirectory | None
    notice: str = ""


def find_model(path: Path | None) -> ModelSource:
    """Return the checkpoint of a file or run directory; of the last run when there is no path."""
    if path is None:
        return _of_run(last_run())
    # os.path, because a path that cannot be one, such as a very long name, is not there either
    if os.path.isdir(path):
        return _of_run(RunDirectory(path))
    if not os.path.exists(path):
        raise CheckpointError(
            f"{path} does not exist.", suggestion="Give a checkpoint file or a run directory."
        )
    run = RunDirectory(path.parent)
    belongs = path.name in (BEST, LAST) and (run.path / SETTINGS).is_file()
    return ModelSource(path, run if belongs else None)


def is_model(path: Path) -> bool:
    """Say whether a path is meant as a model: a run directory, or a file that looks like one."""
    if os.path.isdir(path):
        return is_run(path)
    if path.suffix == SUFFIX:
        return True
    if not os.path.isfile(path):  # opening a pipe would wait for its writer
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    except OSError:
        return False


@dataclass(frozen=True)
class Classifier:
    """A model with all that it takes to classify image files."""

    model: Model
    classes: tuple[str, ...]
    preprocessing: Preprocessing


def load_classifier(checkpoint: Path, device: Device) -> Classifier:
    """Load a checkpoint that can classify image files; CheckpointError for any other."""
    model = load_model(checkpoint, device)
    if model.preprocessing is None or model.classes is None:
        raise CheckpointError(
            f"{checkpoint} was saved without its {_missing(model)}.",
            suggestion="Use a checkpoint of `cpcnn train`; or, in Python, set "
            "model.classes = tuple(data.class_indices) and "
            "model.preprocessing = data.preprocessing before model.save(...), "
            "where data is what flow_from_directory returned.",
        )
    preprocessing = Preprocessing.from_config(model.preprocessing)
    shape = (preprocessing.height, preprocessing.width, preprocessing.channels)
    if shape != model.input_shape or len(model.classes) != model.num_classes:
        raise CheckpointError(
            f"{checkpoint} is damaged: its network turns {model.input_shape} into "
            f"{model.output_shape}, its images are {shape} and its classes {len(model.classes)}."
        )
    return Classifier(model, model.classes, preprocessing)


def _missing(model: Model) -> str:
    parts = {"classes": model.classes, "preprocessing": model.preprocessing}
    return " and ".join(name for name, value in parts.items() if value is None)


def _of_run(run: RunDirectory) -> ModelSource:
    checkpoint = run.checkpoint()
    notice = (
        "" if checkpoint.name == BEST else f"{run.path} has no {BEST}: using {checkpoint.name}."
    )
    return ModelSource(checkpoint, run, notice)
