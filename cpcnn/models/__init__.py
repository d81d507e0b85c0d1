"""The Keras-shaped face: models that are compiled, fitted, evaluated, saved and loaded."""

from __future__ import annotations

from ..layers import Input
from .history import History
from .loading import load_model
from .model import Model, Sequential

__all__ = ["History", "Input", "Model", "Sequential", "load_model"]
