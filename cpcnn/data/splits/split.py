"""Dividing samples by a hash of their names, so that new files move no old ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from ..layouts.image_folder import Sample

HASH_BYTES = 8
FOLDS_PERSON = b"folds"  # so that folds do not depend on how validation images are drawn
MOST_FOLDS = 1000

Mask: TypeAlias = NDArray[np.bool_]
Hashes: TypeAlias = NDArray[np.uint64]
Halves: TypeAlias = tuple[tuple[Sample, ...], tuple[Sample, ...]]


@dataclass(eq=False, slots=True)
class Unit:
    """What goes to one side as a whole: a file, or all files of a group."""

    rank: tuple[int, str]
    validates: bool
    labels: set[str] = field(default_factory=set)
    positions: list[int] = field(default_factory=list)


Classes = Mapping[str, Sequence[Unit]]


def split_samples(samples: Sequence[Sample], root: Path, fraction: float, seed: int) -> Halves:
    """Split samples into (train, validation), each in the order given.

    A file validates if the hash of its class and name, keyed by `seed`, is below `fraction` of the
    hash range. Files of one group go together, by the hash of the group's name alone: a group that
    comes to hold a second class, or more files, stays where it is. So each file or group decides
    for itself, and adding, removing or reordering others does not move it.

    The exception fills an empty side of a class. While all of its groups (or files) are below the
    threshold, the one with the largest hash trains; while none of two or more is, the one with the
    smallest hash validates; a single one trains. No rule could do without it: if every name
    decided for itself, some names would all decide alike. Adding files to a class moves at most
    this one, and only to the side of its own hash, where it then stays; or, where it was alone and
    trained, to validate beside its first companion.

    Groups of several classes are taken to fill a side only where a class has no group of its own,
    and only to validate if all their classes keep one to train. So every class trains; a class of
    two groups or more validates unless all of them are shared with other classes.
    """
    if not 0.0 < fraction < 1.0:
        raise UsageError(f"the validation share must lie between 0 and 1, not {fraction}.")
    threshold = int(fraction * 256**HASH_BYTES)
    names = _Names(samples, root, seed)
    units, mask = _units(names, lambda hashes: hashes < np.uint64(threshold))
    classes = _by_class(units)
    _fill_training(classes)
    _fill_validation(classes)
    return _halves(samples, units, mask)


def fold_samples(samples: Sequence[Sample], root: Path, fold: int, folds: int, seed: int) -> Halves:
    """Return (train, validation) of one fold of cross-validation, 1 to `folds`, in order.

    A file, or all files of a group, validate in the one fold that its hash alone decides: the hash
    range is cut into equal parts. Names, groups and the key are those of `split_samples`. Others
    that come or go do not move it. The exception fills training: while all files (or groups) of a
    class are in one fold, the one with the largest hash trains in that fold as well, and so never
    validates; one of several classes only where there is no other.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise UsageError(f"the number of folds must be from 2 to {MOST_FOLDS}, not {folds}.")
    if not 1 <= fold <= folds:
        raise UsageError(f"the fold must be from 1 to {folds}, not {fold}.")
    names = _Names(samples, root, seed, FOLDS_PERSON)
    units, mask = _units(names, lambda hashes: fold_of(hashes, folds) == fold)
    _fill_training(_by_class(units))
    return _halves(samples, units, mask)


def fold_of(hashes: Hashes, folds: int) -> NDArray[np.uint64]:
    """Return the fold of each hash, 1 to `folds`: which of as many equal parts of the range."""
    half = np.uint64(32)
    return ((hashes >> half) * np.uint64(folds) >> half) + np.uint64(1)


class _Names:
    """The samples' names and hashes; there may be millions, so that names are made when needed."""

    def __init__(
        self, samples: Sequence[Sample], root: Path, seed: int, person: bytes = b""
    ) -> None:
        self.samples, self.root, self.person = samples, root, person
        self.key = str(seed).encode()[:64]

    def of(self, position: int) -> str:
        """Return the name of one sample."""
        return stable_name(self.samples[position], self.root)

    def hash(self, name: str) -> int:
        """Return the hash of a name, or of a group's."""
        data = name.encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(data, digest_size=HASH_BYTES, key=self.key, person=self.person)
        return int.from_bytes(digest.digest(), "big")

    def hashes(self, positions: Sequence[int]) -> Hashes:
        """Return the hashes of samples, by their names."""
        values = (self.hash(self.of(position)) for position in positions)
        return np.fromiter(values, np.uint64, len(positions))


def _units(names: _Names, validate: Callable[[Hashes], Mask]) -> tuple[list[Unit], Mask]:
    """Return who validates, and as units all groups and the files that may come to fill a side.

    A class with files on both sides needs none of them: two stand for the others.
    """
    groups: dict[str, Unit] = {}
    alone: dict[str, list[int]] = defaultdict(list)
    for position, sample in enumerate(names.samples):
        if sample.group:
            unit = groups.get(sample.group)
            if unit is None:
                unit = groups[sample.group] = Unit((0, sample.group), False)
            unit.labels.add(sample.label)
            unit.positions.append(position)
        else:
            alone[sample.label].append(position)
    for group, unit in groups.items():
        # No path begins with NUL: a group never shares its hash with a file.
        value = names.hash("\0" + group)
        unit.rank = (value, "\0" + group)
        unit.validates = bool(validate(np.array([value], np.uint64))[0])
    mask = np.zeros(len(names.samples), np.bool_)
    units = list(groups.values())
    for label, positions in alone.items():
        hashes = names.hashes(positions)
        sides = validate(hashes)
        mask[positions] = sides
        if sides.any() and not sides.all():
            shown = [int(sides.argmax()), int(sides.argmin())]
        else:
            shown = list(range(len(positions)))
        for place in shown:
            rank = (int(hashes[place]), names.of(positions[place]))
            units.append(Unit(rank, bool(sides[place]), {label}, [positions[place]]))
    return units, mask


def _halves(samples: Sequence[Sample], units: Sequence[Unit], mask: Mask) -> Halves:
    for unit in units:
        mask[unit.positions] = unit.validates
    held_out = mask.tolist()
    return (
        tuple(sample for sample, out in zip(samples, held_out, strict=True) if not out),
        tuple(sample for sample, out in zip(samples, held_out, strict=True) if out),
    )


def _by_class(units: Sequence[Unit]) -> Classes:
    classes = defaultdict(list)
    for unit in units:
        for label in unit.labels:
            classes[label].append(unit)
    return dict(sorted(classes.items()))


def _fill_training(classes: Classes) -> None:
    """Give every class something to train on, whatever that takes."""
    for members in classes.values():
        if all(unit.validates for unit in members):
            max(members, key=lambda unit: (-len(unit.labels), unit.rank)).validates = False


def _fill_validation(classes: Classes) -> None:
    """Give every class something to validate on, as far as all classes can spare it."""
    for members in classes.values():
        if not any(unit.validates for unit in members):
            spare = [unit for unit in members if _can_be_spared(unit, classes)]
            if spare:
                min(spare, key=lambda unit: (len(unit.labels), unit.rank)).validates = True


def _can_be_spared(unit: Unit, classes: Classes) -> bool:
    """Say whether another one trains in each of its classes."""
    return all(
        any(other is not unit and not other.validates for other in classes[label])
        for label in unit.labels
    )


def stable_name(sample: Sample, root: Path) -> str:
    """Return `class/relative name` in NFC with forward slashes: the same on every system.

    What stands before the class folder, such as `train/`, does not count.
    """
    name = sample.name_in(root)
    name = name if name.isascii() else normalize("NFC", name)
    label = sample.label
    if "/" in label or name.startswith(f"{label}/"):
        return name
    at = name.find(f"/{label}/")
    if at >= 0:
        return name[at + 1 :]
    return label if name.endswith(f"/{label}") else name
