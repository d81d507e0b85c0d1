"""Whether images that a model is evaluated on are images that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import DataError
from ..data.layouts.image_folder import Sample
from .image_choice import RecordedSplit

EXAMPLES = 3


@dataclass(frozen=True)
class TrainedImages:
    """The images among those evaluated that the model was trained on, and a remark on them.

    `names` are their paths in the folder evaluated; the remark is empty when nothing is known.
    """

    names: tuple[str, ...] = ()
    note: str = ""

    def refuse(self) -> None:
        """Raise DataError if there are any."""
        if self.names:
            raise DataError(
                self.note, suggestion="Evaluate on other images, or leave out --strict-split."
            )


def find_trained(
    recorded: RecordedSplit, root: Path, samples: Sequence[Sample], digests: Sequence[str]
) -> TrainedImages:
    """Find the training images of a run among the samples of a folder, which have these SHA-256.

    Their content decides, under whatever names and wherever they lie; in a run that did not record
    it, their places do.
    """
    names = [sample.name_in(root) for sample in samples]
    if recorded.has_content():
        return _by_content(recorded, names, digests)
    return _by_place(recorded, root, names)


def _by_content(
    recorded: RecordedSplit, names: Sequence[str], digests: Sequence[str]
) -> TrainedImages:
    trained = {row.sha256: row.path for row in recorded.rows if row.split == "train"}
    trained.pop("", None)
    found = {
        name: trained[digest]
        for name, digest in zip(names, digests, strict=True)
        if digest in trained
    }
    examples = [_example(name, original) for name, original in found.items()]
    return _trained_on(list(found), len(names), examples)


def _example(name: str, original: str) -> str:
    """Name an image, and what it was in training if that is another name or place in the data."""
    same = f"/{original}".endswith(f"/{name}")  # the folder is perhaps one inside the data
    return name if same else f"{name}, in training {original}"


def _by_place(recorded: RecordedSplit, root: Path, names: Sequence[str]) -> TrainedImages:
    trained = recorded.names("train")
    if recorded.root is not None:
        here, there = root.resolve(), recorded.root.resolve()
        places = {there / name for name in trained}
        found = [name for name in names if here / name in places]
        if found:
            return _trained_on(found, len(names), found)
    alike = sum(name in trained for name in names)
    if not alike:
        return TrainedImages()
    return TrainedImages(
        note=f"{alike:,} of these {len(names):,} images have the names of images that the model "
        "was trained on; if they are the same, evaluate with --split validation."
    )


def _trained_on(found: Sequence[str], total: int, examples: Sequence[str]) -> TrainedImages:
    if not found:
        return TrainedImages()
    shown = "; ".join(examples[:EXAMPLES]) + ("; …" if len(found) > EXAMPLES else "")
    note = (
        f"The model was trained on {len(found):,} of these {total:,} images ({shown}): "
        "the figures say little about new ones."
    )
    return TrainedImages(tuple(found), note)
