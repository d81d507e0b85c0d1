"""`cpcnn predict [MODEL] IMAGES…`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import output_options
from ..streams import Streams

BAD_IMAGES = 3  # exit code


@click.command("predict")
@click.argument("arguments", nargs=-1, required=True, metavar="[MODEL] IMAGES...")
@click.option(
    "-k",
    "--top",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Classes to show for each image.",
)
@click.option(
    "-b",
    "--batch-size",
    type=int,
    default=64,
    show_default=True,
    metavar="N",
    help="Images at a time.",
)
@click.option(
    "-j",
    "--workers",
    type=int,
    default=2,
    show_default=True,
    metavar="N",
    help="Threads that read images.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help="cpu, numpy, gpu, gpu:N or auto.",
)
@output_options
def command(streams: Streams, arguments: tuple[str, ...], **values: Any) -> int | None:
    """Classify images and print a line for each: path, class, probability, separated by tabs.

    MODEL is a checkpoint file or a run directory, by default the last run in runs/. IMAGES are
    files, folders or patterns; the lines are in their order. An image that cannot be read gets a
    line that says so, and the exit code is 3.
    """
    from cpcnn.jobs.model_source import is_model
    from cpcnn.jobs.predict import PredictSettings, predict_images

    from ..views.predictions import prediction_document, prediction_line
    from ..views.text import counted

    first = Path(arguments[0])
    model, images = (first, arguments[1:]) if is_model(first) else (None, arguments)
    settings = PredictSettings(images=images, model=model, **values)
    documents = []
    bad = 0
    with streams.reserved():
        for prediction in predict_images(settings):
            bad += bool(prediction.error)
            streams.result(prediction_line(prediction))
            if streams.json:
                documents.append(prediction_document(prediction))
    streams.document({"predictions": documents})
    if bad:
        streams.say(f"{counted(bad, 'image')} could not be read.")
    return BAD_IMAGES if bad else 0
