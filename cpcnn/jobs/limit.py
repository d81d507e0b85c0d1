"""A part of the images for a quick try: the same ones each time, of every class."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from ..core.errors import UsageError
from ..data.layouts.image_folder import Sample
from ..data.splits.split import stable_name
from .splits import SplitChoice

Group: TypeAlias = tuple[int, str]  # 0 to train or 1 to validate, and the class


def limited(choice: SplitChoice, root: Path, limit: int | None, seed: int) -> SplitChoice:
    """Return the choice with at most `limit` images to train and validate on, and a remark."""
    images = len(choice.train) + len(choice.validation)
    if limit is None or limit >= images:
        return choice
    train, validation = limit_samples(choice.train, choice.validation, root, limit, seed)
    note = f"Limited to {limit:,} of {images:,} images, the same ones for the same seed."
    return replace(choice, train=train, validation=validation, notes=(*choice.notes, note))


def limit_samples(
    train: Sequence[Sample], validation: Sequence[Sample], root: Path, limit: int, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Return at most `limit` of the images in all, in the order given.

    Every class keeps one image to train on; the others are shared out by the sizes of the classes,
    and of training and validation. Which ones is decided by a hash of class and file name, keyed
    by `seed`. UsageError when there are more classes than images allowed.
    """
    parts = (train, validation)
    groups: dict[Group, list[int]] = defaultdict(list)
    for part, samples in enumerate(parts):
        for position, sample in enumerate(samples):
            groups[part, sample.label].append(position)
    kept: tuple[list[int], list[int]] = ([], [])
    for group, count in _shares(groups, limit).items():
        samples = parts[group[0]]
        ranks = {position: _rank(samples[position], root, seed) for position in groups[group]}
        kept[group[0]].extend(sorted(ranks, key=ranks.__getitem__)[:count])
    first, second = (
        tuple(samples[position] for position in sorted(positions))
        for samples, positions in zip(parts, kept, strict=True)
    )
    return first, second


def _shares(groups: dict[Group, list[int]], limit: int) -> dict[Group, int]:
    """Share out the limit: one image to train each class, the rest by the largest remainder."""
    shares = {group: int(group[0] == 0) for group in groups}
    left = {group: len(positions) - shares[group] for group, positions in groups.items()}
    images, free = sum(left.values()), limit - sum(shares.values())
    if free < 0:
        raise UsageError(
            f"--limit is {limit}, fewer than the {sum(shares.values())} classes.",
            suggestion="Every class needs an image to train on.",
        )
    if free >= images:
        return {group: len(positions) for group, positions in groups.items()}
    quotas = {group: divmod(free * count, images) for group, count in left.items()}
    for group, (whole, _) in quotas.items():
        shares[group] += whole
    by_remainder = sorted(groups, key=lambda group: (-quotas[group][1], group))
    for group in by_remainder[: limit - sum(shares.values())]:
        shares[group] += 1
    return shares


def _rank(sample: Sample, root: Path, seed: int) -> tuple[bytes, str]:
    name = stable_name(sample, root)
    data = name.encode("utf-8", "surrogateescape")
    key = str(seed).encode()[:64]
    return hashlib.blake2b(data, digest_size=8, key=key, person=b"limit").digest(), name
