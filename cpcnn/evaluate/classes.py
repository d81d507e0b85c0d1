"""The classes of a model and of a data set, brought together by name, never by number."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpcnn.core.errors import CheckpointError

UNKNOWN = -1
_NAMES_SHOWN = 10


@dataclass(frozen=True, eq=False)
class ClassMatch:
    """How the class numbers of a data set translate into those of a model.

    `mapping` is int64, one entry for each class of the data: the number of the model's class of the
    same name, or `UNKNOWN`. `missing` are the model's classes that the data lacks, `unknown` the
    data's classes that the model lacks.
    """

    mapping: NDArray[np.int64]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    def translate(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the model's number of each label of the data, `UNKNOWN` where it has none."""
        return self.mapping[labels]


def match_classes(model_classes: Sequence[str], data_classes: Sequence[str]) -> ClassMatch:
    """Match two lists of class names; a name in another Unicode form is the same name."""
    exact = {name: number for number, name in enumerate(model_classes)}
    composed = {_composed(name): number for name, number in reversed(exact.items())}
    numbers = [exact.get(name, composed.get(_composed(name), UNKNOWN)) for name in data_classes]
    found = set(numbers)
    return ClassMatch(
        mapping=np.array(numbers, np.int64),
        missing=tuple(name for number, name in enumerate(model_classes) if number not in found),
        unknown=tuple(
            name for name, number in zip(data_classes, numbers, strict=True) if number == UNKNOWN
        ),
    )


def unknown_classes_error(unknown: Sequence[str], model_classes: Sequence[str]) -> CheckpointError:
    """Return the error for images of classes that the model has never seen."""
    count = "a class" if len(unknown) == 1 else f"{len(unknown)} classes"
    return CheckpointError(
        f"The data has images of {count} that the model does not know: {quoted(unknown)}. "
        f"The model's classes are: {quoted(model_classes)}.",
        suggestion="Rename the folders to the model's names, or allow unknown classes "
        "(--allow-unknown-classes) to leave their images out of the evaluation.",
    )


def quoted(names: Iterable[str]) -> str:
    """Return class names for a message: quoted, control characters escaped, long lists cut."""
    shown = [repr(name) for name in names]
    more = len(shown) - _NAMES_SHOWN
    return ", ".join(shown[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
