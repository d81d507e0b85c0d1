"""Predictions as lines and as JSON values."""

from __future__ import annotations

from typing import Any

from cpcnn.jobs.predict import Prediction

from .text import printable


def prediction_line(prediction: Prediction) -> str:
    """Return path, class and probability (and further classes), or path and error, between tabs."""
    cells = [printable(str(prediction.path))]
    if prediction.error:
        cells.append(f"error: {printable(prediction.error)}")
    for name, probability in prediction.ranked:
        cells += [printable(name), f"{probability:.4f}"]
    return "\t".join(cells)


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    document: dict[str, Any] = {"path": str(prediction.path)}
    if prediction.error:
        return document | {"error": prediction.error}
    ranked = [{"class": name, "probability": round(value, 6)} for name, value in prediction.ranked]
    return document | {"predictions": ranked}
