"""`cpcnn train DATA`."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpcnn.jobs.settings import (
    AUGMENTS,
    CACHES,
    CHANNELS,
    LOSSES,
    MONITORS,
    ON_ERROR,
    OPTIMIZERS,
    RESIZES,
    SAMPLERS,
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
        "folds",
        "fold",
        "include",
        "exclude",
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
        "sampler",
        "loss",
        "focal_gamma",
        "ema",
        "accumulate",
        "clip_norm",
        "monitor",
        "patience",
    ),
    "Augmentation": (
        "augment",
        "flip",
        "vertical_flip",
        "shift",
        "rotation",
        "shear_range",
        "zoom_range",
        "random_crop",
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "rand_augment",
        "rand_augment_steps",
        "trivial_augment",
        "erasing",
        "mixup",
        "cutmix",
    ),
    "Run": (
        "output",
        "name",
        "config",
        "resume",
        "dry_run",
        "preview",
        "seed",
        "device",
        "exact",
        "cache",
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
@option(
    "--sampler",
    type=Choice(SAMPLERS),
    help="How an epoch is made up: every image once, or all classes equally often.",
)
@option(
    "--loss",
    type=Choice(LOSSES),
    help="focal lets images that are classified well already count little.",
)
@option(
    "--focal-gamma",
    type=float,
    metavar="X",
    help="How little, in --loss focal: 2 by default, 0 is cross-entropy.",
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
@option(
    "--augment",
    type=Choice(AUGMENTS),
    help="How strongly images are changed while training, a preset that the options below alter: "
    "light flips and shifts; medium crops and changes colours; strong is for long trainings.",
)
@option("--flip/--no-flip", help="Random horizontal flip. Turn it off where left and right matter.")
@option("--vertical-flip/--no-vertical-flip", help="Random vertical flip.")
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
    "--random-crop",
    type=float,
    metavar="X",
    help="Random resized crop: a part of at least X of the area, such as 0.35, fills the image.",
)
@option("--brightness", type=float, metavar="X", help="Factor of brightness, from 1-X to 1+X.")
@option("--contrast", type=float, metavar="X", help="Factor of contrast, from 1-X to 1+X.")
@option("--saturation", type=float, metavar="X", help="Factor of saturation, from 1-X to 1+X.")
@option("--hue", type=float, metavar="DEG", help="Turn of all colours, in degrees either way.")
@option(
    "--rand-augment",
    type=int,
    metavar="M",
    help="RandAugment: changes drawn from a list, of magnitude M from 1 to 30.",
)
@option(
    "--rand-augment-steps",
    type=int,
    metavar="N",
    help="Changes that RandAugment makes: 2 unless given.",
)
@option(
    "--trivial-augment/--no-trivial-augment",
    help="TrivialAugment: one change of that list, of any magnitude.",
)
@option("--erasing", type=float, metavar="P", help="Random erasing of a box, with probability P.")
@option(
    "--mixup",
    type=float,
    metavar="ALPHA",
    help="MixUp: images and labels mixed with another's, by a share of Beta(ALPHA, ALPHA).",
)
@option(
    "--cutmix",
    type=float,
    metavar="ALPHA",
    help="CutMix: a box filled with another image; with --mixup, each for half of the images.",
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
    help="Hold out whole groups: a pattern in the file's path, or a column of the table.",
)
@option(
    "--folds",
    type=int,
    metavar="K",
    help="Cross-validate: train K runs, each validated on another part of the images.",
)
@option("--fold", type=int, metavar="I", help="Train only the I-th of --folds, as a plain run.")
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
@option("--seed", type=int, metavar="N", help="Same seed, same result.")
@option(
    "--cache",
    type=Choice(CACHES),
    help="Where decoded images are kept: in memory, for this run; on the disk, for later ones too; "
    "auto is both, and the disk alone for more than fits in memory.",
)
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
@click.option(
    "--preview",
    type=path_type(),
    metavar="FILE",
    help="With --dry-run: draw some images, each as it is and as training will see it, as a PNG.",
)
@resume_option
@output_options
def command(
    streams: Streams,
    data: Path | None,
    config: Path | None,
    dry_run: bool,
    preview: Path | None,
    **values: Any,
) -> int | None:
    """Train a classifier on the folder DATA.

    DATA holds one folder of images per class, or train/, val/ and test/ folders that do; or images
    and a table, metadata.csv; or tar files. It may also be a list of images or a tar file itself.
    """
    if values["resume"] is not None:
        return resume(resume_settings(data, values), streams)
    if preview is not None and not dry_run:
        raise click.UsageError("--preview goes with --dry-run.")
    settings = _settings(data, config, values)
    return try_out(settings, streams, preview) if dry_run else run(settings, streams)


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
    if settings.folds is not None and settings.fold is None:
        return cross_validate(settings, streams)
    from cpcnn.jobs.train import train_folder

    from ..training_session import TrainingSession

    return show(TrainingSession(lambda progress: train_folder(settings, progress), streams))


def cross_validate(settings: TrainSettings, streams: Streams) -> int:
    """Train all folds, show how it goes, and return the exit code."""
    from cpcnn.jobs.folds import train_folds

    from ..folds_session import FoldsSession

    return show(FoldsSession(lambda progress: train_folds(settings, progress), streams))


def try_out(settings: TrainSettings, streams: Streams, preview: Path | None) -> int:
    """Do all but the training, of the first fold if there are several, and say what it would be."""
    if settings.folds is not None and settings.fold is None:
        settings = replace(settings, fold=1)
    from ..dry_run_session import DryRunSession

    return show(DryRunSession(settings, streams, preview))


def resume(settings: ResumeSettings, streams: Streams) -> int:
    """Go on with a run, show how it goes, and return the exit code."""
    from cpcnn.jobs.folds import is_to_resume, resume_folds

    if is_to_resume(settings):
        from ..folds_session import FoldsSession

        return show(FoldsSession(lambda progress: resume_folds(settings, progress), streams))
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
