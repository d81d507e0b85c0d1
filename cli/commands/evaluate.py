"""`cpcnn eval [MODEL] [DATA]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cpcnn.jobs.settings import CACHES, ON_ERROR

from ..options import Choice, output_options, path_type
from ..streams import Streams


@click.command("eval")
@click.argument("model", type=path_type(), required=False)
@click.argument("data", type=path_type(), required=False)
@click.option(
    "--split",
    type=Choice(["train", "validation", "test"]),
    help="The images to evaluate; test, else validation, by default.",
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
    "--cache",
    type=Choice(CACHES),
    default="auto",
    show_default=True,
    help="Where decoded images are kept, as in training.",
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
    help="What to do with unreadable images.",
)
@click.option(
    "--allow-unknown-classes",
    is_flag=True,
    help="Leave out images of classes that the model does not know.",
)
@click.option(
    "--allow-nested", is_flag=True, help="Accept folders of folders inside class folders."
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Only files that match, as in training; a run's own data is read as the run did.",
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="No files that match.")
@click.option("--strict-split", is_flag=True, help="Refuse images that the model was trained on.")
@click.option(
    "-o",
    "--output",
    type=path_type(),
    metavar="DIR",
    help="Folder for the report; the model's run by default.",
)
@output_options
def command(streams: Streams, model: Path | None, data: Path | None, **values: Any) -> int | None:
    """Show precision, recall and F1 of every class.

    MODEL is a checkpoint file or a run directory, by default the last run in runs/. DATA is a
    folder of images, a list of them or a tar file, by default what MODEL was trained on.
    """
    from cpcnn.jobs.evaluate import EvaluateSettings
    from cpcnn.jobs.model_source import is_model

    if model is not None and data is None and model.is_dir() and not is_model(model):
        model, data = None, model
    return run(EvaluateSettings(model=model, data=data, **values), streams)


def run(settings: Any, streams: Streams) -> int:
    """Evaluate and show the report."""
    from cpcnn.jobs.evaluate import Evaluated, EvaluationPrepared, evaluate_run
    from cpcnn.jobs.events import DeviceSelected

    from ..views.evaluation import prepared_lines, report_text
    from ..views.progress import task_progress
    from ..views.training import device_line

    outcome: Evaluated | None = None
    with streams.reserved(), task_progress(streams, sys.stderr) as progress:
        for event in evaluate_run(settings, progress):
            match event:
                case DeviceSelected():
                    streams.say(device_line(event))
                case EvaluationPrepared():
                    streams.say("\n".join(prepared_lines(event)))
                case Evaluated():
                    outcome = event
    assert outcome is not None
    streams.say()
    streams.result(report_text(outcome))
    streams.document(outcome.to_document())
    return 0
