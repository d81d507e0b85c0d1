"""What a training says of its images: the part of a check that costs nothing more then.

By then every file has been read and its content hashed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ...data.layouts.image_folder import counted, listing
from ..run_directory import SplitRow
from .class_balance import extremes, few_images, is_imbalanced
from .copies import Copies, find_copies

MOST = 3  # lines
MORE = "`cpcnn check` lists them."
EXAMPLES = 2
CLASSES_SHOWN = 5


def data_remarks(rows: Sequence[SplitRow]) -> list[str]:
    """Return at most three remarks on the images of a training, the most serious ones first.

    They tell of identical files under several labels, in the training images and in another split,
    or within one split; of classes of few images, and of uneven ones. The rows are those of
    split.csv, with the SHA-256 of each file.
    """
    same = find_copies([row.sha256 for row in rows], [(row.split, row.label) for row in rows])
    counts = Counter(row.label for row in rows if row.split == "train")
    remarks = [*_about_copies(same, rows), *_about_classes(counts)]
    return remarks[:MOST]


def _about_copies(same: Sequence[Copies], rows: Sequence[SplitRow]) -> Iterator[str]:
    conflicts = [copies for copies in same if copies.conflict]
    leaks = [copies for copies in same if copies.leak and "train" in copies.splits]
    plain = [copies for copies in same if not copies.conflict and not copies.leak]
    if conflicts:
        files = counted(len(conflicts), "image has", "images have")
        examples = _examples(conflicts, rows, lambda row: row.label)
        yield f"{files} several labels, in identical files: {examples}. {MORE}"
    if leaks:
        files = counted(len(leaks), "image is", "images are")
        examples = _examples(leaks, rows, lambda row: row.split)
        yield f"{files} trained on, and validated or tested on too: {examples}. {MORE}"
    if plain:
        extra = counted(sum(len(copies.positions) - 1 for copies in plain), "copy", "copies")
        yield f"{extra} of other images: {_examples(plain, rows, lambda row: row.path)}. {MORE}"


def _examples(
    found: Sequence[Copies], rows: Sequence[SplitRow], differs: Callable[[SplitRow], str]
) -> str:
    """Name the first images, each with a copy that differs from it in what matters."""
    pairs = []
    for copies in found[:EXAMPLES]:
        first, *others = (rows[position] for position in copies.positions)
        other = next(row for row in others if differs(row) != differs(first))
        pairs.append(f"{first.path} = {other.path}")
    if len(found) > EXAMPLES:
        pairs.append(f"and {len(found) - EXAMPLES:,} more")
    return "; ".join(pairs)


def _about_classes(counts: Counter[str]) -> Iterator[str]:
    """Yield one remark on few images and on uneven classes, if there is something to say."""
    parts = []
    if few := few_images(counts):
        classes = counted(len(few), "class has", "classes have")
        shown = listing((f"{name} {count}" for name, count in few.items()), CLASSES_SHOWN)
        parts.append(f"{classes} few images to train on ({shown})")
    if is_imbalanced(counts):
        large, small = extremes(counts)
        times = counts[large] / counts[small]
        parts.append(f"{large} has {times:.0f} times the images of {small} (--class-weights)")
    if parts:
        yield "; ".join(parts) + "."
