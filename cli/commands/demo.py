"""`cpcnn demo`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from cpcnn.jobs.settings import TrainSettings, option

from ..options import path_type
from ..streams import Streams


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=path_type(),
    default="cpcnn-demo",
    show_default=True,
    metavar="DIR",
    help="Folder for the images and the run.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help="cpu, numpy, gpu, gpu:N or auto.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print results only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(output: Path, device: str, quiet: bool, debug: bool) -> int | None:
    """Draw a small folder of images, train on it, and show the report: all in about a minute.

    Run again, it uses the images that are there and trains another run.
    """
    from cpcnn.jobs.demo import demo_images, demo_settings
    from cpcnn.jobs.evaluate import EvaluateSettings

    from ..views.text import quoted
    from .evaluate import run as evaluate
    from .train import run as train

    streams = Streams(quiet=quiet)
    images = demo_images(output)
    settings = replace(demo_settings(images), device=device)
    streams.say(f"$ cpcnn train {quoted(images)} {_as_options(settings)}")
    code = train(settings, streams)
    if code:
        return code
    streams.say(f"\n$ cpcnn eval {quoted(settings.output or output)}")
    return evaluate(EvaluateSettings(model=settings.output, device=device), streams)


def _as_options(settings: TrainSettings) -> str:
    """Return the settings that differ from the defaults, as one would type them."""
    parts = []
    for name in ("model", "width", "epochs", "batch_size", "output"):
        value = getattr(settings, name)
        if value != getattr(TrainSettings(settings.data), name):
            parts.append(f"{option(name)} {shlex.quote(str(value))}")
    return " ".join(parts)
