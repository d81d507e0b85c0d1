"""Stop when training does not get better any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.options import check_number, check_whole
from ..training.events import EpochEnded, Event, TrainingEnded
from ..training.trainer import Trainer
from .monitor import Monitor


@dataclass
class EarlyStopping:
    """Stops when `patience` epochs in a row brought nothing better, by more than `min_delta`.

    `mode` "auto" takes a loss to be better when low, everything else when high. With `baseline`
    only epochs that are better than that count as good. `restore_best_weights` ends training with
    the weights of the best epoch, whether it was stopped or not. Epochs before `start_from_epoch`,
    counted from 0, are not looked at. `verbose=1` prints what was done.

    `best` and `best_epoch` (from 0), and `stopped_epoch` (0 if it was not stopped) tell of the end.
    UsageError before training if there will be no quantity `monitor`.
    """

    monitor: str = "val_loss"
    min_delta: float = 0
    patience: int = 0
    verbose: int = 0
    mode: str = "auto"
    baseline: float | None = None
    restore_best_weights: bool = False
    start_from_epoch: int = 0

    best: float | None = field(default=None, init=False)
    best_epoch: int = field(default=0, init=False)
    stopped_epoch: int = field(default=0, init=False)
    _wait: int = field(default=0, init=False, repr=False)
    _weights: dict[str, NDArray[Any]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._monitor = Monitor(self.monitor, self.mode, self.min_delta)
        for name in ("patience", "start_from_epoch"):
            check_whole(self, name, least=0)
        if self.baseline is not None:
            check_number(self, "baseline")

    def attach(self, trainer: Trainer) -> None:
        """Begin anew, with this training."""
        self._monitor.check(trainer)
        self._trainer = trainer
        self.best, self._weights = None, None
        self.best_epoch = self.stopped_epoch = self._wait = 0

    def resume(self, history: Sequence[EpochEnded]) -> None:
        """Count on from the epochs before; after a stop counting begins anew.

        UsageError with `restore_best_weights`, since nobody knows the weights of those epochs.
        """
        if self.restore_best_weights:
            raise UsageError(
                "EarlyStopping(restore_best_weights=True) cannot resume: the weights of the best "
                "epoch before are not known.",
                suggestion="Leave it out; best.cpcnn has them.",
            )
        for event in history:
            if event.epoch > self.start_from_epoch and self._is_over(event):
                self._wait = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch > self.start_from_epoch:
            self._look(event)
        elif isinstance(event, TrainingEnded):
            self._finish()

    def _look(self, event: EpochEnded) -> None:
        over, epoch = self._is_over(event), event.epoch - 1
        if self.restore_best_weights:
            self._keep(epoch)
        if over:
            self.stopped_epoch = epoch
            self._trainer.request_stop("stopped")

    def _keep(self, epoch: int) -> None:
        """Keep the weights of the best epoch, or of the first one while none is good."""
        if self._weights is None:
            self.best_epoch = epoch
        if self.best_epoch == epoch:
            with self._trainer.evaluated_weights():
                self._weights = self._trainer.model.store.get_weights()

    def _is_over(self, event: EpochEnded) -> bool:
        """Take note of an epoch, and say whether patience is at its end."""
        value, epoch = self._monitor.read(event), event.epoch - 1
        self._wait += 1
        if self._monitor.is_better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.baseline is None or self._monitor.is_better(value, self.baseline):
                self._wait = 0
            return False
        return self._wait >= self.patience and epoch > 0

    def _finish(self) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self._weights is not None:
            self._trainer.model.store.set_weights(self._weights)
            self._weights = None  # they take memory
            if self.verbose:
                print(f"Restoring weights of epoch {self.best_epoch + 1}")
