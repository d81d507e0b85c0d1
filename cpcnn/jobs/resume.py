"""Go on with a run that was interrupted, or has ended and shall have more epochs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointError, DataError, UsageError
from ..data.images.preprocess import DEFAULT_JPEG
from ..training.checkpoint import Checkpoint, load_checkpoint
from ..training.progress import TrainingProgress, load_progress
from ..training.trainer import Trainer
from .events import Progress, TrainingResumed
from .patience import Patience
from .run_directory import BEST, LAST, SETTINGS, RunDirectory, is_run, last_run
from .run_lock import locked
from .same_images import require_same_images
from .settings import TrainSettings
from .train import Event, Training, history_row, train_into

# What may differ from the run's settings, since it does not change what is learned from what.
MAY_DIFFER = ("data", "epochs", "device", "cache", "workers", "threads")
PLANNED_AHEAD = {"constant", "reduce-on-plateau"}  # schedules that do not ask how many epochs come


@dataclass(frozen=True)
class ResumeSettings:
    """Which run goes on, by default the last one, and what is different from now on.

    `data` says where the images are, if they are not where they were. `epochs` are those of the
    whole run.
    """

    run: Path | None = None
    data: Path | None = None
    epochs: int | None = None
    device: str | None = None
    workers: int | None = None
    threads: int | None = None

    def changes(self) -> dict[str, Any]:
        """Return the settings of the run that are replaced."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v for k, v in values.items() if k != "run" and v is not None}


def resume_training(
    settings: ResumeSettings, progress: Progress | None = None
) -> Generator[Event, None, None]:
    """Go on with a run in its folder; yields what `train_folder` does, and TrainingResumed.

    It continues with the step after the one at which last.cpcnn was written, also within an epoch.
    On the same device of the CPU the result has the same bits as a run that was not interrupted.
    Raises CpcnnError: CheckpointError when there is nothing to go on from, UsageError when there
    is nothing left to do or the run's settings were changed, DataError when its images were.
    """
    run = _find_run(settings.run)
    with locked(run.path):
        last, done = _load_last(run)
        planned = _planned_settings(run, last, settings)
        _require_work(run, planned, settings, done)
        # a run that began before JPEGs were decoded at a reduced scale goes on without
        jpeg = (last.preprocessing or {}).get("jpeg", DEFAULT_JPEG)
        yield from train_into(run, planned, partial(_continue, last), progress, jpeg)


def is_finished(settings: ResumeSettings) -> bool:
    """Say whether there is nothing left to do for a run; raises what `resume_training` does."""
    run = _find_run(settings.run)
    last, done = _load_last(run)
    planned = _planned_settings(run, last, settings)
    try:
        _require_work(run, planned, settings, done)
    except UsageError:
        return True
    return False


def _find_run(path: Path | None) -> RunDirectory:
    if path is None:
        return last_run()
    if path.name in (BEST, LAST) and path.is_file():
        path = path.parent
    if is_run(path):
        return RunDirectory(path)
    raise UsageError(
        f"{path} is no run directory.",
        suggestion="Name one, such as runs/resnet9-1, or give --resume alone for the last run.",
    )


def _load_last(run: RunDirectory) -> tuple[Checkpoint, TrainingProgress]:
    path = run.path / LAST
    try:
        return load_progress(path)
    except CheckpointError as error:
        message = error.message
        if not path.exists():
            message = f"{run.path} holds no {LAST}: there is nothing to go on from."
        raise CheckpointError(message, suggestion=_instead(run)) from None


def _instead(run: RunDirectory) -> str:
    """Say what can be done with a run that cannot go on."""
    anew = f"`cpcnn train --config {run.path / SETTINGS}` trains anew."
    epoch = _epoch_of_best(run)
    if epoch is None:
        return anew
    return f"{BEST} has the model of epoch {epoch}: `cpcnn eval {run.path}` takes it. {anew}"


def _epoch_of_best(run: RunDirectory) -> int | None:
    """Return the epoch of best.cpcnn, None if it cannot be read."""
    try:
        epoch = load_checkpoint(run.path / BEST).training.get("epoch")
    except CheckpointError:
        return None
    return epoch if isinstance(epoch, int) else None


# ---- Settings --------------------------------------------------------------------------------


def _planned_settings(
    run: RunDirectory, last: Checkpoint, settings: ResumeSettings
) -> TrainSettings:
    """Return the run's settings, with what shall be different; UsageError if others changed."""
    made_with = last.training.get("settings")
    if not isinstance(made_with, dict) or "data" not in made_with:
        raise CheckpointError(
            f"{run.path / LAST} does not say with which settings it was made.",
            suggestion="Only a run of `cpcnn train` can go on; in Python there is "
            "Trainer.resume_from.",
        )
    found = run.settings() or made_with
    # a setting that one of them was written without has its default there
    defaults = TrainSettings(Path()).to_config()
    before, now = defaults | made_with, defaults | found
    for name in sorted((before.keys() | now.keys()) - set(MAY_DIFFER)):
        if now.get(name) != before.get(name):
            raise UsageError(
                f"{run.path / SETTINGS} has {name} = {now.get(name)!r}, but the run was begun "
                f"with {before.get(name)!r}.",
                suggestion="A resumed run keeps its settings: put it back, or train a new run "
                f"with `cpcnn train --config {run.path / SETTINGS}`.",
            )
    planned = replace(TrainSettings.from_config(found), **settings.changes())
    if settings.data is None and not planned.data.exists():
        raise DataError(
            f"The images of {run.path} are not in {planned.data} any more.",
            suggestion=f"Say where they are: `cpcnn train DATA --resume {run.path}`.",
        )
    return planned


def _require_work(
    run: RunDirectory,
    planned: TrainSettings,
    settings: ResumeSettings,
    progress: TrainingProgress,
) -> None:
    """Raise UsageError when there is nothing left to do."""
    history = progress.history
    done = len(history)
    if settings.epochs is None:
        if done >= planned.epochs:
            raise _finished(
                run,
                "its one epoch is done" if done == 1 else f"all of its {done} epochs are done",
                2 * done,
            )
        stopped = planned.patience and Patience(planned.patience).stopped_after(history)
        if stopped and not progress.batches:  # with batches it had gone on after the stop
            raise _finished(run, f"it was stopped early after epoch {done}", planned.epochs)
    elif done >= settings.epochs:
        raise UsageError(
            f"--epochs is {settings.epochs}, and {run.path} has done {done} epochs already.",
            suggestion="Give the number of epochs of the whole run.",
        )


def _finished(run: RunDirectory, how: str, epochs: int) -> UsageError:
    return UsageError(
        f"There is nothing to resume in {run.path}: {how}.",
        suggestion=f"For more epochs: `cpcnn train --resume {run.path} --epochs {epochs}`.",
    )


# ---- Going on --------------------------------------------------------------------------------


def _continue(last: Checkpoint, run: RunDirectory, training: Training) -> tuple[Event, ...]:
    """Bring trainer and run directory to where the last checkpoint was written."""
    trainer = training.trainer
    require_same_images(run, training.rows, training.settings.data)
    if trainer.model.preprocessing != last.preprocessing:
        raise DataError(
            f"The images are not those of {run.path}: their size, mean or deviation is another.",
            suggestion="Bring the images back as they were, or train a new run.",
        )
    done = trainer.resume_from(last)
    notes = [*_schedule_note(training, last), *_best_note(run, trainer)]
    _clean_up(run)
    run.write_history([history_row(entry) for entry in done.history])
    config = training.settings.to_config()
    if config != run.settings():
        run.write_settings(config)
    return (
        TrainingResumed(
            run.path,
            done.history,
            done.batches,
            done.steps_per_epoch,
            trainer.epochs,
            tuple(notes),
        ),
    )


def _schedule_note(training: Training, last: Checkpoint) -> list[str]:
    """Say how the learning rate goes on when it was planned for another number of epochs."""
    settings, trainer = training.settings, training.trainer
    before = last.training["settings"].get("epochs")
    if before == settings.epochs or settings.schedule in PLANNED_AHEAD:
        return []
    rate = trainer.schedule(trainer.optimizer.step)
    was = f" (it was {trainer.history[-1].learning_rate:.3g})" if trainer.history else ""
    return [
        f"The {settings.schedule} schedule was planned for {before} epochs and is now that of "
        f"{settings.epochs}: the learning rate goes on at {rate:.3g}{was}."
    ]


def _best_note(run: RunDirectory, trainer: Trainer) -> list[str]:
    """Look for the best epoch among those to come if best.cpcnn is not that of the history."""
    if trainer.best is None:
        return []
    found, expected = _epoch_of_best(run), trainer.best.epoch
    # a later one was written just before the end of the process, and will be again
    if found is not None and (found == expected or found > len(trainer.history)):
        return []
    trainer.best = None
    return [f"{BEST} is not that of epoch {expected}: the best epoch is one of those to come."]


def _clean_up(run: RunDirectory) -> None:
    """Remove what a process that was killed has left half written."""
    for path in run.path.glob(".*.tmp"):
        with suppress(OSError):
            path.unlink()
