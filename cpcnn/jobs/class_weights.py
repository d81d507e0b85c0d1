"""Weights of classes for the loss of training: balanced, or from a file, by the classes' names."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.options import is_number
from .settings import BALANCED, did_you_mean

FORMS = 'Write a CSV table with the columns "class,weight", or TOML lines such as "cat" = 2.0.'


def class_weights(
    choice: str | None, classes: Sequence[str], counts: Sequence[int]
) -> NDArray[np.float64] | None:
    """Return a weight for each class (K,): `balanced`, or those of a CSV or TOML file.

    Balanced weights are N / (K n), of N training images in K classes and n in this one, as in
    scikit-learn; a class without images has 1 and does not count. A file must name every class and
    no other one. UsageError otherwise; None when there is no choice.
    """
    if choice is None:
        return None
    if choice == BALANCED:
        return _balanced(np.asarray(counts))
    path = Path(choice)
    weights = _read(path)
    unknown = [name for name in weights if name not in classes]
    if unknown:
        raise UsageError(
            f"{path} has a weight for {unknown[0]!r}, which is no class of the data.",
            suggestion=did_you_mean(unknown[0], classes),
        )
    missing = [name for name in classes if name not in weights]
    if missing:
        raise UsageError(
            f"{path} has no weight for {', '.join(map(repr, missing[:5]))}"
            f"{f' and {len(missing) - 5} more classes' if len(missing) > 5 else ''}.",
            suggestion="Give every class a weight; 1 changes nothing.",
        )
    return np.array([weights[name] for name in classes])


def _balanced(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def _read(path: Path) -> dict[str, float]:
    try:
        text = path.read_text("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise UsageError(
            f"The class weights cannot be read from {path}: {error.strerror or error}.",
            suggestion=f"--class-weights is {BALANCED!r} or a file. {FORMS}",
        ) from None
    pairs = _toml_pairs(text, path) if path.suffix.lower() == ".toml" else _csv_pairs(text, path)
    weights: dict[str, float] = {}
    for name, value in pairs:
        if name in weights:
            raise UsageError(f"{path} has two weights for {name!r}.")
        weights[name] = _weight(name, value, path)
    if not any(weights.values()):
        raise UsageError(f"{path} has no weight above 0.", suggestion=FORMS)
    return weights


def _toml_pairs(text: str, path: Path) -> Iterable[tuple[str, object]]:
    try:
        return list(tomllib.loads(text).items())
    except ValueError as error:  # TOMLDecodeError, or a number of too many digits
        raise UsageError(f"{path} is not TOML: {error}.", suggestion=FORMS) from None


def _csv_pairs(text: str, path: Path) -> Iterable[tuple[str, object]]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows or [cell.strip().lower() for cell in rows[0]] != ["class", "weight"]:
        raise UsageError(f"{path} does not start with the columns class,weight.", suggestion=FORMS)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2:
            raise UsageError(f"{path}: row {number} has {len(row)} cells, not 2.", suggestion=FORMS)
        yield row[0], row[1]


def _weight(name: str, value: object, path: Path) -> float:
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not is_number(number) or number < 0:
        raise UsageError(
            f"{path}: the weight of {name!r} is {value!r}; it must be a number of at least 0."
        )
    return float(number)
