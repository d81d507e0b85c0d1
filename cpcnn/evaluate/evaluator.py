"""Run a model over a data set once and keep everything a report needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cpcnn.core.errors import CheckpointError, DataError
from cpcnn.metrics.confusion import ConfusionMatrix
from cpcnn.metrics.top_k import top_k_accuracy

from .classes import UNKNOWN, match_classes, quoted, unknown_classes_error
from .report import ClassificationReport

if TYPE_CHECKING:
    from cpcnn.data.dataset import Dataset
    from cpcnn.data.layouts.image_folder import Sample
    from cpcnn.data.loader import Batch, Loader

Progress = Callable[[int, int], None]


class Predictor(Protocol):
    """What evaluation needs of a model."""

    @property
    def classes(self) -> tuple[str, ...] | None: ...

    def predict_batches(self, loader: Loader, /) -> Iterator[tuple[Batch, NDArray[np.float32]]]: ...


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The predictions of a model for N images, in the data set's order, and what they are worth.

    `index` are the images' positions in the data set, int64 (N,); `labels` their true classes in
    the model's numbering, int64 (N,); `probabilities` float32 (N, K). `loss` is the mean
    cross-entropy. `excluded` counts images of classes that the model does not know; no other number
    includes them.
    """

    index: NDArray[np.int64]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    report: ClassificationReport
    loss: float
    seconds: float
    images_per_second: float
    unknown: tuple[str, ...]
    excluded: int

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image, the first one of several."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return best

    @property
    def accuracy(self) -> float:
        """The share of images whose class was predicted."""
        return self.report.accuracy

    def top_k_accuracy(self, k: int) -> float:
        """The share of images whose class is among the k most probable ones."""
        return top_k_accuracy(self.probabilities, self.labels, k)

    def notes(self) -> list[str]:
        """Return what a reader of the numbers has to know besides them, as sentences."""
        notes = self.report.notes()
        if self.excluded:
            notes.append(
                f"Images of classes that the model does not know, left out: {self.excluded} "
                f"({quoted(self.unknown)})."
            )
        return notes


def evaluate_model(
    model: Predictor,
    loader: Loader,
    progress: Progress | None = None,
    *,
    allow_unknown: bool = False,
) -> Evaluation:
    """Predict every image of `loader` once and compare with its label.

    Classes are matched by name. Images of a class that the model does not know are a
    `CheckpointError`, or are left out and counted with `allow_unknown`. A model without class names
    is taken to have been trained on the data's. `progress(done, total)` counts images.
    """
    data_classes = loader.dataset.classes
    match = match_classes(model.classes or data_classes, data_classes)
    unknown = _with_images(match.unknown, loader.dataset)
    if unknown and not allow_unknown:
        raise unknown_classes_error(unknown, model.classes or ())
    started = time.perf_counter()
    index, labels, probabilities = _predict(model, loader, progress)
    seconds = time.perf_counter() - started
    count = len(index)
    labels = match.translate(labels)
    known = labels != UNKNOWN
    index, labels, probabilities = index[known], labels[known], probabilities[known]
    if not len(index):
        raise DataError(
            f"Nothing to evaluate: {count} images, none of a class that the model knows.",
            suggestion="Give a folder with images of the model's classes.",
        )
    return Evaluation(
        index=index,
        paths=_paths(loader.dataset, index),
        labels=labels,
        probabilities=probabilities,
        report=_report(model.classes or data_classes, labels, probabilities),
        loss=_cross_entropy(probabilities, labels),
        seconds=seconds,
        images_per_second=count / max(seconds, 1e-9),
        unknown=unknown,
        excluded=count - len(index),
    )


def _with_images(names: Iterable[str], dataset: Dataset) -> tuple[str, ...]:
    """Return those of the data's classes that have an image; the others harm nobody."""
    used = {dataset.classes[number] for number in np.unique(dataset.labels)}
    return tuple(name for name in names if name in used)


def _predict(
    model: Predictor, loader: Loader, progress: Progress | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return positions, labels and probabilities of all images, in the data set's order."""
    done = 0
    parts = []
    for batch, probabilities in model.predict_batches(loader):
        parts.append((batch.index, batch.labels, probabilities))
        done += len(batch.index)
        if progress:
            progress(done, loader.num_samples)
    if not parts:
        raise DataError("Nothing to evaluate: the data set has no image.")
    index, labels, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    broken = int((~np.isfinite(values)).any(axis=1).sum())
    if broken:
        raise CheckpointError(
            f"The model's outputs for {broken} of {len(values)} images are not finite numbers.",
            suggestion="Its training diverged: use an earlier checkpoint.",
        )
    order = np.argsort(index, kind="stable")
    return index[order], labels[order], values[order]


def _report(
    classes: tuple[str, ...], labels: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> ClassificationReport:
    outputs = probabilities.shape[1]
    if len(classes) != outputs:
        raise CheckpointError(
            f"The model has {outputs} outputs for {len(classes)} classes: {quoted(classes)}."
        )
    confusion = ConfusionMatrix(outputs)
    confusion.update(labels, probabilities.argmax(axis=1))
    return ClassificationReport(classes, confusion.counts)


def _paths(dataset: Dataset, index: NDArray[np.int64]) -> tuple[Path, ...]:
    samples: tuple[Sample, ...] = getattr(dataset, "samples", ())
    return tuple(samples[i].path for i in index) if samples else ()


def _cross_entropy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the mean of -log(probability of the true class).

    A probability that float32 rounded to 0 counts as its smallest normal number, about 1e-38.
    """
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean())
