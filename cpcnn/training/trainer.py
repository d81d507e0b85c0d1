"""The training loop, as a generator of events."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError, DivergedError, UsageError
from ..layers import to_config
from ..losses import Loss
from ..metrics import Metric
from ..optimizers import Optimizer
from ..schedules import ObservingSchedule, Schedule
from .best import is_better
from .checkpoint import Checkpoint, save_checkpoint, to_checkpoint
from .events import (
    Callback,
    CheckpointSaved,
    EpochEnded,
    Event,
    StepEnded,
    StopReason,
    TrainingEnded,
    TrainingStarted,
)
from .input_stage import BatchLike
from .measure import LoaderLike, measure
from .network import Network
from .progress import RESUME, TrainingProgress, load_progress
from .resumable import check_resumable
from .step import TrainingStep
from .tally import READ_EVERY, Tally
from .unfinished import UnfinishedEpoch


@dataclass
class Trainer:
    """Trains a network; iterate over `run()` and render the events.

    `checkpoints` is a folder that gets `best.cpcnn` and `last.cpcnn` after every epoch; `settings`
    is stored in them. The best epoch is the one with the highest `monitor`, a name of `log_names`
    (among equals the lowest validation loss; where it is a loss, the lowest), or the last one when
    there is no validation. Where the optimizer averages weights, validation and `best.cpcnn` use
    the average.

    `class_weights` (K,) multiply the losses of training, not those of validation. `resume` goes on
    with the state that the optimizer has; the schedule counts updates from `schedule_start`.
    """

    model: Network
    train: LoaderLike
    validation: LoaderLike | None
    optimizer: Optimizer
    schedule: Schedule
    loss: Loss
    epochs: int
    seed: int = 0
    checkpoints: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    monitor: str = "val_accuracy"
    callbacks: Sequence[Callback] = ()
    class_weights: NDArray[np.float64] | None = None
    resume: bool = False
    schedule_start: int = 0

    history: list[EpochEnded] = field(default_factory=list, init=False)
    best: EpochEnded | None = field(default=None, init=False)
    _stop: StopReason | None = field(default=None, init=False)
    _begun: UnfinishedEpoch = field(default_factory=UnfinishedEpoch, init=False, repr=False)

    def resume_from(self, checkpoint: Checkpoint | Path | str) -> TrainingProgress:
        """Go on, with `run`, where the training that wrote a `last.cpcnn` had come to.

        Takes over weights and statistics, the state of optimizer and schedule, the history, and
        the place within an epoch that was interrupted. If network, data and options are those of
        that training, both parts together end on the CPU with the bits of a training without
        interruption. `epochs` may differ; `schedule` is taken as it is. Callbacks with a method
        `resume(history)` hear of the epochs before.

        CheckpointError for a checkpoint of another network, or without the state of a training;
        UsageError for another seed, other class weights, another number of batches, when more
        epochs are done, or when these did not measure what is monitored.
        """
        if isinstance(checkpoint, Checkpoint):
            progress = TrainingProgress.from_json(checkpoint.training)
        else:
            checkpoint, progress = load_progress(Path(checkpoint))
        self.model.apply_freezing()  # or the optimizer's state would be of another layout
        check_resumable(self, checkpoint, progress)
        store = self.model.store
        store.set_weights(checkpoint.weights)
        self.optimizer.set_state(store, checkpoint.optimizer_state, progress.step)
        if isinstance(self.schedule, ObservingSchedule):
            self.schedule.set_state(progress.schedule)
        self.history = list(progress.history)
        self.best = next((entry for entry in reversed(self.history) if entry.best), None)
        self._begun = UnfinishedEpoch(progress.batches, progress.waiting, checkpoint.unfinished)
        self.resume = True
        return progress

    def listed_class_weights(self) -> list[float] | None:
        """The class weights as JSON has them."""
        return None if self.class_weights is None else np.asarray(self.class_weights).tolist()

    def request_stop(self, reason: StopReason = "interrupted") -> None:
        """Ask to stop after the step in progress (safe in a signal handler)."""
        self._stop = reason

    @property
    def log_names(self) -> tuple[str, ...]:
        """The names in `EpochEnded.logs` of this training."""
        names = list(dict.fromkeys(["loss", "accuracy", *(m.name for m in self.metrics)]))
        validation = [f"val_{name}" for name in names] if self.validates else []
        return (*names, *validation, "learning_rate")

    @property
    def validates(self) -> bool:
        """Whether there are images to validate on."""
        return self.validation is not None and len(self.validation) > 0

    def evaluated_weights(self) -> AbstractContextManager[None]:
        """Within it the network has the weights that validation sees: their average, if any."""
        return self.optimizer.averaged(self.model.store)

    def prepare(self) -> TrainingStep:
        """Make the optimizer ready, and the step that trains."""
        if len(self.train) == 0:
            raise DataError("there are no training images.")
        if self.checkpoints is not None:
            to_config(self.model.root)  # UsageError now for a layer that cannot be saved
        if self.validates and self.monitor not in self.log_names:
            raise UsageError(
                f"training has no quantity {self.monitor!r} to monitor.",
                suggestion=f"Known are: {', '.join(self.log_names)}.",
            )
        loss = self.loss
        if self.class_weights is not None:
            loss = loss.with_class_weights(self.class_weights)
        step = TrainingStep(self.model, loss, self.optimizer, self.seed)
        if not self.resume:
            self.optimizer.prepare(self.model.store)
        return step

    # --- the loop -------------------------------------------------------------------------

    def run(self) -> Iterator[Event]:
        """Train, and yield what happens; callbacks hear of it first.

        DivergedError when the loss is not finite any more.
        """
        events = self._events()
        try:
            for event in events:
                for callback in self.callbacks:
                    callback(event)
                yield event
        finally:
            events.close()

    def _events(self) -> Generator[Event, None, None]:
        started = time.perf_counter()
        step = self.prepare()
        for callback in self.callbacks:
            if hasattr(callback, "attach"):
                callback.attach(self)
            if self.history and hasattr(callback, "resume"):
                callback.resume(self.history)
        store = self.model.store
        yield TrainingStarted(
            self.model.device.name, store.num_trainable, len(self.train), self.epochs
        )
        for epoch in range(len(self.history) + 1, self.epochs + 1):
            result = yield from self._epoch(epoch, step)
            if result is None:
                break
            yield from self._finish_epoch(result)
            if self._stop:
                break
        self.optimizer.finish(store)
        yield self._ended(time.perf_counter() - started)

    def _ended(self, seconds: float) -> TrainingEnded:
        reason: Literal["finished"] | StopReason = "finished"
        if self._stop and len(self.history) < self.epochs:
            reason = self._stop
        best = self.best
        return TrainingEnded(
            reason,
            best.epoch if best else 0,
            best.validation_accuracy if best else None,
            seconds,
        )

    def _epoch(self, epoch: int, learn: TrainingStep) -> Generator[Event, None, EpochEnded | None]:
        """One epoch and its validation; returns None when it was left unfinished."""
        started = time.perf_counter()
        waited = 0.0
        images = 0
        tally = Tally(self.model, learn.loss, self.metrics)
        begun, self._begun = self._begun, UnfinishedEpoch()
        begun.restore(learn, tally)
        done = begun.batches
        batches = self._batches(epoch, done)
        for step in range(done + 1, len(self.train) + 1):
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            rate = self._rate(self.optimizer.step)
            learn(batch, rate, tally, update=step == len(self.train))
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
                yield from self._keep_unfinished(step, learn, tally)
                return None
        elapsed = time.perf_counter() - started
        return self._validated(epoch, tally, rate, images / elapsed, waited / elapsed, started)

    def _batches(self, epoch: int, done: int) -> Iterator[BatchLike]:
        # a loader of one's own need not know how to begin in the middle, as long as it need not
        return self.train.epoch(epoch - 1, done) if done else self.train.epoch(epoch - 1)

    def _rate(self, step: int) -> float:
        # a schedule of one's own may compute in NumPy, whose float64 would widen the updates
        return float(self.schedule(step - self.schedule_start))

    def _validated(
        self,
        epoch: int,
        train: Tally,
        learning_rate: float,
        images_per_second: float,
        data_wait: float,
        started: float,
    ) -> EpochEnded:
        train_metrics = train.results()  # before validation uses the same metrics
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
            train_metrics=train_metrics,
            validation_metrics=tally.results() if tally else {},
        )
        return replace(result, best=is_better(result, self.best, self.monitor))

    def _validate(self) -> Tally | None:
        if self.validation is None or not self.validates:
            return None
        with self.evaluated_weights():
            return measure(self.model, self.loss, self.validation, self.metrics)

    def _finish_epoch(self, result: EpochEnded) -> Iterator[Event]:
        self.history.append(result)
        if result.best:
            self.best = result
        if isinstance(self.schedule, ObservingSchedule):
            validated = result.validation_loss
            self.schedule.observe(result.train_loss if validated is None else validated)
        # Checkpoints first: who hears of an epoch can rely on it being kept. The best one before
        # the last one: if it ends between them, the epoch is repeated and makes the same again.
        saved = []
        if self.checkpoints is not None:
            if result.best:
                with self.evaluated_weights():
                    saved.append(self._save("best"))
            saved.append(self._save("last"))
        yield result
        yield from saved

    # --- what is kept ---------------------------------------------------------------------

    def _keep_unfinished(self, step: int, learn: TrainingStep, tally: Tally) -> Iterator[Event]:
        """Save what the steps of an unfinished epoch have learned, and what they summed up."""
        if self.checkpoints is None:
            return
        self._check_weights(len(self.history) + 1)
        yield self._save("last", UnfinishedEpoch.after(step, learn, tally))

    def _save(
        self, kind: Literal["best", "last"], begun: UnfinishedEpoch | None = None
    ) -> CheckpointSaved:
        assert self.checkpoints is not None
        path = self.checkpoints / f"{kind}.cpcnn"
        begun = begun or UnfinishedEpoch()
        checkpoint = to_checkpoint(self.model, self._progress(begun).to_json())
        if kind == "last":
            checkpoint.optimizer_state = self.optimizer.get_state(self.model.store)
            checkpoint.unfinished = begun.sums or {}
        else:
            del checkpoint.training[RESUME]  # nothing can go on from the weights alone
        checkpoint.training["settings"] = self.settings
        save_checkpoint(path, checkpoint)
        return CheckpointSaved(path, kind, len(self.history))

    def _progress(self, begun: UnfinishedEpoch) -> TrainingProgress:
        schedule = self.schedule
        return TrainingProgress(
            seed=self.seed,
            step=self.optimizer.step,
            steps_per_epoch=len(self.train),
            class_weights=self.listed_class_weights(),
            batches=begun.batches,
            waiting=begun.waiting,
            schedule=schedule.get_state() if isinstance(schedule, ObservingSchedule) else {},
            history=tuple(self.history),
        )

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
        rate = self._rate(max(self.optimizer.step - 1, self.schedule_start))
        return DivergedError(
            f"training diverged: {what}, at learning rate {rate:.3g}. {kept}",
            suggestion="Try a smaller learning rate (--lr).",
        )
