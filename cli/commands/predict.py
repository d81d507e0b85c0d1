"""`cpcnn predict [MODEL] IMAGES…`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cpcnn.jobs.settings import ON_ERROR

from ..options import Choice, output_options, path_type
from ..streams import Streams

FORMATS = ("table", "tsv", "csv", "json", "jsonl")
NOTHING_CLASSIFIED = 3  # exit code


@click.command("predict")
@click.argument("arguments", nargs=-1, required=True, metavar="[MODEL] IMAGES...")
@click.option(
    "--model",
    type=path_type(),
    metavar="MODEL",
    help="Another way to name the model; all arguments are images then.",
)
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
    "--format",
    "layout",
    type=Choice(FORMATS),
    help="By default a table on a terminal, tab-separated lines elsewhere, and for a FILE what "
    "its name ends in.",
)
@click.option(
    "-o", "--output", type=path_type(), metavar="FILE", help="Write the predictions to a new file."
)
@click.option(
    "-0", "--null", is_flag=True, help="Paths on standard input end in NUL, as of find -print0."
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
@click.option(
    "--exact",
    is_flag=True,
    help="Leave out Winograd's convolution, which is faster and rounds a little more.",
)
@click.option(
    "--on-error",
    type=Choice(ON_ERROR),
    default="skip",
    show_default=True,
    help="What to do with an unreadable image: a line that says so, or stop.",
)
@output_options
def command(
    streams: Streams,
    arguments: tuple[str, ...],
    model: Path | None,
    layout: str | None,
    output: Path | None,
    null: bool,
    **values: Any,
) -> int | None:
    """Classify images and print path, class and probability of each.

    MODEL is a checkpoint file or a run directory, by default the last run in runs/. IMAGES are
    files, folders, tar files, patterns, or - for a list of paths on standard input. The lines are
    in their order. An image that cannot be read gets a line that says so; the exit code is 3 if
    that is all of them.
    """
    from cpcnn.jobs.image_paths import LIST
    from cpcnn.jobs.model_source import is_model
    from cpcnn.jobs.predict import PredictSettings

    from ..path_list import listed_paths
    from ..prediction_session import PredictionSession

    if model is None and is_model(Path(arguments[0])):
        model, arguments = Path(arguments[0]), arguments[1:]
    if null and LIST not in arguments:
        raise click.UsageError("-0 goes with -, the list of paths on standard input.")
    layout = _layout(layout, output, json=streams.json)
    if layout == "json" and output is None:
        streams = replace(streams, json=True)
    session = PredictionSession(layout, output, streams)
    session.run(PredictSettings(arguments, model, **values), listed_paths(null=null))
    return NOTHING_CLASSIFIED if session.bad == session.images else 0


def _layout(asked: str | None, output: Path | None, *, json: bool) -> str:
    """Return the format of the predictions."""
    if json and output is None:
        if asked not in (None, "json"):
            raise click.UsageError(
                f"--json and --format {asked} cannot both have stdout; with -o FILE, the "
                "predictions go there."
            )
        return "json"
    if asked is not None:
        return asked
    if output is not None:
        ending = output.suffix.lower().removeprefix(".")
        return ending if ending in FORMATS else "tsv"
    return "table" if sys.stdout.isatty() else "tsv"
