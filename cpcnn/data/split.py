"""Splitting off validation images by a hash of their names, so that new files move no old ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from ..core.errors import UsageError
from .image_folder import Sample

HASH_BYTES = 8


@dataclass(eq=False)
class Unit:
    """What goes to one side as a whole: a file, or all files of a group."""

    rank: tuple[int, str]
    validates: bool
    labels: set[str] = field(default_factory=set)
    positions: list[int] = field(default_factory=list)


Classes = Mapping[str, Sequence[Unit]]


def split_samples(
    samples: Sequence[Sample], root: Path, fraction: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
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
    units = _units(samples, root, int(fraction * 256**HASH_BYTES), seed)
    classes = _by_class(units)
    _fill_training(classes)
    _fill_validation(classes)
    held_out = {position for unit in units if unit.validates for position in unit.positions}
    train = tuple(sample for i, sample in enumerate(samples) if i not in held_out)
    return train, tuple(samples[i] for i in sorted(held_out))


def _units(samples: Sequence[Sample], root: Path, threshold: int, seed: int) -> list[Unit]:
    key = str(seed).encode()[:64]
    groups: dict[str, Unit] = {}
    files: list[Unit] = []
    for position, sample in enumerate(samples):
        if sample.group:
            unit = groups.get(sample.group)
            if unit is None:
                # No path begins with NUL: a group never shares its hash with a file.
                unit = groups[sample.group] = _unit("\0" + sample.group, threshold, key)
        else:
            unit = _unit(stable_name(sample, root), threshold, key)
            files.append(unit)
        unit.labels.add(sample.label)
        unit.positions.append(position)
    return [*groups.values(), *files]


def _unit(name: str, threshold: int, key: bytes) -> Unit:
    data = name.encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(data, digest_size=HASH_BYTES, key=key).digest()
    value = int.from_bytes(digest, "big")
    return Unit((value, name), value < threshold)


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
    parts = [normalize("NFC", part) for part in sample.path.relative_to(root).parts]
    start = parts.index(sample.label) if sample.label in parts else 0
    return "/".join(parts[start:])
