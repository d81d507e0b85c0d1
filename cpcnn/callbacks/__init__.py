"""Callbacks: what `fit` tells of its progress, and what stops it.

A callback is any callable that takes an event of `cpcnn.training`; one with a method
`attach(trainer)` has that called before training starts. The classes here have Keras' names and
arguments, and know the quantities of an epoch by Keras' names: loss, accuracy, the compiled
metrics, all these as val_… when there is validation, and learning_rate.
"""

from __future__ import annotations

from ..training.learning_rate_finder import LearningRateFinder
from .csv_logger import CSVLogger
from .early_stopping import EarlyStopping
from .model_checkpoint import ModelCheckpoint

__all__ = ["CSVLogger", "EarlyStopping", "LearningRateFinder", "ModelCheckpoint"]
