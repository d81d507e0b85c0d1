"""Where a training stands, as `last.cpcnn` stores it: what it takes to go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointError
from .checkpoint import Checkpoint, load_checkpoint
from .events import EpochEnded

RESUME = "resume"  # the entry of training.json


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training has come.

    `step` counts updates, `history` has the complete epochs. `batches` of the epoch after them are
    done, and the gradients of the last `waiting` of these wait for their update.
    """

    seed: int
    step: int
    steps_per_epoch: int
    class_weights: list[float] | None = None
    batches: int = 0
    waiting: int = 0
    schedule: dict[str, Any] = field(default_factory=dict)
    history: tuple[EpochEnded, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the entries of training.json."""
        resume = {
            "steps_per_epoch": self.steps_per_epoch,
            "class_weights": self.class_weights,
            "batches": self.batches,
            "waiting": self.waiting,
            "schedule": self.schedule,
        }
        return {
            "epoch": len(self.history),
            "step": self.step,
            "seed": self.seed,
            "history": [entry.to_json() for entry in self.history],
            RESUME: resume,
        }

    @classmethod
    def from_json(cls, training: Mapping[str, Any]) -> TrainingProgress:
        """Return what `to_json` wrote; CheckpointError when it is something else."""
        resume = training.get(RESUME)
        if resume is None:
            raise CheckpointError(
                "the checkpoint has weights, but not the state of a training to go on with.",
                suggestion="Resume from last.cpcnn, of a run that this version of cpcnn made.",
            )
        try:
            progress = cls(
                seed=training["seed"],
                step=training["step"],
                **{name: resume[name] for name in resume.keys() - {"schedule"}},
                schedule=dict(resume["schedule"]),
                history=tuple(EpochEnded.from_json(entry) for entry in training["history"]),
            )
            progress._check()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint is damaged: what it says of its training makes no sense ({error})."
            ) from None
        return progress

    def _check(self) -> None:
        for name in ("seed", "step", "steps_per_epoch", "batches", "waiting"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 2**63:
                raise ValueError(f"{name} is {value!r}")
        if not self.waiting <= self.batches < self.steps_per_epoch:
            raise ValueError(f"{self.batches} of {self.steps_per_epoch} batches are done")
        if [entry.epoch for entry in self.history] != list(range(1, len(self.history) + 1)):
            raise ValueError("the epochs are not numbered from 1 on")


def load_progress(path: Path) -> tuple[Checkpoint, TrainingProgress]:
    """Read a checkpoint to go on from; CheckpointError names the file and what is wrong."""
    checkpoint = load_checkpoint(path)
    try:
        return checkpoint, TrainingProgress.from_json(checkpoint.training)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", suggestion=error.suggestion) from None
