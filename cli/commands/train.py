"""`cpcnn train DATA`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpcnn.jobs.settings import (
    CHANNELS,
    MONITORS,
    ON_ERROR,
    OPTIMIZERS,
    RESIZES,
    SCHEDULES,
    TrainSettings,
)

from ..help_sections import SectionedCommand
from ..options import (
    Choice,
    batch_size,
    given_options,
    learning_rate,
    output_options,
    path_type,
    settings_option,
)
from ..resume_option import resume_option, resume_settings
from ..streams import Streams

if TYPE_CHECKING:
    from cpcnn.jobs.resume import ResumeSettings

    from ..prepared_session import PreparedSession

option = settings_option(TrainSettings)
SETTINGS = {field.name for field in fields(TrainSettings)}

SECTIONS = {
    "Images": (
        "img_size",
        "channels",
        "resize",
        "val_fraction",
        "group_by",
        "limit",
        "on_error",
        "allow_empty_classes",
        "allow_nested",
    ),
    "Model": ("model", "width", "weights", "freeze"),
    "Training": (
        "epochs",
        "batch_size",
        "lr",
        "optimizer",
        "momentum",
        "schedule",
        "warmup_epochs",
        "weight_decay",
        "label_smoothing",
        "class_weights",
        "ema",
        "accumulate",
        "clip_norm",
        "monitor",
        "patience",
    ),
    "Augmentation": ("flip", "vertical_flip", "shift", "rotation", "shear_range", "zoom_range"),
    "Run": (
        "output",
        "name",
        "config",
        "resume",
        "dry_run",
        "seed",
        "device",
        "exact",
        "workers",
        "threads",
    ),
}


@click.command(
    "train",
    cls=SectionedCommand,
    sections=SECTIONS,
    epilog="Nothing is ever written into DATA; the run goes to runs/MODEL-N.",
)
@click.argument("data", type=path_type(), required=False)
@option("--model", metavar="NAME", help="simple, resnet9 or resnet18.")
@option("--width", type=float, metavar="X", help="Scales the number of channels.")
@option("--epochs", type=int, metavar="N", help="Passes over the training images.")
@option("-b", "--batch-size", type=batch_size, metavar="N|auto", help="Images per step.")
@option("--lr", type=learning_rate, metavar="X|auto", help="Highest learning rate.")
@option("--optimizer", "--opt", type=Choice(OPTIMIZERS), help="Update rule.")
@option("--momentum", type=float, metavar="X", help="Of sgd (0.9 by default) and rmsprop (0).")
@option(
    "--schedule",
    type=Choice(SCHEDULES),
    metavar="NAME",
    help=f"Course of the learning rate: {', '.join(SCHEDULES)}.",
)
@option(
    "--warmup-epochs",
    type=float,
    metavar="X",
    help="Epochs in which the rate grows; 0 leaves that to the schedule.",
)
@option("--weight-decay", "--wd", type=float, metavar="X", help="Decay of the weights.")
@option("--label-smoothing", type=float, metavar="X", help="Share given to all classes.")
@option(
    "--class-weights",
    metavar="balanced|FILE",
    help="Weights of the classes in the loss: N / (classes x images of the class), "
    "or a CSV (class,weight) or TOML file.",
)
@option("--ema", type=float, metavar="DECAY", help="Average the weights, such as 0.999.")
@option("--accumulate", type=int, metavar="N", help="Batches for an update.")
@option("--clip-norm", type=float, metavar="X", help="Largest norm of all gradients together.")
@option("--monitor", type=Choice(MONITORS), help="What makes an epoch the best, in the validation.")
@option("--patience", type=int, metavar="N", help="Stop after N epochs without a better one.")
@option(
    "--weights",
    type=path_type(),
    metavar="PATH",
    help="Start from the weights of a run or checkpoint, as far as they fit.",
)
@option(
    "--freeze",
    multiple=True,
    metavar="PATTERN",
    help="Layers that stay as they are, such as stem or 'stage*'; may be repeated.",
)
@option(
    "--img-size",
    "--imgsz",
    type=int,
    metavar="PX",
    help="Side of the square input image; measured by default.",
)
@option("--channels", type=Choice(CHANNELS), help="1 = grey, 3 = colour.")
@option("--resize", type=Choice(RESIZES), help="How images become square; kept with the model.")
@option("--flip/--no-flip", help="Random horizontal flip. Turn it off where left and right matter.")
@option("--vertical-flip", is_flag=True, help="Random vertical flip.")
@option("--shift", type=float, metavar="X", help="Random shift, as a fraction of the side.")
@option("--rotation", type=float, metavar="DEG", help="Random rotation, in degrees either way.")
@option(
    "--shear-range",
    type=float,
    metavar="DEG",
    help="Random shear, in degrees (not radians), as in Keras.",
)
@option(
    "--zoom-range", type=float, metavar="Z", help="Random zoom: both axes drawn from 1-Z to 1+Z."
)
@option(
    "--limit",
    type=int,
    metavar="N",
    help="Use N of the images to train and validate, chosen by a hash, of every class.",
)
@option(
    "--val-fraction",
    type=float,
    metavar="X",
    help="Part of the training images held out when DATA has no validation split.",
)
@option(
    "--group-by",
    metavar="REGEX|COLUMN",
    help="Hold out whole groups: a pattern in the file's path, or a column of metadata.csv.",
)
@option("--seed", type=int, metavar="N", help="Same seed, same result.")
@option("-j", "--workers", type=int, metavar="N", help="Threads that read images.")
@option(
    "--exact",
    is_flag=True,
    help="Leave out Winograd's convolution, which is faster and rounds a little more.",
)
@option("--threads", type=int, metavar="N", help="CPU threads that compute; all by default.")
@option("--device", metavar="DEVICE", help="cpu, numpy, gpu, gpu:N or auto.")
@option("--on-error", type=Choice(ON_ERROR), help="What to do with unreadable images.")
@option("--allow-empty-classes", is_flag=True, help="Accept class folders without images.")
@option("--allow-nested", is_flag=True, help="Accept folders of folders inside class folders.")
@option(
    "-o",
    "--output",
    type=path_type(),
    metavar="DIR",
    help="Folder of the run; must be new or empty.",
)
@option("--name", metavar="NAME", help="Put the run into runs/NAME.")
@click.option(
    "--config",
    type=path_type(),
    metavar="FILE",
    help="TOML file of settings, such as settings.toml of a run; options here go before it, "
    "its paths start from the working directory.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, try one batch, and leave nothing.")
@resume_option
@output_options
def command(
    streams: Streams, data: Path | None, config: Path | None, dry_run: bool, **values: Any
) -> int | None:
    """Train a classifier on the folder DATA.

    DATA holds one folder of images per class, or train/, val/ and test/ folders that do.
    """
    if values["resume"] is not None:
        return resume(resume_settings(data, values), streams)
    settings = _settings(data, config, values)
    return try_out(settings, streams) if dry_run else run(settings, streams)


def _settings(data: Path | None, config: Path | None, values: dict[str, Any]) -> TrainSettings:
    """Return what was asked for: the options that were given, before those of the file."""
    from cpcnn.jobs.config_file import ConfigFile

    given = {name: values[name] for name in given_options() if name in SETTINGS}
    if data is not None:
        given["data"] = data
    file = None if config is None else ConfigFile.read(config)
    if "data" not in given and (file is None or "data" not in file.values):
        raise click.MissingParameter(param_hint="'DATA'", param_type="argument")
    return TrainSettings(**given) if file is None else file.settings(given)


def run(settings: TrainSettings, streams: Streams) -> int:
    """Train, show how it goes, and return the exit code."""
    from cpcnn.jobs.train import train_folder

    from ..training_session import TrainingSession

    return show(TrainingSession(lambda progress: train_folder(settings, progress), streams))


def try_out(settings: TrainSettings, streams: Streams) -> int:
    """Do all but the training, and say what it would be."""
    from ..dry_run_session import DryRunSession

    return show(DryRunSession(settings, streams))


def resume(settings: ResumeSettings, streams: Streams) -> int:
    """Go on with a run, show how it goes, and return the exit code."""
    from cpcnn.jobs.resume import resume_training

    from ..training_session import TrainingSession

    return show(TrainingSession(lambda progress: resume_training(settings, progress), streams))


def show(session: PreparedSession) -> int:
    """Run a session, show how it goes, and return the exit code."""
    streams = session.streams
    with streams.reserved():
        session.run()
    streams.result(session.outcome())
    streams.document(session.document())
    return session.exit_code
