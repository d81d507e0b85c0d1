"""Early stopping by what makes an epoch the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..training.events import EpochEnded, Event
from ..training.trainer import Trainer


@dataclass
class Patience:
    """Stops training when the best epoch lies so many epochs back.

    It remembers nothing that the trainer does not, so that a resumed training stops where the
    whole one would have. Where one goes on after such a stop, counting begins anew.
    """

    epochs: int

    def attach(self, trainer: Trainer) -> None:
        """Watch this training."""
        self._trainer = trainer

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded) and self.stopped_after(self._trainer.history):
            self._trainer.request_stop("stopped")

    def stopped_after(self, history: Sequence[EpochEnded]) -> bool:
        """Whether these are all epochs before a stop."""
        counted_from = 0
        over = False
        for epoch in history:
            over = not epoch.best and epoch.epoch - counted_from >= self.epochs
            if epoch.best or over:
                counted_from = epoch.epoch
        return over
