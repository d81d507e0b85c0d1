"""Training: the trainer, its events, the network it trains, and checkpoints."""

from __future__ import annotations

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .events import (
    CheckpointSaved,
    EpochEnded,
    Event,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
)
from .network import Network
from .trainer import Trainer

__all__ = [
    "Checkpoint",
    "CheckpointSaved",
    "EpochEnded",
    "Event",
    "Network",
    "StepEnded",
    "Trainer",
    "TrainingEnded",
    "TrainingStarted",
    "load_checkpoint",
    "save_checkpoint",
]
