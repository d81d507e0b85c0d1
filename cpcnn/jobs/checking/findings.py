"""What a check of a folder can find: its kinds, how serious each is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Kind:
    """A kind of finding: its level, a heading, and what to do.

    An error makes training unsound, or impossible; a warning is worth a look; a note is harmless.
    """

    level: str
    title: str
    advice: str


FETCH = "Fetch it again, or remove it; training skips it (--on-error)."

# In the order in which they are reported.
KINDS: Mapping[str, Kind] = {
    "layout": Kind(ERROR, "Layout", "Sort the images into one folder per class."),
    "one-class": Kind(ERROR, "One class", "Add images of every other class."),
    "empty-class": Kind(
        ERROR,
        "Classes without an image to train on",
        "Add images, remove the class, or allow empty classes (--allow-empty-classes).",
    ),
    "label-conflict": Kind(
        ERROR,
        "Identical files under several labels",
        "Keep the file under the label that is right, and remove the others.",
    ),
    "leak": Kind(
        ERROR,
        "Identical files in several splits",
        "Keep the file in one split: figures on images that were trained on mean nothing.",
    ),
    "zero-byte": Kind(WARNING, "Empty files", FETCH),
    "truncated": Kind(WARNING, "Files cut short", FETCH),
    "unreadable": Kind(WARNING, "Unreadable files", FETCH),
    "huge": Kind(
        WARNING, "Huge files", "Scale it down: it takes time and memory each time it is read."
    ),
    "animated": Kind(
        WARNING, "Several frames", "Only the first frame is used: extract those that matter."
    ),
    "misnamed": Kind(
        WARNING,
        "Extension of another format",
        "Rename it: training reads it by its content, other programs may not.",
    ),
    "passed-over": Kind(
        WARNING, "Images that training passes over", "Move, name or list it so that it is read."
    ),
    "near-conflict": Kind(
        WARNING,
        "Near duplicates under several labels",
        "Look at them: where they show the same thing, one of the labels is wrong.",
    ),
    "near-leak": Kind(
        WARNING,
        "Near duplicates in several splits",
        "Look at them: what shows the same scene belongs in one split (--group-by).",
    ),
    "duplicate": Kind(
        WARNING, "Identical files", "Keep one: each copy counts as an image of its own."
    ),
    "imbalance": Kind(
        WARNING,
        "Imbalance",
        "Add images of the rare classes, or give --sampler balanced or --class-weights balanced.",
    ),
    "few-images": Kind(
        WARNING, "Classes of few images", "Add images: little can be learned, or measured, of it."
    ),
    "no-validation": Kind(
        WARNING, "Nothing to validate", "Add images, so that some can be held out."
    ),
    "near-duplicate": Kind(
        NOTE, "Near duplicates", "Nothing, unless they ought to be different images."
    ),
    "exif-rotated": Kind(
        NOTE, "Turned by EXIF", "Nothing: it is turned upright whenever it is read."
    ),
    "ignored": Kind(NOTE, "Ignored", "Nothing, unless it was meant to be an image."),
}
KEEP, REMOVE = "Keep it.", "Remove it."
ORDER_KEPT = ("test", "validation", "train", "all")  # of copies, that in the first split stays


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A file of the folder, its split, and its class; both are empty for what is passed over."""

    path: Path
    split: str = ""
    label: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that was found: a kind of KINDS, in words, and the files that it is about.

    `level` and `advice` are the kind's unless something else is true of this one.
    """

    kind: str
    detail: str
    images: tuple[FoundImage, ...] = ()
    level: str = ""
    advice: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", self.level or KINDS[self.kind].level)
        object.__setattr__(self, "advice", self.advice or KINDS[self.kind].advice)

    def advice_for(self, position: int) -> str:
        """Return what to do with one of the files: of copies, all but one are to be removed."""
        if self.kind == "duplicate":
            return KEEP if position == 0 else REMOVE
        if self.kind == "leak":
            kept = min((image.split for image in self.images), key=ORDER_KEPT.index)
            first = next(i for i, image in enumerate(self.images) if image.split == kept)
            return KEEP if position == first else REMOVE
        return self.advice


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings with the serious ones first, then by kind; else in the order given."""
    kinds = list(KINDS)
    return tuple(sorted(findings, key=lambda f: (LEVELS.index(f.level), kinds.index(f.kind))))
