"""Splitting off validation images by a hash of their names, so that new files move no old ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from ..core.errors import UsageError
from .folder import Sample

HASH_BYTES = 8


def split_samples(
    samples: Sequence[Sample], root: Path, fraction: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Split samples into (train, validation), each in the order given.

    A file is a validation file if the hash of its class and name, keyed by `seed`, is below
    `fraction` of the hash range. So every file decides for itself: adding, removing or reordering
    files moves no other one. The exception keeps both sides of a class filled: while no file of a
    class with two or more is below the threshold, its smallest hash validates; while all are, its
    largest trains. That one file may change sides when the class grows. A single file trains.
    """
    if not 0.0 < fraction < 1.0:
        raise UsageError(f"the validation share must lie between 0 and 1, not {fraction}.")
    ranked = defaultdict(list)
    for position, sample in enumerate(samples):
        ranked[sample.label].append((*_rank(sample, root, seed), position))
    threshold = int(fraction * 256**HASH_BYTES)
    held_out: set[int] = set()
    for ranks in ranked.values():
        ranks.sort()
        count = sum(value < threshold for value, _, _ in ranks)
        # A class of one file gives none away; a larger one gives at least one and keeps one.
        count = min(max(count, 1), len(ranks) - 1)
        held_out.update(position for _, _, position in ranks[:count])
    train = tuple(sample for i, sample in enumerate(samples) if i not in held_out)
    return train, tuple(samples[i] for i in sorted(held_out))


def _rank(sample: Sample, root: Path, seed: int) -> tuple[int, str]:
    name = stable_name(sample, root)
    data = name.encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(data, digest_size=HASH_BYTES, key=str(seed).encode()[:64]).digest()
    return int.from_bytes(digest, "big"), name


def stable_name(sample: Sample, root: Path) -> str:
    """Return `class/relative name` in NFC with forward slashes: the same on every system.

    What stands before the class folder, such as `train/`, does not count.
    """
    parts = [normalize("NFC", part) for part in sample.path.relative_to(root).parts]
    start = parts.index(sample.label) if sample.label in parts else 0
    return "/".join(parts[start:])
