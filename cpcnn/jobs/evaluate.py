"""Evaluate a trained model on a folder of images and keep the report."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ..core.errors import DataError, UsageError
from ..data.cache import ImageCache
from ..data.dataset import ImageDataset
from ..data.images.preprocess import Preprocessing
from ..data.layouts.folder import scan_folder
from ..data.layouts.image_folder import UNSPLIT, ImageFolder, Sample, name_in
from ..data.loader import Loader
from ..devices.registry import get_device
from ..evaluate.classes import match_classes, unknown_classes_error
from ..evaluate.evaluator import Evaluation, evaluate_model
from ..training.checkpoint import load_checkpoint
from .events import BadFile, DeviceSelected, Progress
from .figures import write_confusion
from .image_choice import SPLITS, ImageChoice, RecordedSplit, choose_images
from .model_source import ModelSource, find_model, load_classifier
from .open_cache import open_cache
from .run_directory import RunDirectory, cannot_write, refuse_inside_data, write_csv
from .settings import CACHES, ON_ERROR, one_of, whole
from .trained_images import TrainedImages, find_trained

REPORT_SCHEMA = 1
REPORT_TEXT, REPORT_JSON = "report.txt", "report.json"
CONFUSION, PREDICTIONS = "confusion.csv", "predictions.csv"
MOST_CONFUSED = 10


@dataclass(frozen=True)
class EvaluateSettings:
    """What to evaluate; without a model the last run, without data the data of the model's run."""

    model: Path | None = None
    data: Path | None = None
    split: str | None = None
    batch_size: int = 64
    cache: str = "auto"
    workers: int = 2
    device: str = "auto"
    exact: bool = False
    on_error: str = "skip"
    allow_unknown_classes: bool = False
    allow_nested: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    strict_split: bool = False
    output: Path | None = None

    def __post_init__(self) -> None:
        for name in ("model", "data", "output"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        if self.split is not None:
            one_of("split", self.split, SPLITS)
        one_of("on_error", self.on_error, ON_ERROR)
        one_of("cache", self.cache, CACHES)
        whole("batch_size", self.batch_size, 1)
        whole("workers", self.workers, 0, 256)


@dataclass(frozen=True)
class EvaluationPrepared:
    """What is about to be evaluated: the images of one `split` of `data`.

    `training_images` of them are known to be images that the model was trained on. Names of images
    are relative to `root`.
    """

    checkpoint: Path
    data: Path
    split: str
    images: int
    bad_files: tuple[BadFile, ...]
    notes: tuple[str, ...]
    training_images: int = 0
    root: Path = Path()


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The outcome of an evaluation, and the folder that keeps it (None: it was not kept)."""

    prepared: EvaluationPrepared
    evaluation: Evaluation
    notes: tuple[str, ...]
    saved_to: Path | None = None

    def to_document(self) -> dict[str, Any]:
        """Return everything but the single predictions as plain JSON values."""
        prepared, evaluation = self.prepared, self.evaluation
        report = evaluation.report
        return {
            "schema_version": REPORT_SCHEMA,
            "model": str(prepared.checkpoint),
            "data": str(prepared.data),
            "split": prepared.split,
            "images": report.total,
            "training_images": prepared.training_images,
            "accuracy": report.accuracy,
            "loss": evaluation.loss if math.isfinite(evaluation.loss) else None,
            "classes": list(report.classes),
            "report": report.to_dict(),
            "confusion": report.counts.tolist(),
            "most_confused": [pair._asdict() for pair in report.most_confused(MOST_CONFUSED)],
            "bad_files": [{"path": str(b.path), "reason": b.reason} for b in prepared.bad_files],
            "images_per_second": round(evaluation.images_per_second, 1),
            "notes": list(self.notes),
        }


Event: TypeAlias = DeviceSelected | EvaluationPrepared | Evaluated


def evaluate_run(
    settings: EvaluateSettings, progress: Progress | None = None
) -> Generator[Event, None, None]:
    """Evaluate and yield what happens: DeviceSelected, EvaluationPrepared, Evaluated.

    The report goes to `output`, or to the run that the model belongs to. Raises CpcnnError.
    """
    source = find_model(settings.model)
    device = get_device(settings.device, exact=settings.exact)
    yield DeviceSelected(device.name, device.description)
    classifier = load_classifier(source.checkpoint, device)
    recorded = _recorded(source)
    data = _find_data(settings, source, recorded)
    folder = _scan(data, settings, _own_settings(source, recorded, data))
    choice = choose_images(folder, recorded, settings.split)
    _check_classes(choice.samples, classifier.classes, settings)
    output = _output_folder(settings, source, folder, choice, recorded.is_of(data))
    cache = open_cache(settings.cache, folder.root)
    dataset = _read(
        settings,
        choice.samples,
        cache,
        classifier.preprocessing,
        progress,
        digests=recorded.has_content(),  # nothing to compare them with otherwise
    )
    trained = find_trained(recorded, folder.root, dataset.samples, dataset.digests)
    if settings.strict_split:
        trained.refuse()
    prepared = _prepared(source, folder, choice, dataset, trained)
    if cache is not None:
        prepared = replace(prepared, notes=(*prepared.notes, *cache.notices()))
    yield prepared
    loader = Loader(dataset, settings.batch_size, workers=settings.workers)
    evaluation = evaluate_model(
        classifier.model,
        loader,
        (lambda done, total: progress("Evaluating", done, total)) if progress else None,
        allow_unknown=settings.allow_unknown_classes,
    )
    evaluated = Evaluated(prepared, evaluation, (*prepared.notes, *evaluation.notes()))
    yield _keep(evaluated, output, asked=settings.output is not None)


# ---- What is evaluated on what ---------------------------------------------------------------


def _recorded(source: ModelSource) -> RecordedSplit:
    """Return what is known about the images that the model was trained on."""
    settings = source.run.settings() if source.run else {}
    if not settings:
        kept = load_checkpoint(source.checkpoint).training.get("settings")
        settings = kept if isinstance(kept, dict) else {}
    data = settings.get("data")
    rows = source.run.split() if source.run else []
    return RecordedSplit(Path(data) if isinstance(data, str) else None, tuple(rows))


def _find_data(settings: EvaluateSettings, source: ModelSource, recorded: RecordedSplit) -> Path:
    if settings.data is not None:
        return settings.data
    if recorded.root is None:
        raise UsageError(
            f"{source.checkpoint} does not say what it was trained on.",
            suggestion="Give a folder of images as DATA.",
        )
    if not recorded.root.exists():
        raise DataError(
            f"The data of this run, {recorded.root}, is not there any more.",
            suggestion="Give a folder of images as DATA.",
        )
    return recorded.root


def _own_settings(source: ModelSource, recorded: RecordedSplit, data: Path) -> dict[str, Any]:
    """Return the settings of the model's run if this is its own data, else nothing."""
    if source.run is None or not recorded.is_of(data):
        return {}
    return source.run.settings()


def _scan(data: Path, settings: EvaluateSettings, own: dict[str, Any]) -> ImageFolder:
    """Read the data; a run's own as the run did, unless patterns are given."""
    include, exclude = settings.include, settings.exclude
    if not include and not exclude:
        include, exclude = (
            tuple(text for text in own.get(name, ()) if isinstance(text, str))
            for name in ("include", "exclude")
        )
    return scan_folder(
        data,
        training=False,
        allow_nested=settings.allow_nested or bool(own.get("allow_nested")),
        include=include,
        exclude=exclude,
    )


def _check_classes(
    samples: tuple[Sample, ...], classes: tuple[str, ...], settings: EvaluateSettings
) -> None:
    """Raise CheckpointError for unknown classes here, before images are read."""
    match = match_classes(classes, _labels(samples))
    if match.unknown and not settings.allow_unknown_classes:
        raise unknown_classes_error(match.unknown, classes)


def _read(
    settings: EvaluateSettings,
    samples: tuple[Sample, ...],
    cache: ImageCache | None,
    preprocessing: Preprocessing,
    progress: Progress | None,
    *,
    digests: bool,
) -> ImageDataset:
    dataset = ImageDataset(
        samples, _labels(samples), preprocessing, kept=settings.cache, cache=cache
    )
    dataset.prepare(
        workers=settings.workers,
        on_error="fail" if settings.on_error == "fail" else "skip",
        progress=(lambda done, total: progress("Reading images", done, total))
        if progress
        else None,
        digests=digests,
    )
    return dataset


def _labels(samples: tuple[Sample, ...]) -> list[str]:
    return sorted({sample.label for sample in samples})


def _prepared(
    source: ModelSource,
    folder: ImageFolder,
    choice: ImageChoice,
    dataset: ImageDataset,
    trained: TrainedImages,
) -> EvaluationPrepared:
    return EvaluationPrepared(
        checkpoint=source.checkpoint,
        data=folder.source,
        root=folder.root,
        split=choice.split,
        images=len(dataset),
        bad_files=tuple(BadFile(image.path, image.reason) for image in dataset.bad),
        notes=tuple(filter(None, (source.notice, *choice.notes, trained.note))),
        training_images=len(trained.names),
    )


# ---- What is kept ----------------------------------------------------------------------------


def _output_folder(
    settings: EvaluateSettings,
    source: ModelSource,
    folder: ImageFolder,
    choice: ImageChoice,
    own: bool,
) -> Path | None:
    """Return the folder for the report: the one asked for, checked; else one in the model's run.

    The run itself keeps the report on its own data that needs no --split; any other evaluation goes
    to a folder eval-SPLIT or eval-on-DATA in it, so that it does not replace that one.
    """
    if settings.output is not None:
        refuse_inside_data(settings.output.absolute(), folder.source)
        RunDirectory.claim(settings.output)
        return settings.output
    if source.run is None:
        return None
    if not own:
        name = f"eval-on-{folder.source.resolve().name}"
        return source.run.path / (name if choice.split == UNSPLIT else f"{name}-{choice.split}")
    has_test = bool(folder.splits.get("test"))
    if choice.split == ("test" if has_test else "validation"):
        return source.run.path
    return source.run.path / f"eval-{choice.split}"


def _keep(evaluated: Evaluated, output: Path | None, *, asked: bool) -> Evaluated:
    """Write the report; a run that cannot be written is a remark, an output asked for an error."""
    if output is None:
        return evaluated
    try:
        write_report(output, evaluated)
    except UsageError as error:
        if asked:
            raise
        return replace(
            evaluated, notes=(*evaluated.notes, f"{error.message} The report is not kept.")
        )
    return replace(evaluated, saved_to=output)


def write_report(folder: Path, evaluated: Evaluated) -> None:
    """Write report.txt, report.json, confusion.csv, confusion.svg and predictions.csv.

    UsageError when they cannot be written.
    """
    report = evaluated.evaluation.report
    document = json.dumps(evaluated.to_document(), indent=2, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT_TEXT).write_text(_report_text(evaluated), "utf-8", "surrogateescape")
        (folder / REPORT_JSON).write_text(document, "utf-8")
        report.write_confusion_csv(folder / CONFUSION)
    except OSError as error:
        raise cannot_write(folder, error.strerror or str(error)) from error
    write_confusion(folder, report)
    write_csv(
        folder / PREDICTIONS, ("path", "true", "predicted", "probability"), _predictions(evaluated)
    )


def _report_text(evaluated: Evaluated) -> str:
    prepared, report = evaluated.prepared, evaluated.evaluation.report
    lines = [
        f"Model:  {prepared.checkpoint}",
        f"Data:   {prepared.data}, {prepared.split}, {report.total} images",
        *evaluated.notes,
        "",
        report.to_text(digits=4),
    ]
    return "\n".join(lines)


def _predictions(evaluated: Evaluated) -> Iterator[tuple[object, ...]]:
    evaluation, root = evaluated.evaluation, evaluated.prepared.root
    classes = evaluation.report.classes
    best = evaluation.probabilities.max(axis=1)
    columns = (evaluation.paths, evaluation.labels, evaluation.predicted, best)
    for path, true, predicted, probability in zip(*columns, strict=True):
        name = name_in(path, root)
        yield name, classes[true], classes[predicted], f"{probability:.6f}"
