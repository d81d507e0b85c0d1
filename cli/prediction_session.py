"""One `cpcnn predict`: the job's events become rows on stdout or in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cpcnn.jobs.events import DeviceSelected
from cpcnn.jobs.predict import (
    Prediction,
    PredictionPrepared,
    PredictSettings,
    predict_images,
)

from .result_file import ResultFile
from .streams import Streams, json_text
from .views.predictions import ROWS, Rows, prediction_document
from .views.text import counted, printable, quoted
from .views.training import device_line


class PredictionSession:
    """Runs the job and counts the `images`, and the `bad` ones among them.

    Rows are written as they come; the format "json", one document, keeps them to the end.
    """

    def __init__(self, layout: str, output: Path | None, streams: Streams) -> None:
        self.layout = layout
        self.output = output
        self.streams = streams
        self.images = 0
        self.bad = 0
        self._checkpoint: Path | None = None
        self._rows: Rows | None = None
        self._documents: list[dict[str, Any]] = []

    def run(self, settings: PredictSettings, listed: Iterable[str]) -> None:
        """Predict, write the predictions, and say what became of them."""
        with ResultFile(self.output) as file:
            with self.streams.reserved():
                for text in self._texts(settings, listed):
                    file.write(text)
            if self.layout == "json" and self.output is not None:
                file.write(json_text(self._document()) + "\n")
        if self.output is None:
            self.streams.document(self._document())
        else:
            kept = {"output": str(self.output), "format": self.layout}
            self.streams.document(self._summary() | kept)
            self.streams.result(f"Kept in {quoted(self.output)}: {counted(self.images, 'row')}")
        if self.bad:
            self.streams.say(f"{counted(self.bad, 'image')} could not be read.")

    def _texts(self, settings: PredictSettings, listed: Iterable[str]) -> Iterator[str]:
        """Take in what happens, and yield what is to be written of it."""
        for event in predict_images(settings, listed):
            match event:
                case DeviceSelected():
                    self.streams.say(device_line(event))
                case PredictionPrepared():
                    self._checkpoint = event.checkpoint
                    self.streams.say(f"Model:  {printable(str(event.checkpoint))}")
                    for note in event.notes:
                        self.streams.say(f"Note: {printable(note)}")
                    if self.layout in ROWS:
                        self._rows = ROWS[self.layout](event.classes, settings.top)
                        yield self._rows.header()
                case Prediction():
                    self.images += 1
                    self.bad += bool(event.error)
                    if self._rows is None:
                        self._documents.append(prediction_document(event))
                    else:
                        yield self._rows.row(event)

    def _summary(self) -> dict[str, Any]:
        return {"model": str(self._checkpoint), "images": self.images, "bad_images": self.bad}

    def _document(self) -> dict[str, Any]:
        return self._summary() | {"predictions": self._documents}
