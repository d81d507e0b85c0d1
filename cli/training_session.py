"""One training as the command line sees it: events to the screen, an outcome at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from typing import Any, TypeAlias

from cpcnn.jobs.events import Progress, TrainingPrepared, TrainingResumed
from cpcnn.jobs.train import Event
from cpcnn.training.events import EpochEnded, TrainingEnded, TrainingStarted

from .failures import INTERRUPTED
from .interrupts import orderly_interrupt
from .prepared_session import PreparedSession
from .streams import Streams
from .views.text import quoted
from .views.training import monitored, training_view

Job: TypeAlias = Callable[[Progress], Generator[Event, None, None]]


class TrainingSession(PreparedSession):
    """Runs a training, a new or a resumed one, and keeps what its events said."""

    def __init__(self, job: Job, streams: Streams) -> None:
        super().__init__(streams)
        self.job = job
        self.resumed: TrainingResumed | None = None
        self.planned_epochs = 0
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
            events = stack.enter_context(closing(self.job(view.reading)))
            for event in events:
                self._keep(event)
                if isinstance(event, TrainingPrepared):
                    stack.enter_context(orderly_interrupt(event.request_stop))
                view.show(event)

    def _keep(self, event: object) -> None:
        super()._keep(event)
        match event:
            case TrainingResumed():
                self.resumed = event
                self.epochs = list(event.history)
            case TrainingStarted():
                self.planned_epochs = event.epochs
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
                f"Interrupted after {len(self.epochs)} of {self.planned_epochs} epochs; "
                "the weights so far are in last.cpcnn."
            )
            lines.append(f"Resume:     cpcnn train --resume {quoted(run)}")
        if self.end.reason == "stopped":
            lines.append(
                f"Stopped after {len(self.epochs)} of {self.planned_epochs} epochs: "
                "the patience for a better one is over."
            )
        if self.end.best_epoch:
            accuracy = self.end.best_accuracy
            score = "" if accuracy is None else f", validation accuracy {accuracy:.4f}"
            for name, value in monitored(self.epochs[self.end.best_epoch - 1]):
                score += f", {name.replace('_', '-')} {value:.4f}"
            lines.append(f"Best epoch: {self.end.best_epoch} of {self.planned_epochs}{score}")
        lines.append(f"Run:        {quoted(run)}")
        lines.append(f"Evaluate:   cpcnn eval {quoted(run)}")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        assert self.end is not None
        assert self.prepared is not None
        return {
            "run": str(self.prepared.run),
            "resumed": self._resumption(),
            "reason": self.end.reason,
            "best_epoch": self.end.best_epoch,
            "best_accuracy": self.end.best_accuracy,
            "seconds": self.end.seconds,
            **self._place(),
            "parameters": self.prepared.parameters,
            **self._images(),
            **self._remarks(),
            "history": [epoch.to_json() for epoch in self.epochs],
        }

    def _resumption(self) -> dict[str, Any] | None:
        if self.resumed is None:
            return None
        return {
            "epochs_done": len(self.resumed.history),
            "batches_done": self.resumed.batches_done,
            "notes": list(self.resumed.notes),
        }
