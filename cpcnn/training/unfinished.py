"""An epoch that was interrupted: what it has summed up, to go on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..core.errors import CheckpointError
from .step import TrainingStep
from .tally import Tally, with_prefix

GRADIENTS, TALLY = "gradients", "tally"  # prefixes of the names in unfinished.safetensors


@dataclass(frozen=True)
class UnfinishedEpoch:
    """So many batches are done; the gradients of the last `waiting` of them wait for an update."""

    batches: int = 0
    waiting: int = 0
    sums: dict[str, NDArray[Any]] | None = None

    @classmethod
    def after(cls, batches: int, learn: TrainingStep, tally: Tally) -> UnfinishedEpoch:
        """Copy to the host what these batches have summed up."""
        sums = {f"{TALLY}/{name}": array for name, array in tally.get_state().items()}
        for path, array in learn.get_gradients().items():
            sums[f"{GRADIENTS}/{path}"] = array
        return cls(batches, learn.waiting, sums)

    def restore(self, learn: TrainingStep, tally: Tally) -> None:
        """Put the sums back; CheckpointError when they do not fit."""
        if not self.batches:
            return
        sums = self.sums or {}
        try:
            learn.set_gradients(with_prefix(sums, GRADIENTS), self.waiting)
            tally.set_state(with_prefix(sums, TALLY))
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise CheckpointError(
                f"what the checkpoint says of an interrupted epoch does not fit ({error}).",
                suggestion="Resume with the same network and the same metrics.",
            ) from None
