"""`cpcnn train --dry-run` as the command line sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cpcnn.jobs.dry_run import DryRunEnded, dry_run
from cpcnn.jobs.settings import TrainSettings

from .prepared_session import PreparedSession
from .streams import Streams
from .views.text import counted, quoted
from .views.training import training_view


class DryRunSession(PreparedSession):
    """Runs all of a training but the training, and keeps what its events said."""

    def __init__(
        self, settings: TrainSettings, streams: Streams, preview: Path | None = None
    ) -> None:
        super().__init__(streams)
        self.settings = settings
        self.preview = preview
        self.end: DryRunEnded | None = None

    def run(self) -> None:
        """Prepare, and try one batch."""
        with training_view(self.streams) as view:
            for event in dry_run(self.settings, view.reading, preview=self.preview):
                self._keep(event)
                view.show(event)

    def _keep(self, event: object) -> None:
        super()._keep(event)
        if isinstance(event, DryRunEnded):
            self.end = event

    def outcome(self) -> str:
        """Return what training would do, and that nothing was left behind."""
        end = self.end
        assert end is not None
        epochs = end.settings.epochs
        preview = "" if self.preview is None else f"Preview:    {quoted(self.preview)}\n"
        left = "nothing" if self.preview is None else "nothing else"
        return (
            f"Trainable:  {end.trainable:,} of {end.parameters:,} parameters\n"
            f"Steps:      {counted(epochs, 'epoch')} of "
            f"{counted(end.batches_per_epoch, 'batch', 'batches')}, "
            f"{counted(end.updates, 'update')}\n"
            f"One batch:  loss {end.loss:.4f}, {end.seconds:.3f} s\n"
            f"{preview}A dry run: nothing was trained, {left} is left behind."
        )

    def document(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        end = self.end
        assert end is not None
        return {
            "dry_run": True,
            **self._place(),
            "parameters": end.parameters,
            "trainable_parameters": end.trainable,
            **self._images(),
            "epochs": end.settings.epochs,
            "batches_per_epoch": end.batches_per_epoch,
            "updates": end.updates,
            "loss": end.loss,
            "seconds": end.seconds,
            "settings": end.settings.to_config(),
            **self._remarks(),
        }
