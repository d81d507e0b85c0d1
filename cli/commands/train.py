"""`cpcnn train DATA`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cpcnn.jobs.settings import CHANNELS, ON_ERROR, OPTIMIZERS, RESIZES, SCHEDULES, TrainSettings

from ..options import batch_size, learning_rate, output_options, path_type, settings_option
from ..streams import Streams

option = settings_option(TrainSettings)


@click.command("train", epilog="Nothing is ever written into DATA; the run goes to runs/MODEL-N.")
@click.argument("data", type=path_type())
@option("--model", metavar="NAME", help="simple, resnet9 or resnet18.")
@option("--width", type=float, metavar="X", help="Scales the number of channels.")
@option("--epochs", type=int, metavar="N", help="Passes over the training images.")
@option("-b", "--batch-size", type=batch_size, metavar="N|auto", help="Images per step.")
@option("--lr", type=learning_rate, metavar="X|auto", help="Highest learning rate.")
@option("--optimizer", "--opt", type=click.Choice(OPTIMIZERS), help="Update rule.")
@option("--schedule", type=click.Choice(SCHEDULES), help="Course of the learning rate.")
@option("--weight-decay", "--wd", type=float, metavar="X", help="Decay of the weights.")
@option("--label-smoothing", type=float, metavar="X", help="Share given to all classes.")
@option(
    "--img-size",
    "--imgsz",
    type=int,
    metavar="PX",
    help="Side of the square input image; measured by default.",
)
@option("--channels", type=click.Choice(CHANNELS), help="1 = grey, 3 = colour.")
@option(
    "--resize", type=click.Choice(RESIZES), help="How images become square; kept with the model."
)
@option("--flip/--no-flip", help="Random horizontal flip. Turn it off where left and right matter.")
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
    "--val-fraction",
    type=float,
    metavar="X",
    help="Part of the training images held out when DATA has no validation split.",
)
@option("--seed", type=int, metavar="N", help="Same seed, same result.")
@option("-j", "--workers", type=int, metavar="N", help="Threads that read images.")
@option("--threads", type=int, metavar="N", help="CPU threads that compute; all by default.")
@option("--device", metavar="DEVICE", help="cpu, numpy, gpu, gpu:N or auto.")
@option("--on-error", type=click.Choice(ON_ERROR), help="What to do with unreadable images.")
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
@output_options
def command(streams: Streams, data: Path, **values: Any) -> int | None:
    """Train a classifier on the folder DATA.

    DATA holds one folder of images per class, or train/, val/ and test/ folders that do.
    """
    settings = TrainSettings(data=data, **values)
    return run(settings, streams)


def run(settings: TrainSettings, streams: Streams) -> int:
    """Train, show how it goes, and return the exit code."""
    from ..training_session import TrainingSession

    with streams.reserved():
        session = TrainingSession(settings, streams)
        session.run()
    streams.result(session.outcome())
    streams.document(session.document())
    return session.exit_code
