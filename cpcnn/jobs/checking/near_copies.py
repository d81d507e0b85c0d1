"""Images that look alike without being the same file: resized, encoded again, a little cropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...data.duplicates.near_duplicates import find_near_pairs, groups_of
from ...data.duplicates.perceptual_hash import hash_files
from ...data.images.file_facts import FileFacts
from ..events import Progress
from .catalogue import Catalogue
from .copies import Copies, copies_at

COMPARING = "Comparing images"


def find_near_copies(
    images: Catalogue,
    facts: Sequence[FileFacts],
    same: Sequence[Copies],
    *,
    workers: int,
    progress: Progress | None,
) -> list[Copies]:
    """Return groups of images that look alike, all of them like one or two in their middle.

    Of identical files the first stands for all; huge and unreadable files are not compared.
    """
    repeated = {position for copies in same for position in copies.positions[1:]}
    chosen = [
        position
        for position, file in enumerate(facts)
        if not file.fault and not file.huge and position not in repeated
    ]
    hashes, ok = hash_files(
        images.paths(chosen),
        workers=workers,
        progress=None if progress is None else lambda *done: progress(COMPARING, *done),
    )
    readable = np.asarray(chosen, np.int64)[ok]
    pairs = find_near_pairs(hashes[ok])
    places = images.places
    found = list(_groups(pairs, [places[position] for position in readable.tolist()]))
    return [copies_at(readable[group].tolist(), places) for group in found]


def _groups(
    pairs: NDArray[np.int64], places: Sequence[tuple[str, str]]
) -> Iterator[NDArray[np.int64]]:
    """Yield groups of images that look alike, from pairs of them, int64 (P, 2).

    A long row of images, each like the next, falls into several groups. Of the pairs between these
    the ones of one place, (split, label), tell nothing new; the others make further groups, so that
    no leak and no conflict is lost between two groups.
    """
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    place = np.array([numbers[each] for each in places], np.int64)
    while len(pairs):
        group_of = np.full(len(places), -1)
        for number, group in enumerate(groups_of(pairs, len(places))):
            members = np.array(sorted(group))
            group_of[members] = number
            yield members
        apart = group_of[pairs[:, 0]] != group_of[pairs[:, 1]]
        pairs = pairs[apart & (place[pairs[:, 0]] != place[pairs[:, 1]])]
