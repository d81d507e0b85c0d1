"""What a training and a dry run share: the events that come before either of them begins."""

from __future__ import annotations

from typing import Any

from cpcnn.jobs.events import DataFound, DeviceSelected, TrainingPrepared

from .streams import Streams


class PreparedSession:
    """Keeps which device, data and network the events told of, and writes them as JSON values."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.device: DeviceSelected | None = None
        self.data: DataFound | None = None
        self.prepared: TrainingPrepared | None = None

    @property
    def exit_code(self) -> int:
        return 0

    def run(self) -> None:
        """Run the job, and show and keep its events."""
        raise NotImplementedError

    def outcome(self) -> str:
        """Return how it ended, for people."""
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        raise NotImplementedError

    def _keep(self, event: object) -> None:
        match event:
            case DeviceSelected():
                self.device = event
            case DataFound():
                self.data = event
            case TrainingPrepared():
                self.prepared = event

    def _place(self) -> dict[str, Any]:
        assert self.device is not None
        assert self.prepared is not None
        return {"device": self.device.name, "model": self.prepared.model}

    def _images(self) -> dict[str, Any]:
        prepared = self.prepared
        assert prepared is not None
        return {
            "input_shape": list(prepared.input_shape),
            "classes": list(prepared.classes),
            "train_images": prepared.train_images,
            "validation_images": prepared.validation_images,
            "batch_size": prepared.batch_size,
        }

    def _remarks(self) -> dict[str, Any]:
        data, prepared = self.data, self.prepared
        assert data is not None
        assert prepared is not None
        return {
            "bad_files": [{"path": str(b.path), "reason": b.reason} for b in prepared.bad_files],
            "ignored": [{"path": str(p), "reason": reason} for p, reason in data.ignored],
            "notes": [*data.notes, *prepared.notes],
        }
