"""Save the model as it trains."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

from ..core.errors import UsageError
from ..layers import to_config
from ..training.checkpoint import save_checkpoint, to_checkpoint
from ..training.events import EpochEnded, Event
from ..training.trainer import Trainer
from .monitor import Monitor, require_names
from .output_file import make_folder, require_writable_folder


class ModelCheckpoint:
    """Writes the model to `filepath` after every epoch, or after those that are the best so far.

    The name may have fields: "model-{epoch:02d}-{val_loss:.2f}.cpcnn"; epochs count from 1. Missing
    folders are made. With `save_best_only` an epoch is written when `monitor` is better than it
    ever was, and than `initial_value_threshold`; `mode` is that of `EarlyStopping`. `load_model`
    reads the files. `verbose=1` prints their names.

    UsageError before training for a field or monitor that there is not, for a file that cannot be
    written, and for a model that cannot be saved.
    """

    def __init__(
        self,
        filepath: str | Path,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        *,
        mode: str = "auto",
        initial_value_threshold: float | None = None,
    ) -> None:
        self.filepath = str(filepath)
        self.monitor = monitor
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.initial_value_threshold = initial_value_threshold
        self.best = initial_value_threshold
        self._monitor = Monitor(monitor, mode)

    def attach(self, trainer: Trainer) -> None:
        """Begin anew, with this training."""
        if self.save_best_only:
            self._monitor.check(trainer)
        require_names([name for name in self._fields() if name != "epoch"], trainer)
        example = self._path(1, dict.fromkeys(trainer.log_names, 0.5))
        require_writable_folder(example)
        to_config(trainer.model.root)  # UsageError now for a layer that cannot be saved
        self._trainer = trainer
        self.best = self.initial_value_threshold

    def _fields(self) -> list[str]:
        try:
            return [name for _, name, _, _ in Formatter().parse(self.filepath) if name is not None]
        except ValueError as error:
            raise self._bad_name(error) from None

    def _path(self, epoch: int, logs: dict[str, float]) -> Path:
        try:
            return Path(self.filepath.format(epoch=epoch, **logs))
        except (TypeError, ValueError) as error:  # a list has no format .2f
            raise self._bad_name(error) from None

    def _bad_name(self, error: Exception) -> UsageError:
        return UsageError(
            f"ModelCheckpoint: {self.filepath!r} is no pattern for file names: {error}.",
            suggestion="Write fields as {epoch:02d} or {val_loss:.2f}.",
        )

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded) and self._is_due(event):
            path = self._path(event.epoch, event.logs)
            make_folder(path)
            with self._trainer.evaluated_weights():
                save_checkpoint(path, to_checkpoint(self._trainer.model))
            if self.verbose:
                print(f"Epoch {event.epoch}: saved {path}")

    def _is_due(self, event: EpochEnded) -> bool:
        if not self.save_best_only:
            return True
        value = self._monitor.read(event)
        if not self._monitor.is_better(value, self.best):
            return False
        self.best = value
        return True
