"""The classes and splits of a folder as training would find them, or as far as they can be told.

Where training would refuse the folder, a check still wants to say what is in it. So the rules are
given up one after the other, and in the end names of folders are all that is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unicodedata import normalize

from ...core.errors import CpcnnError, DataError, UsageError
from ...data.layouts.folder import scan_folder
from ...data.layouts.globs import Globs
from ...data.layouts.image_folder import SPLIT_NAMES, SPLIT_OF, UNSPLIT, ImageFolder, Sample
from ...data.layouts.walk import Ignored, Walker, text_of
from ..splits import choose_splits, scan_as_set
from .check_settings import CheckSettings


@dataclass(frozen=True)
class Layout:
    """The images of a folder by split, in the order train, validation, test, or `all` alone.

    `source` is what was given as the data, and `root` the folder that its names start from.
    `drawn` tells that the validation images were drawn from the training images. `fault` is the
    error with which training would refuse the folder, unless it is only for a class without images.
    """

    root: Path
    source: Path
    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    drawn: bool
    ignored: tuple[Ignored, ...]
    notes: tuple[str, ...]
    fault: CpcnnError | None = None

    @property
    def trained(self) -> str:
        """The split to train on."""
        return "train" if "train" in self.splits else UNSPLIT


def read_layout(settings: CheckSettings) -> Layout:
    """Read the folder as training would, or else as far as possible.

    Raises DataError when there is no folder, or nothing in it; UsageError for a --group-by that
    cannot be used.
    """
    folder, fault = _read_folder(settings)
    layout = partial(Layout, folder.root, folder.source, folder.classes, ignored=folder.ignored)
    as_found = partial(layout, splits=folder.splits, drawn=False, notes=())
    if not {UNSPLIT, "train"} & folder.splits.keys():
        return as_found(fault=fault)
    try:
        choice = choose_splits(
            folder,
            val_fraction=settings.val_fraction,
            seed=settings.seed,
            group_by=settings.group_by,
        )
    except UsageError as error:
        if settings.group_by is not None:
            raise
        return as_found(fault=fault or error)  # the groups are those of the folder's own table
    splits = {"train": choice.train, "validation": choice.validation}
    if choice.test:
        splits["test"] = choice.test
    return layout(splits=splits, drawn=choice.drawn, notes=choice.notes, fault=fault)


def _read_folder(settings: CheckSettings) -> tuple[ImageFolder, DataError | None]:
    root = settings.data
    try:
        return scan_as_set(settings), None
    except DataError as error:
        if not root.is_dir():
            raise
        fault = error
    for reading in _readings(settings):
        try:
            folder, refused = reading()
        except DataError:
            continue
        if any(folder.splits.values()):
            return folder, fault if refused else None
    raise fault


def _readings(settings: CheckSettings) -> Iterator[Callable[[], tuple[ImageFolder, bool]]]:
    """Yield ways to read a folder, each with fewer rules than the one before.

    Beside the folder they return whether training refuses it for more than an empty class.
    """
    root = settings.data
    include, exclude = settings.include, settings.exclude
    scan = partial(scan_folder, root, allow_empty_classes=True, include=include, exclude=exclude)
    yield lambda: (scan(allow_nested=settings.allow_nested), False)
    yield lambda: (scan(training=False, allow_nested=True), True)
    yield lambda: (scan(training=False, allow_nested=True, use_table=False), True)
    yield lambda: (folder_as_named(root, Globs(include, exclude)), True)


def folder_as_named(root: Path, globs: Globs | None = None) -> ImageFolder:
    """Take the first folder below the root, or below a split, as the class, whatever is in it.

    Images beside the folders have no class; folders that cannot be listed are passed over.
    """
    splits: dict[str, list[Sample]] = defaultdict(list)
    walker = Walker([root, *root.resolve().parents], root=root, globs=globs)
    for image in _images(root, walker):
        parts = [normalize("NFC", part) for part in image.relative_to(root).parts[:-1]]
        split = SPLIT_OF.get(parts[0].lower(), "") if parts else ""
        names = parts[1:] if split else parts
        sample = Sample.at(text_of(image.parent), image.name, names[0] if names else "")
        splits[split or UNSPLIT].append(sample)
    if set(splits) != {UNSPLIT} and UNSPLIT in splits:
        splits["train"] = [*splits.pop(UNSPLIT), *splits.get("train", [])]
    ordered = {
        split: tuple(sorted(splits[split], key=lambda sample: (sample.label, sample.path)))
        for split in (*SPLIT_NAMES, UNSPLIT)
        if split in splits
    }
    labels = {sample.label for part in ordered.values() for sample in part} - {""}
    return ImageFolder(root, ordered, tuple(sorted(labels)), tuple(sorted(walker.ignored)))


def _images(root: Path, walker: Walker) -> Iterator[Path]:
    pending = [root]
    while pending:
        place = pending.pop()
        try:
            folders, files = walker.entries(place)
            pending.extend(walker.unseen(walker.not_excluded(folders)))
        except DataError as error:
            walker.ignore(place, error.message.rstrip("."))
            continue
        yield from filter(walker.would_keep, walker.only_images(files))
