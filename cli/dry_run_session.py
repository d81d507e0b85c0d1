"""`cpcnn train --dry-run` as the command line sees it."""

from __future__ import annotations

from typing import Any

from cpcnn.jobs.dry_run import DryRunEnded, dry_run
from cpcnn.jobs.events import DataFound, DeviceSelected, TrainingPrepared
from cpcnn.jobs.settings import TrainSettings

from .streams import Streams
from .views.text import counted
from .views.training import training_view


class DryRunSession:
    """Runs all of a training but the training, and keeps what its events said."""

    def __init__(self, settings: TrainSettings, streams: Streams) -> None:
        self.settings = settings
        self.streams = streams
        self.device: DeviceSelected | None = None
        self.data: DataFound | None = None
        self.prepared: TrainingPrepared | None = None
        self.end: DryRunEnded | None = None

    def run(self) -> None:
        """Prepare, and try one batch."""
        with training_view(self.streams) as view:
            for event in dry_run(self.settings, view.reading):
                self._keep(event)
                view.show(event)

    def _keep(self, event: object) -> None:
        match event:
            case DeviceSelected():
                self.device = event
            case DataFound():
                self.data = event
            case TrainingPrepared():
                self.prepared = event
            case DryRunEnded():
                self.end = event

    def outcome(self) -> str:
        """Return what training would do, and that nothing was left behind."""
        end = self.end
        assert end is not None
        epochs = end.settings.epochs
        return (
            f"Trainable:  {end.trainable:,} of {end.parameters:,} parameters\n"
            f"Steps:      {counted(epochs, 'epoch')} of "
            f"{counted(end.batches_per_epoch, 'batch', 'batches')}, "
            f"{counted(end.updates, 'update')}\n"
            f"One batch:  loss {end.loss:.4f}, {end.seconds:.3f} s\n"
            "A dry run: nothing was trained, nothing is left behind."
        )

    def document(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        end, prepared = self.end, self.prepared
        assert end is not None
        assert prepared is not None
        assert self.data is not None
        assert self.device is not None
        return {
            "dry_run": True,
            "device": self.device.name,
            "model": prepared.model,
            "parameters": end.parameters,
            "trainable_parameters": end.trainable,
            "input_shape": list(prepared.input_shape),
            "classes": list(prepared.classes),
            "train_images": prepared.train_images,
            "validation_images": prepared.validation_images,
            "batch_size": prepared.batch_size,
            "epochs": end.settings.epochs,
            "batches_per_epoch": end.batches_per_epoch,
            "updates": end.updates,
            "loss": end.loss,
            "seconds": end.seconds,
            "settings": end.settings.to_config(),
            "bad_files": [{"path": str(b.path), "reason": b.reason} for b in prepared.bad_files],
            "ignored": [{"path": str(p), "reason": reason} for p, reason in self.data.ignored],
            "notes": [*self.data.notes, *prepared.notes],
        }
