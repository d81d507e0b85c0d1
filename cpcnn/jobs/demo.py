"""The demonstration: a folder of drawn images, and settings that learn them in under a minute."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ..core.errors import UsageError
from ..data.samples import write_sample_images
from .run_directory import cannot_write
from .settings import TrainSettings

IMAGES, RUN = "images", "run"
MARKER = "README.txt"
MARKER_TEXT = "Made by `cpcnn demo`: drawn images, and what was trained on them.\n"
PER_CLASS, SIZE, EPOCHS = 300, 32, 6


def demo_images(folder: Path) -> Path:
    """Draw the images of the demonstration into a folder, if they are not there yet.

    UsageError when the folder holds anything else, or cannot be written.
    """
    marker, images = folder / MARKER, folder / IMAGES
    try:
        if folder.is_dir() and any(folder.iterdir()) and not _is_ours(marker):
            raise UsageError(
                f"The folder {folder} exists and was not made by `cpcnn demo`.",
                suggestion="Choose another one with --output.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        marker.write_text(MARKER_TEXT, "utf-8")
        if not images.is_dir():
            _draw(images)
    except OSError as error:
        raise cannot_write(folder, error.strerror or str(error)) from error
    return images


def demo_settings(images: Path) -> TrainSettings:
    """Return the settings of the next run beside the images."""
    folder = images.parent
    taken = [re.fullmatch(RUN + r"-(\d+)", path.name) for path in folder.iterdir()]
    number = max((int(match[1]) for match in taken if match), default=0) + 1
    return TrainSettings(
        data=images,
        model="resnet9",
        width=0.125,
        epochs=EPOCHS,
        batch_size=16,
        output=folder / f"{RUN}-{number}",
    )


def _is_ours(marker: Path) -> bool:
    return marker.is_file() and marker.read_text("utf-8", "replace") == MARKER_TEXT


def _draw(images: Path) -> None:
    # Under another name first, so that an interrupted drawing is not taken for all of it.
    partial = images.with_name(IMAGES + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_sample_images(partial, per_class=PER_CLASS, size=SIZE, seed=0)
    partial.rename(images)
