"""`cpcnn summary [MODEL]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import output_options, path_type
from ..streams import Streams


@click.command("summary")
@click.argument("model", type=path_type(), required=False)
@click.option(
    "--img-size",
    "--imgsz",
    type=int,
    metavar="PX",
    help="With a network's name: side of the square input image; 32 by default.",
)
@click.option(
    "--channels",
    type=int,
    metavar="N",
    help="With a network's name: 1 = grey, 3 = colour (default).",
)
@click.option(
    "--classes", type=int, metavar="N", help="With a network's name: classes; 10 by default."
)
@click.option(
    "--width", type=float, metavar="X", help="With a network's name: scales the channels."
)
@click.option(
    "-b",
    "--batch-size",
    type=int,
    metavar="N",
    help="Images at a time, for the memory; that of the run by default, else 32.",
)
@click.option("--train", is_flag=True, help="Show what each layer keeps for training.")
@output_options
def command(
    streams: Streams, model: Path | None, train: bool, batch_size: int | None, **sizes: Any
) -> int | None:
    """Show the layers of a model, their parameters and multiply-adds, and the memory it takes.

    MODEL is a checkpoint file or a run directory, by default the last run in runs/; or a ready
    network: simple, resnet9 or resnet18. Memory is an estimate: it is measured on one image on the
    CPU, without the images themselves and the program.
    """
    from cpcnn.jobs.summary import SummarySettings, summarise_model

    from ..views.summary import summary_text

    with streams.reserved():
        summary = summarise_model(SummarySettings(model=model, batch_size=batch_size, **sizes))
    streams.result(summary_text(summary, train=train))
    streams.document(summary.to_document())
    return 0
