"""A cross-validation as the command line sees it: a line a fold, a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from typing import Any, TypeAlias

from cpcnn.jobs.events import DataFound, DeviceSelected, Progress, TrainingPrepared
from cpcnn.jobs.fold_results import FoldsEnded
from cpcnn.jobs.folds import Event, FoldEnded, FoldStarted

from .failures import INTERRUPTED
from .interrupts import orderly_interrupt
from .prepared_session import PreparedSession
from .streams import Streams
from .views.folds import fold_line, folds_table
from .views.text import quoted
from .views.training import TrainingView, training_view

Job: TypeAlias = Callable[[Progress], Generator[Event, None, None]]


class FoldsSession(PreparedSession):
    """Runs a cross-validation, a new or a resumed one, and keeps what its events said."""

    def __init__(self, job: Job, streams: Streams) -> None:
        super().__init__(streams)
        self.job = job
        self.end: FoldsEnded | None = None

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.end is not None and self.end.interrupted else 0

    def run(self) -> None:
        """Train the folds; while one is training, Ctrl-C ends it in good order."""
        with ExitStack() as stack:
            view = stack.enter_context(training_view(self.streams))
            events = stack.enter_context(closing(self.job(view.reading)))
            interrupt = stack.enter_context(ExitStack())
            for event in events:
                if isinstance(event, TrainingPrepared):
                    interrupt.enter_context(orderly_interrupt(event.request_stop))
                if isinstance(event, FoldStarted | FoldEnded):
                    interrupt.close()
                self._show(event, view)
                self._keep(event)

    def _show(self, event: object, view: TrainingView) -> None:
        """Show an event; of the device and the data, which are the same for all, only the first."""
        match event:
            case DeviceSelected() if self.device is not None:
                return
            case DataFound() if self.data is not None:
                view.say_all(f"Note: {note}" for note in event.notes if note not in self.data.notes)
            case FoldStarted():
                view.say(f"Fold {event.fold} of {event.folds}: {quoted(event.run)}")
            case FoldEnded():
                view.say(fold_line(event.result, event.folds))
            case _:
                view.show(event)

    def _keep(self, event: object) -> None:
        if isinstance(event, DataFound) and self.data is not None:
            return
        super()._keep(event)
        if isinstance(event, FoldsEnded):
            self.end = event

    def outcome(self) -> str:
        """Return the results of all folds, where they are, and what to do next."""
        end = self.end
        assert end is not None
        lines = [folds_table(end)] if end.results else []
        if end.interrupted:
            lines.append(f"Interrupted after {len(end.results)} of {end.folds} folds.")
            lines.append(f"Resume:     cpcnn train --resume {quoted(end.run)}")
        lines.append(f"Run:        {quoted(end.run)}")
        if end.results:
            lines.append(f"Evaluate:   cpcnn eval {quoted(end.results[0].run)}")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        assert self.end is not None
        place = {} if self.device is None or self.prepared is None else self._place()
        remarks = {} if self.data is None or self.prepared is None else self._remarks()
        return self.end.to_document() | place | remarks
