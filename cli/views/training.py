"""Training on the screen: a live line on a terminal, one line an epoch anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cpcnn.data.layouts.image_folder import UNSPLIT
from cpcnn.jobs.events import DataFound, DeviceSelected, TrainingPrepared, TrainingResumed
from cpcnn.jobs.run_directory import BAD_FILES
from cpcnn.training.events import EpochEnded, StepEnded, TrainingStarted

from ..streams import Streams
from .progress import MovingTask, is_live, live_progress
from .text import bad_file_lines, counted, listed, printable, quoted

if TYPE_CHECKING:
    from rich.progress import Progress


METRIC_WORDS = {"macro_f1": "f1", "macro_recall": "recall"}  # of the validation


class TrainingView:
    """Says what the events of a training mean; this one writes plain lines."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams

    def say(self, line: str) -> None:
        """Write one line for people."""
        self.streams.say(line)

    def reading(self, activity: str, done: int, total: int) -> None:
        """Show how far the preparation is."""

    def show(self, event: object) -> None:
        """Show an event, if it is one that people want to see."""
        match event:
            case DeviceSelected():
                self.say(device_line(event))
            case DataFound():
                self.say_all(data_lines(event))
            case TrainingResumed():
                self.say_all(resumed_lines(event))
            case TrainingPrepared():
                self.say_all(prepared_lines(event))
            case EpochEnded():
                self.say(epoch_line(event))

    def say_all(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.say(line)


class LiveTrainingView(TrainingView):
    """Adds a line that moves: step by step, with the rate and the time that is left."""

    def __init__(self, streams: Streams, progress: Progress) -> None:
        super().__init__(streams)
        self.console = progress.console
        self.task = MovingTask(progress)
        self.steps_per_epoch = self.epochs = 0

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def reading(self, activity: str, done: int, total: int) -> None:
        self.task.move(activity, done, total)

    def show(self, event: object) -> None:
        match event:
            case TrainingStarted():
                self.steps_per_epoch, self.epochs = event.steps_per_epoch, event.epochs
            case StepEnded():
                self._step(event)
        super().show(event)

    def _step(self, event: StepEnded) -> None:
        done = (event.epoch - 1) * self.steps_per_epoch + event.step
        total = self.epochs * self.steps_per_epoch
        status = (
            f"loss {event.loss:.3f} acc {event.accuracy:.3f} "
            f"{event.images_per_second:.0f} img/s wait {event.data_wait:.0%}"
        )
        self.task.move(f"Epoch {event.epoch}/{self.epochs}", done, total, status)


@contextmanager
def training_view(streams: Streams) -> Iterator[TrainingView]:
    """Give the view that fits where stderr goes."""
    if streams.quiet or not is_live(sys.stderr):
        yield TrainingView(streams)
    else:
        with live_progress() as progress:
            yield LiveTrainingView(streams, progress)


# ---- Lines -----------------------------------------------------------------------------------


def device_line(event: DeviceSelected) -> str:
    """Return the first line of every job."""
    return printable(f"Device: {event.name} ({event.description})")


def data_lines(event: DataFound) -> Iterator[str]:
    """Yield what lies in the data folder."""
    splits = [f"{name} {count:,}" for name, count in event.images.items() if name != UNSPLIT]
    parts = f" ({', '.join(splits)})" if splits else ""
    classes = counted(len(event.classes), "class", "classes")
    yield f"Data:   {printable(str(event.root))}"
    yield f"Images: {sum(event.images.values()):,} of {classes}{parts}"
    if event.ignored:
        names = [f"{path.name} ({reason})" for path, reason in event.ignored]
        yield f"Ignored: {listed(names, 3)}"
    yield from (f"Note: {printable(note)}" for note in event.notes)


def resumed_lines(event: TrainingResumed) -> Iterator[str]:
    """Yield where training goes on, and what is not as it was before."""
    where = f"after epoch {len(event.history)} of {event.epochs}"
    if event.batches_done:
        where += f" and step {event.batches_done} of {event.batches_per_epoch}"
    yield f"Resume: {quoted(event.run)} {where}"
    for note in event.notes:
        yield f"  {printable(note)}"


def prepared_lines(event: TrainingPrepared) -> Iterator[str]:
    """Yield what is trained on what."""
    if event.bad_files:
        yield from bad_file_lines(event.bad_files)
        if (event.run / BAD_FILES).is_file():  # not in a dry run
            yield f"  (all of them are listed in {quoted(event.run / BAD_FILES)})"
    height, width, channels = event.input_shape
    colour = "grey" if channels == 1 else "colour"
    shape = f"{height}x{width} {colour} images"
    yield f"Model:  {event.model}, {event.parameters:,} parameters, {shape}"
    held_out = "none to validate, as there are too few"
    if event.validation_images and event.validation_drawn:
        held_out = f"{event.validation_images:,} held out to validate"
    elif event.validation_images:
        held_out = f"{event.validation_images:,} to validate"
    yield f"Train:  {event.train_images:,} images, batch {event.batch_size}; {held_out}"
    yield from (f"Note: {printable(note)}" for note in event.notes)


def monitored(event: EpochEnded) -> list[tuple[str, float]]:
    """Return what --monitor looks at beside accuracy and loss."""
    metrics = event.validation_metrics
    return [(name, metrics[name]) for name in METRIC_WORDS if name in metrics]


def epoch_line(event: EpochEnded) -> str:
    """Return the one line of an epoch."""
    digits = len(str(event.epochs))
    cells = [f"Epoch {event.epoch:>{digits}}/{event.epochs}", f"loss {event.train_loss:.3f}"]
    if not event.validation_metrics:  # else there is no room for it in 80 columns
        cells.append(f"acc {event.train_accuracy:.4f}")
    if event.validation_loss is not None and event.validation_accuracy is not None:
        cells += [
            f"val-loss {event.validation_loss:.3f}",
            f"val-acc {event.validation_accuracy:.4f}",
        ]
    cells += [f"{METRIC_WORDS[name]} {value:.4f}" for name, value in monitored(event)]
    cells += [f"{event.images_per_second:.0f} img/s", "*" if event.best else ""]
    return " ".join(cells).rstrip()
