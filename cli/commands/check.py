"""`cpcnn check DATA`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cpcnn.jobs.checking.check_settings import CheckSettings
from cpcnn.jobs.settings import AUGMENTS, ON_ERROR

from ..options import Choice, output_options, path_type, settings_option
from ..streams import Streams

option = settings_option(CheckSettings)
UNSOUND = 3  # exit code


@click.command("check")
@click.argument("data", type=path_type())
@option(
    "--html",
    type=path_type(),
    metavar="FILE",
    help="Write the report, with small pictures, as one HTML page that works offline.",
)
@option(
    "--fix-list",
    type=path_type(),
    metavar="FILE",
    help="Write a CSV of the files and what to do with each: path, finding, detail, what_to_do.",
)
@option(
    "--preview",
    type=path_type(),
    metavar="FILE",
    help="Draw some images, each as it is and as training will see it, as a PNG.",
)
@option("--augment", type=Choice(AUGMENTS), help="The preset of augmentation that --preview shows.")
@option("--near/--no-near", help="Look for images that look alike, too.")
@option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Only files that match, such as 'cat/**/*.png' or '*_front.jpg'; may be repeated.",
)
@option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="No files that match, such as thumbs or '*_mask.png'; may be repeated.",
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
@option("--seed", type=int, metavar="N", help="That of the training: it decides what is held out.")
@option("--on-error", type=Choice(ON_ERROR), help="What training will do with unreadable images.")
@option("--allow-empty-classes", is_flag=True, help="Accept class folders without images.")
@option("--allow-nested", is_flag=True, help="Accept folders of folders inside class folders.")
@option("-j", "--workers", type=int, metavar="N", help="Threads that read images.")
@output_options
def command(streams: Streams, data: Path, **values: Any) -> int | None:
    """Read the folder DATA as training would, and say what is wrong with it.

    Every file is read and none is touched. The exit code is 3 if training would be unsound: the
    folder cannot be read as classes, has one class, or a class without a readable image; the same
    file has two labels, or is in the training images and in another split; or with --on-error
    fail, a file is unreadable. All else is a warning or a note, and the exit code 0.
    """
    from cpcnn.jobs.checking.check import check_folder

    from ..views.check import print_report
    from ..views.progress import task_progress

    settings = CheckSettings(data, **values)
    with streams.reserved(), task_progress(streams, sys.stderr) as progress:
        report = check_folder(settings, progress)
    if not streams.json:
        print_report(report, settings)
    streams.document(report.to_document())
    return 0 if report.sound else UNSOUND
