"""Cross-validation: as many trainings as there are folds, and what they come to together.

settings.toml          what was asked for
fold-1 … fold-K        an ordinary run each, which can be evaluated and resumed by itself
folds.csv, folds.json  what the folds came to, written when the last one has ended
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from ..core.errors import UsageError
from ..training.events import TrainingEnded
from .events import Progress
from .fold_results import DOCUMENT, FoldResult, FoldsEnded, read_result, write_results
from .resume import ResumeSettings, is_finished, resume_training
from .run_directory import LAST, RUNS, RunDirectory, is_run, last_run
from .run_lock import locked
from .settings import TrainSettings
from .splits import scan_as_set, split_as_set
from .train import Event as TrainEvent
from .train import check_model, train_folder


@dataclass(frozen=True)
class FoldStarted:
    """A fold is about to be trained, or went on with."""

    fold: int
    folds: int
    run: Path


@dataclass(frozen=True)
class FoldEnded:
    """A fold is trained, or was when this began."""

    fold: int
    folds: int
    result: FoldResult


Event: TypeAlias = TrainEvent | FoldStarted | FoldEnded | FoldsEnded


def train_folds(
    settings: TrainSettings, progress: Progress | None = None
) -> Generator[Event, None, None]:
    """Train all folds, one after the other, each as a run of its own in the run's folder.

    Yields FoldStarted, what `train_folder` does, and FoldEnded for each, and FoldsEnded. What would
    stop any fold before its training does so before the first. Raises CpcnnError.
    """
    check_model(settings.model)
    _check_folds(settings)
    run = RunDirectory.create(
        settings.model, settings.data, output=settings.output, name=settings.name
    )
    with locked(run.path):
        try:
            run.write_settings(settings.to_config())
            yield from _train_all(run, settings, ResumeSettings(), progress)
        except BaseException:
            if not any(_fold(run, fold).checkpoints() for fold in _numbers(settings)):
                run.discard()
            raise


def resume_folds(
    settings: ResumeSettings, progress: Progress | None = None
) -> Generator[Event, None, None]:
    """Go on with a cross-validation: folds that have ended stay, others go on or begin.

    Yields what `train_folds` does. Raises CpcnnError: UsageError when there is nothing left to do.
    """
    run = RunDirectory(settings.run or _last())
    if settings.epochs is not None:
        raise UsageError(
            f"{run.path} is a cross-validation, in which all folds have the same epochs.",
            suggestion="Leave out --epochs, or train a new one with --config "
            f"{run.path / 'settings.toml'}.",
        )
    with locked(run.path):
        planned = replace(TrainSettings.from_config(run.settings()), **settings.changes())
        if all(_has_ended(_fold(run, fold), settings) for fold in _numbers(planned)):
            raise UsageError(
                f"There is nothing to resume in {run.path}: all of its {planned.folds} folds are "
                "trained.",
                suggestion=f"{run.path / DOCUMENT} has the results.",
            )
        yield from _train_all(run, planned, settings, progress)


def is_cross_validation(path: Path) -> bool:
    """Say whether a path is the folder of a cross-validation."""
    settings = RunDirectory(path).settings() if is_run(path) else {}
    return "folds" in settings and "fold" not in settings


def is_to_resume(settings: ResumeSettings) -> bool:
    """Say whether what goes on is a cross-validation: the one named, or the last run if it is."""
    if settings.run is not None:
        return is_cross_validation(settings.run)
    newest = _newest_cross_validation()
    if newest is None:
        return False
    try:
        return last_run().created() < newest.created()
    except UsageError:  # there is no other run
        return True


def _newest_cross_validation() -> RunDirectory | None:
    paths = [path for path in RUNS.iterdir() if is_cross_validation(path)] if RUNS.is_dir() else []
    runs = [RunDirectory(path) for path in paths]
    return max(runs, key=lambda run: (run.created(), run.path.name), default=None)


def _last() -> Path:
    run = _newest_cross_validation()
    if run is None:
        raise UsageError(f"There is no cross-validation in {RUNS.absolute()}.")
    return run.path


def _check_folds(settings: TrainSettings) -> None:
    """Raise CpcnnError for what would stop any fold: that there is nothing to hold out."""
    folder = scan_as_set(settings)
    for fold in _numbers(settings):
        split_as_set(settings, folder, fold)


# ---- Folds -----------------------------------------------------------------------------------


def _numbers(settings: TrainSettings) -> range:
    return range(1, (settings.folds or 0) + 1)


def _fold(run: RunDirectory, fold: int) -> RunDirectory:
    return RunDirectory(run.path / f"fold-{fold}")


def _train_all(
    run: RunDirectory, settings: TrainSettings, resume: ResumeSettings, progress: Progress | None
) -> Iterator[Event]:
    results: list[FoldResult] = []
    interrupted = False
    for fold in _numbers(settings):
        inner = _fold(run, fold)
        if not _has_ended(inner, resume):
            yield FoldStarted(fold, settings.folds or 0, inner.path)
            for event in _train(inner, fold, settings, resume, progress):
                yield event
                if isinstance(event, TrainingEnded):
                    interrupted = event.reason == "interrupted"
            if interrupted:
                break
        results.append(read_result(inner, fold))
        yield FoldEnded(fold, settings.folds or 0, results[-1])
    end = FoldsEnded(run.path, settings.folds or 0, tuple(results), interrupted)
    if not interrupted:
        write_results(end)
    yield end


def _train(
    inner: RunDirectory,
    fold: int,
    settings: TrainSettings,
    resume: ResumeSettings,
    progress: Progress | None,
) -> Iterator[TrainEvent]:
    """Train a fold, or go on with it if it has a checkpoint to go on from."""
    if (inner.path / LAST).is_file():
        yield from resume_training(replace(resume, run=inner.path), progress)
        return
    inner.discard()  # what a process that was killed has left
    yield from train_folder(replace(settings, fold=fold, output=inner.path, name=None), progress)


def _has_ended(inner: RunDirectory, resume: ResumeSettings) -> bool:
    return (inner.path / LAST).is_file() and is_finished(replace(resume, run=inner.path))
