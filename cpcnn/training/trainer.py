"""The training loop, as a generator of events."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..core.errors import DataError, DivergedError
from ..core.random import Philox
from ..layers import Layer, to_config
from ..losses import CategoricalCrossentropy
from ..optimizers import Optimizer
from ..schedules import Schedule
from .checkpoint import Checkpoint, save_checkpoint
from .events import (
    CheckpointSaved,
    EpochEnded,
    Event,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
)
from .input_stage import BatchLike
from .network import Network
from .tally import Tally

READ_EVERY = 10  # steps between two reads of loss and accuracy: each read waits for the device


class LoaderLike(Protocol):
    """What training needs of a loader: batches per epoch, and the batches of epoch `epoch`."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int) -> Iterator[BatchLike]: ...


@dataclass
class Trainer:
    """Trains a network; iterate over `run()` and render the events.

    `checkpoints` is a folder that gets `best.cpcnn` and `last.cpcnn` after every epoch; `settings`
    is stored in them. The best epoch is the one with the highest validation accuracy (among
    equals the lowest validation loss), or the last one when there is no validation.
    """

    model: Network
    train: LoaderLike
    validation: LoaderLike | None
    optimizer: Optimizer
    schedule: Schedule
    loss: CategoricalCrossentropy
    epochs: int
    seed: int = 0
    checkpoints: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    history: list[EpochEnded] = field(default_factory=list, init=False)
    best: EpochEnded | None = field(default=None, init=False)
    _root: Layer = field(init=False, repr=False)
    _stop: bool = field(default=False, init=False)

    def request_stop(self) -> None:
        """Ask to stop after the step in progress (safe in a signal handler)."""
        self._stop = True

    def run(self) -> Iterator[Event]:
        """Train, and yield what happens; DivergedError when the loss is not finite any more."""
        if len(self.train) == 0:
            raise DataError("there are no training images.")
        started = time.perf_counter()
        store = self.model.store
        self._root = self.model.logits_root
        self.optimizer.prepare(store)
        yield TrainingStarted(
            self.model.device.name, store.num_trainable, len(self.train), self.epochs
        )
        for epoch in range(1, self.epochs + 1):
            result = yield from self._epoch(epoch)
            if result is None:
                break
            yield from self._finish_epoch(result)
            if self._stop:
                break
        interrupted = self._stop and len(self.history) < self.epochs
        if interrupted and self.checkpoints is not None:
            self._check_weights(len(self.history) + 1)
            yield self._save("last", len(self.history))
        yield TrainingEnded(
            "interrupted" if interrupted else "finished",
            self.best.epoch if self.best else 0,
            self.best.validation_accuracy if self.best else None,
            time.perf_counter() - started,
        )

    def _epoch(self, epoch: int) -> Generator[Event, None, EpochEnded | None]:
        """One epoch and its validation; returns None when it was interrupted."""
        started = time.perf_counter()
        waited = 0.0
        images = 0
        tally = Tally(self.model.device)
        batches = self.train.epoch(epoch - 1)
        for step in range(1, len(self.train) + 1):
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            rate = self.schedule(self.optimizer.step)
            self._train_step(batch, rate, tally)
            images += len(batch.labels)
            if step % READ_EVERY == 1 or step == len(self.train):
                tally.read()
                self._check_loss(tally.loss, f"epoch {epoch}, step {step}")
            elapsed = time.perf_counter() - started
            yield StepEnded(
                epoch,
                step,
                len(self.train),
                len(batch.labels),
                tally.loss,
                tally.accuracy,
                rate,
                images / elapsed,
                waited / elapsed,
            )
            if self._stop and step < len(self.train):
                batches.close()  # type: ignore[attr-defined]
                return None
        elapsed = time.perf_counter() - started
        return self._validated(epoch, tally, rate, images / elapsed, waited / elapsed, started)

    def _train_step(self, batch: BatchLike, learning_rate: float, tally: Tally) -> None:
        model = self.model
        with model.device.scope():
            rng = Philox(self.seed, "dropout", self.optimizer.step)
            ctx = model.context(training=True, grad=True, rng=rng)
            root = self._root
            model.store.zero_grad()
            labels = model.device.put(np.ascontiguousarray(batch.labels))
            logits, saved = root.forward(model.to_input(ctx, batch), ctx)
            losses, kept = self.loss(ctx, logits, labels)
            tally.add(ctx, losses, logits, labels)
            share = ctx.xp.full(losses.shape, 1 / losses.shape[0], dtype=losses.dtype)
            root.backward(ctx.interior.ops.backward(share, kept), saved, ctx)
            self.optimizer.update(ctx, model.store, learning_rate)

    def _validated(
        self,
        epoch: int,
        train: Tally,
        learning_rate: float,
        images_per_second: float,
        data_wait: float,
        started: float,
    ) -> EpochEnded:
        tally = self._validate()
        if tally is not None:
            self._check_loss(tally.loss, f"the validation of epoch {epoch}")
        self._check_weights(epoch)
        result = EpochEnded(
            epoch,
            self.epochs,
            train.loss,
            train.accuracy,
            tally.loss if tally else None,
            tally.accuracy if tally else None,
            learning_rate,
            time.perf_counter() - started,
            images_per_second,
            data_wait,
            best=False,
        )
        if self._is_best(result):
            result = EpochEnded(**{**asdict(result), "best": True})
        return result

    def _validate(self) -> Tally | None:
        if self.validation is None or len(self.validation) == 0:
            return None
        model = self.model
        tally = Tally(model.device)
        for batch, logits in model.logits_batches(self.validation.epoch(0)):
            with model.device.scope():
                ctx = model.context()
                labels = model.device.put(np.ascontiguousarray(batch.labels))
                tally.add(ctx, self.loss(ctx, logits, labels)[0], logits, labels)
        tally.read()
        return tally

    def _is_best(self, result: EpochEnded) -> bool:
        if self.best is None or result.validation_accuracy is None:
            return True
        return _rank(result) > _rank(self.best)

    def _finish_epoch(self, result: EpochEnded) -> Iterator[Event]:
        self.history.append(result)
        if result.best:
            self.best = result
        # checkpoints first: who hears of an epoch can rely on it being kept
        saved = []
        if self.checkpoints is not None:
            saved.append(self._save("last", result.epoch))
            if result.best:
                saved.append(self._save("best", result.epoch))
        yield result
        yield from saved

    def _save(self, kind: Any, epoch: int) -> CheckpointSaved:
        assert self.checkpoints is not None
        path = self.checkpoints / f"{kind}.cpcnn"
        state = self.optimizer.get_state(self.model.store) if kind == "last" else {}
        training = {
            "epoch": epoch,
            "step": self.optimizer.step,
            "seed": self.seed,
            "history": [asdict(entry) for entry in self.history],
            "settings": self.settings,
        }
        save_checkpoint(path, to_checkpoint(self.model, training, state))
        return CheckpointSaved(path, kind, epoch)

    def _check_weights(self, epoch: int) -> None:
        """Never keep weights that are not finite: the last step may have been one too far."""
        model = self.model
        with model.device.scope():
            ctx = model.context()
            finite = bool(ctx.host(ctx.ops.all_finite(model.store.values))[0])
        if not finite:
            raise self._diverged(f"after epoch {epoch} there are weights that are not finite")

    def _check_loss(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            raise self._diverged(f"the loss was not finite in {where}")

    def _diverged(self, what: str) -> DivergedError:
        kept = "No epoch was completed before."
        if self.history:
            kept = f"The checkpoints of epoch {self.history[-1].epoch} are kept."
        rate = self.schedule(self.optimizer.step - 1)
        return DivergedError(
            f"training diverged: {what}, at learning rate {rate:.3g}. {kept}",
            suggestion="Try a smaller --lr.",
        )


def _rank(result: EpochEnded) -> tuple[float, float]:
    accuracy, loss = result.validation_accuracy, result.validation_loss
    assert accuracy is not None
    assert loss is not None
    return accuracy, -loss


def to_checkpoint(
    model: Network, training: dict[str, Any] | None = None, optimizer_state: Any = None
) -> Checkpoint:
    """Collect what a checkpoint stores of a network."""
    weights = model.store.get_weights()
    assert model.input_shape is not None  # or there would be no weights
    return Checkpoint(
        model_config={"root": to_config(model.root), "input_shape": list(model.input_shape)},
        weights=weights,
        classes=model.classes,
        preprocessing=model.preprocessing,
        training=training or {},
        optimizer_state=optimizer_state or {},
    )
