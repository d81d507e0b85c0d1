"""Class folders, and split folders above them: which folder is what."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DataError
from .folder_checks import ClassImages, explore, holds_images
from .image_folder import SPLIT_NAMES, SPLIT_OF, Sample, counted, listing
from .image_table import LABEL, ImageTable
from .metadata import TABLES, read_table
from .shards import ShardIndex, is_shard, read_shards
from .table_layout import labelled_by
from .walk import Walker


@dataclass
class SplitFolders:
    """What lies in split folders: class folders, or samples that a table or shards give labels."""

    classes: dict[str, ClassImages] = field(default_factory=dict)
    labelled: dict[str, list[Sample]] = field(default_factory=dict)
    tables: list[ImageTable] = field(default_factory=list)


def find_splits(root: Path, folders: Sequence[Path], walker: Walker) -> dict[str, Path]:
    """Return split -> folder, or nothing where the folders are classes.

    A name alone does not make a split: "train" is a fine class beside "bus" and "car". Beside
    other folders with images, split folders must hold folders themselves.
    """
    named = [folder for folder in folders if folder.name.lower() in SPLIT_OF]
    others = [folder for folder in folders if folder not in named]
    if not named:
        return {}
    with_images = [folder for folder in others if holds_images(folder)]
    if with_images and not any(explore(folder).entries(folder)[0] for folder in named):
        return {}
    splits: dict[str, Path] = {}
    for folder in named:
        split = SPLIT_OF[folder.name.lower()]
        if split in splits:
            raise DataError(
                f"{root} has two {split} folders: {splits[split].name} and {folder.name}.",
                suggestion="Keep one of them, or rename the other.",
            )
        splits[split] = folder
    if with_images and "train" not in splits:
        raise DataError(
            f"{root} mixes split folders ({listing(named)}) with other folders that hold images "
            f"({listing(with_images)}), and has no train folder.",
            suggestion="Move the class folders into train/, or the split folders elsewhere.",
        )
    for folder in others:
        walker.ignore(folder, "beside the split folders")
    return {split: splits[split] for split in SPLIT_NAMES if split in splits}


def scan_splits(
    root: Path,
    split_folders: dict[str, Path],
    walker: Walker,
    *,
    training: bool,
    use_table: bool,
) -> SplitFolders:
    """Return what lies in split folders."""
    found = SplitFolders()
    for split, folder in split_folders.items():
        table = read_table(folder) if use_table else None
        if table is not None and LABEL in table.columns:
            found.labelled[split] = labelled_by(table, walker)
            found.tables.append(table)
            continue
        folders, files = walker.entries(folder)
        folders = list(walker.not_excluded(folders))
        shards = [file for file in files if is_shard(file)] if use_table else []
        if shards and not folders:
            index = read_shards(shards, root, walker)
            found.labelled[split] = index.samples
            found.tables.extend([index.table] if index.table else [])
            files = [file for file in files if file not in shards]
        images = walker.loose_images(files)
        if folders:
            found.classes[split] = scan_classes(walker.unseen(folders), walker)
        elif shards:
            continue
        elif training and split == "test" and len(split_folders) > 1:
            walker.ignore(folder, "a test folder without class folders")
        else:
            raise _no_class_folder(split, folder, len(images))
    return found


def _no_class_folder(split: str, folder: Path, images: int) -> DataError:
    hint = f"Sort its images into one folder per class: {folder}/<class>/."
    table = next((name for name in TABLES if (folder / name).is_file()), None)
    if table is not None:
        hint = f"Move its {table} up to {folder.parent}, with names like {folder.name}/"
        hint += "1.png and a column split; or give it a column label."
    count = counted(images, "image")
    return DataError(
        f"the {split} folder {folder} holds {count} and no class folder.", suggestion=hint
    )


def scan_classes(folders: Iterable[Path], walker: Walker) -> ClassImages:
    """Return the images of class folders; a class whose images are all left out is none."""
    classes: ClassImages = {}
    for folder in folders:
        label = _class_name(folder)
        if label in classes:
            raise DataError(
                f"two folders are both class {label!r}: {classes[label][0]} and {folder}, "
                "written with different Unicode forms.",
                suggestion="Merge them into one folder.",
            )
        images = walker.images(folder)
        if len(images) or not images.left_out:
            classes[label] = (folder, images)
    return classes


def samples_of(classes: ClassImages) -> list[Sample]:
    """Return the samples of class folders, sorted by class and path."""
    return [
        Sample.at(folder, name, label)
        for label in sorted(classes)
        for folder, name in classes[label][1].in_order()
    ]


def shards_in(files: Sequence[Path], root: Path, walker: Walker) -> ShardIndex:
    """Return the samples of the shards among the files of the data folder."""
    return read_shards([file for file in files if is_shard(file)], root, walker)


def _class_name(folder: Path) -> str:
    """Return a folder's name in NFC, refusing what a terminal or a JSON file cannot show."""
    label = unicodedata.normalize("NFC", folder.name)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in label):
        raise DataError(
            f"the class folder {str(folder)!a} has control characters or bytes that are not "
            "UTF-8 in its name.",
            suggestion="Rename it.",
        )
    return label
