"""One training as the command line sees it: events to the screen, an outcome at the end."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Any

from cpcnn.jobs.events import DataFound, DeviceSelected, TrainingPrepared
from cpcnn.jobs.settings import TrainSettings
from cpcnn.jobs.train import train_folder
from cpcnn.training.events import EpochEnded, TrainingEnded

from .failures import INTERRUPTED
from .interrupts import orderly_interrupt
from .streams import Streams
from .views.text import quoted
from .views.training import training_view


class TrainingSession:
    """Runs a training and keeps what its events said."""

    def __init__(self, settings: TrainSettings, streams: Streams) -> None:
        self.settings = settings
        self.streams = streams
        self.device: DeviceSelected | None = None
        self.data: DataFound | None = None
        self.prepared: TrainingPrepared | None = None
        self.epochs: list[EpochEnded] = []
        self.end: TrainingEnded | None = None

    @property
    def interrupted(self) -> bool:
        return self.end is not None and self.end.reason == "interrupted"

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.interrupted else 0

    def run(self) -> None:
        """Train; from the moment that training begins, Ctrl-C ends it in good order."""
        with ExitStack() as stack:
            view = stack.enter_context(training_view(self.streams))
            events = stack.enter_context(closing(train_folder(self.settings, view.reading)))
            for event in events:
                self._keep(event)
                if isinstance(event, TrainingPrepared):
                    stack.enter_context(orderly_interrupt(event.request_stop))
                view.show(event)

    def _keep(self, event: object) -> None:
        match event:
            case DeviceSelected():
                self.device = event
            case DataFound():
                self.data = event
            case TrainingPrepared():
                self.prepared = event
            case EpochEnded():
                self.epochs.append(event)
            case TrainingEnded():
                self.end = event

    def outcome(self) -> str:
        """Return how it ended, where everything is, and what to do next."""
        assert self.end is not None
        assert self.prepared is not None
        run = self.prepared.run
        lines = []
        if self.interrupted:
            lines.append(
                f"Interrupted after {len(self.epochs)} of {self.settings.epochs} epochs; "
                "the weights so far are in last.cpcnn."
            )
        if self.end.best_epoch:
            accuracy = self.end.best_accuracy
            score = "" if accuracy is None else f", validation accuracy {accuracy:.4f}"
            lines.append(f"Best epoch: {self.end.best_epoch} of {self.settings.epochs}{score}")
        lines.append(f"Run:        {quoted(run)}")
        lines.append(f"Evaluate:   cpcnn eval {quoted(run)}")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        assert self.end is not None
        assert self.device is not None
        assert self.data is not None
        prepared = self.prepared
        assert prepared is not None
        return {
            "run": str(prepared.run),
            "reason": self.end.reason,
            "best_epoch": self.end.best_epoch,
            "best_accuracy": self.end.best_accuracy,
            "seconds": self.end.seconds,
            "device": self.device.name,
            "model": prepared.model,
            "parameters": prepared.parameters,
            "input_shape": list(prepared.input_shape),
            "classes": list(prepared.classes),
            "train_images": prepared.train_images,
            "validation_images": prepared.validation_images,
            "batch_size": prepared.batch_size,
            "bad_files": [{"path": str(b.path), "reason": b.reason} for b in prepared.bad_files],
            "ignored": [{"path": str(p), "reason": reason} for p, reason in self.data.ignored],
            "history": [asdict(epoch) for epoch in self.epochs],
        }
