"""Files with the same content, and where that matters: across splits, and across classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .findings import WARNING, Finding, FoundImage


@dataclass(frozen=True)
class Copies:
    """Images that are the same, as positions among all, with the splits and labels they have."""

    positions: tuple[int, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def leak(self) -> bool:
        """Whether they lie in several splits."""
        return len(self.splits) > 1

    @property
    def conflict(self) -> bool:
        """Whether they have several labels."""
        return len(self.labels) > 1


def find_copies(digests: Sequence[str], places: Sequence[tuple[str, str]]) -> list[Copies]:
    """Return the groups of images of one digest; `places` has each image's (split, label).

    An image without a digest, as its file cannot be read, is nobody's copy.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, digest in enumerate(digests):
        if digest:
            groups[digest].append(position)
    return [copies_at(group, places) for group in groups.values() if len(group) > 1]


def copies_at(positions: Iterable[int], places: Sequence[tuple[str, str]]) -> Copies:
    """Return images at some positions as copies of each other."""
    chosen = tuple(positions)
    splits = dict.fromkeys(places[position][0] for position in chosen)
    labels = sorted({places[position][1] for position in chosen} - {""})
    return Copies(chosen, tuple(splits), tuple(labels))


def exact_findings(found: Sequence[Copies], images: Sequence[FoundImage]) -> Iterator[Finding]:
    """Yield what is wrong with identical files: conflicts, leaks, or else that they are copies."""
    for copies in found:
        files = _files(copies, images)
        if copies.conflict:
            detail = f"the same file as {_joined(copies.labels)}"
            yield Finding("label-conflict", detail, files)
        if copies.leak:
            detail = f"the same file in {_joined(copies.splits)}"
            # What is only measured twice makes no training unsound.
            level = "" if "train" in copies.splits else WARNING
            yield Finding("leak", detail, files, level=level)
        if not copies.conflict and not copies.leak:
            yield Finding("duplicate", f"the same file {len(files)} times", files)


def near_findings(found: Sequence[Copies], images: Sequence[FoundImage]) -> Iterator[Finding]:
    """Yield the same of images that look alike. That is a likelihood, and never an error."""
    for copies in found:
        files = _files(copies, images)
        if copies.conflict:
            yield Finding("near-conflict", f"look alike as {_joined(copies.labels)}", files)
        if copies.leak:
            yield Finding("near-leak", f"look alike in {_joined(copies.splits)}", files)
        if not copies.conflict and not copies.leak:
            yield Finding("near-duplicate", f"{len(files)} look alike", files)


def _files(copies: Copies, images: Sequence[FoundImage]) -> tuple[FoundImage, ...]:
    """Return the files of a group, one of each split and label before all others."""
    files = [images[position] for position in copies.positions]
    first: dict[tuple[str, str], FoundImage] = {}
    for file in files:
        first.setdefault((file.split, file.label), file)
    leading = set(first.values())
    return (*first.values(), *(file for file in files if file not in leading))


def _joined(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
