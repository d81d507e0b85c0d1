"""Reading a folder of images: its splits, its classes, and everything that was passed over.

Three layouts are understood. Class folders, `root/<class>/…/<image>`; split folders,
`root/<split>/<class>/…/<image>`, where a split goes by any of its usual names; and images anywhere
below a root whose metadata.csv gives each its label, and perhaps its split. In folders the class is
always the first one below the root or the split; deeper folders only group its images.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.errors import DataError
from .decode import IMAGE_EXTENSIONS
from .image_folder import (
    SPLIT_NAMES,
    SPLIT_OF,
    UNSPLIT,
    ImageFolder,
    Sample,
    counted,
    empty_classes,
    listing,
)
from .metadata import LABEL, SPLIT, TABLE, missing_columns, read_table
from .table_layout import folder_from, labelled_by, without_table
from .walk import Walker

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
LAYOUT = "Expected one folder per class, such as images/cat/1.jpg, or train/cat/1.jpg and so on."

ClassImages = dict[str, tuple[Path, list[Path]]]  # class -> its folder, its images


def scan_folder(
    root: Path | str,
    *,
    training: bool = True,
    allow_empty_classes: bool = False,
    allow_nested: bool = False,
    find_splits: bool = True,
    follow_links: bool = True,
    use_table: bool = True,
) -> ImageFolder:
    """Find the classes, splits and image files of a folder; no image is opened.

    A metadata.csv with the columns `file_name` and `label` stands for class folders; images it
    does not name are passed over. A column `split` in it stands for split folders, also where the
    classes are folders. Without `use_table` it is a file like any other.

    With `training`, there must be images to train on (a train split or an unsplit folder) of two
    classes or more, and of every class unless `allow_empty_classes`; a test folder that is not
    sorted into classes is passed over. Without it, any split with a class will do.

    Images lying in several folders inside class folders are taken as groups of one class, unless
    all of a split's images lie so and no two classes share a folder name: that may as well be
    `<group>/<class>/`, and is refused unless `allow_nested`. So is a folder inside a class folder
    that has the name of another class. Without `find_splits` every folder is a class, whatever its
    name. Without `follow_links`, links to folders inside class folders are passed over. Raises
    DataError for every layout that cannot be used, saying what was found.
    """
    root = Path(root)
    _check_root(root)
    table = read_table(root) if use_table else None
    walker = Walker([root, *root.resolve().parents], follow_links=follow_links)
    if table is not None and LABEL in table.columns:
        return folder_from(table, labelled_by(table, walker), walker, training, allow_empty_classes)
    folders, files = walker.entries(root)
    folders = walker.unseen(folders)
    split_folders = _find_splits(root, folders, walker) if find_splits else {}
    if split_folders:
        found = _scan_splits(split_folders, walker, training)
    else:
        found = {UNSPLIT: _scan_classes(folders, walker)}
    loose = walker.loose_images(files)
    if not any(images for classes in found.values() for _, images in classes.values()):
        raise _loose_images(root, loose) if loose else _no_images(root, found, walker)
    if training:
        _check_training(root, found, allow_empty_classes)
    if not allow_nested:
        for classes in found.values():
            _check_nesting(root, classes)
    folder = _image_folder(root, found, walker)
    if table is None:
        return folder
    folder = replace(folder, table=table, ignored=without_table(folder.ignored, table))
    if SPLIT not in table.columns:
        return folder
    if UNSPLIT not in found:
        raise DataError(
            f"{root} is split twice: by its folders and by the column {SPLIT} of {TABLE}.",
            suggestion="Rename the column, or sort the images into class folders alone.",
        )
    return folder_from(table, folder.splits[UNSPLIT], walker, training, allow_empty_classes)


def _image_folder(root: Path, found: dict[str, ClassImages], walker: Walker) -> ImageFolder:
    splits = {
        split: tuple(
            Sample(image, label) for label in sorted(classes) for image in classes[label][1]
        )
        for split, classes in found.items()
    }
    names = sorted({label for classes in found.values() for label in classes})
    return ImageFolder(root, splits, tuple(names), tuple(sorted(walker.ignored)))


# ---- Layout ----------------------------------------------------------------------------------


def _check_root(root: Path) -> None:
    try:
        if root.is_dir():
            return
        exists = root.exists()
    except OSError as error:
        raise DataError(f"cannot read {root} ({error.strerror or error}).") from error
    if not exists:
        raise DataError(f"{root} does not exist.", suggestion="Check the path.")
    hint = "Unpack the archive and point at the folder." if root.suffix in ARCHIVES else LAYOUT
    raise DataError(f"{root} is a file, not a folder of images.", suggestion=hint)


def _find_splits(root: Path, folders: Sequence[Path], walker: Walker) -> dict[str, Path]:
    """Return split -> folder, or nothing where the folders are classes.

    A name alone does not make a split: "train" is a fine class beside "bus" and "car". Beside
    other folders with images, split folders must hold folders themselves.
    """
    named = [folder for folder in folders if folder.name.lower() in SPLIT_OF]
    others = [folder for folder in folders if folder not in named]
    if not named:
        return {}
    with_images = [folder for folder in others if _holds_images(folder)]
    if with_images and not any(_subfolders(folder) for folder in named):
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
    return splits


def _holds_images(folder: Path) -> bool:
    return bool(_explore(folder).images(folder))


def _subfolders(folder: Path) -> list[Path]:
    return _explore(folder).entries(folder)[0]


def _explore(folder: Path) -> Walker:
    """Return a walker for a look ahead, whose remarks nobody keeps."""
    return Walker([folder, *folder.resolve().parents])


def _scan_splits(
    split_folders: Mapping[str, Path], walker: Walker, training: bool
) -> dict[str, ClassImages]:
    found: dict[str, ClassImages] = {}
    for split in sorted(split_folders, key=list(SPLIT_NAMES).index):
        folder = split_folders[split]
        folders, files = walker.entries(folder)
        images = walker.loose_images(files)
        if folders:
            found[split] = _scan_classes(walker.unseen(folders), walker)
        elif training and split == "test" and len(split_folders) > 1:
            walker.ignore(folder, "a test folder without class folders")
        else:
            count = counted(len(images), "image")
            hint = f"Sort its images into one folder per class: {folder}/<class>/."
            if (folder / TABLE).is_file():
                hint = f"Move its {TABLE} up to {folder.parent}, with names like {folder.name}/"
                hint += "1.png and a column split."
            raise DataError(
                f"the {split} folder {folder} holds {count} and no class folder.", suggestion=hint
            )
    return found


def _scan_classes(folders: Iterable[Path], walker: Walker) -> ClassImages:
    classes: ClassImages = {}
    for folder in folders:
        label = _class_name(folder)
        if label in classes:
            raise DataError(
                f"two folders are both class {label!r}: {classes[label][0]} and {folder}, "
                "written with different Unicode forms.",
                suggestion="Merge them into one folder.",
            )
        classes[label] = (folder, walker.images(folder))
    return classes


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


# ---- Checks ----------------------------------------------------------------------------------


def _check_training(root: Path, found: dict[str, ClassImages], allow_empty_classes: bool) -> None:
    source = UNSPLIT if UNSPLIT in found else "train"
    if source not in found:
        have = " and ".join(str(split) for split in found)
        raise DataError(
            f"{root} has a {have} folder, but no train folder.",
            suggestion="Training needs train/<class>/, or class folders directly in it.",
        )
    labels = sorted({label for classes in found.values() for label in classes})
    counts = {label: len(found[source].get(label, (root, []))[1]) for label in labels}
    if len(labels) == 1:
        raise _one_class(root, labels[0], found[source][labels[0]][0])
    if not allow_empty_classes and not all(counts.values()):
        raise empty_classes(counts, "" if source == UNSPLIT else "in the train folder ")


def _no_images(root: Path, found: dict[str, ClassImages], walker: Walker) -> DataError:
    files = Counter(
        path.suffix.lower() or "extensionless"
        for path, reason in walker.ignored
        if reason.startswith("not an image")
    )
    hidden = sum(reason == "hidden" for _, reason in walker.ignored)
    folders = sum(len(classes) for classes in found.values())
    parts = [counted(number, f"{kind} file") for kind, number in files.most_common(3)]
    parts.append(counted(folders, "subfolder"))
    if hidden:
        parts.append(counted(hidden, "hidden entry", "hidden entries"))
    if not files and not folders and not hidden:
        return DataError(f"{root} is an empty folder.", suggestion=LAYOUT)
    kinds = " ".join(sorted(IMAGE_EXTENSIONS))
    return DataError(
        f"no images in {root}: found {', '.join(parts)}.",
        suggestion=f"{LAYOUT} Images end in one of: {kinds}.",
    )


def _loose_images(root: Path, images: Sequence[Path]) -> DataError:
    parent = root.resolve().parent
    hint = f"If {root.resolve().name} is itself a class, point at {parent}. {LAYOUT}"
    return DataError(
        f"{root} holds {counted(len(images), 'image')} directly, but no class folder with images.",
        suggestion=missing_columns(root) or hint,
    )


def _one_class(root: Path, label: str, folder: Path) -> DataError:
    """One class is no choice; say which neighbouring folder may have been meant."""
    inner = [path.name for path in _subfolders(folder) if _holds_images(path)]
    parent, name = root.resolve().parent, root.resolve().name
    if len(inner) > 1:
        hint = f"It holds {len(inner)} folders ({listing(inner)}): did you mean {folder}?"
    elif folder.parent == root:
        hint = f"If {name} is itself one class of several, point at {parent}; "
        hint += f"else add a folder for every other class beside {label}."
    else:
        hint = f"Add a folder for every other class beside {folder}."
    message = f"1 class found in {root}: {label}. A classifier needs 2 or more."
    return DataError(message, suggestion=hint)


def _check_inner_names(classes: ClassImages) -> None:
    """Refuse a folder inside a class folder that goes by the name of another class."""
    for label, (folder, images) in classes.items():
        depth = len(folder.parts)
        groups = Counter(image.parts[depth:-1] for image in images)
        for group, count in groups.items():
            other = next((name for name in group if name != label and name in classes), None)
            if other is not None:
                raise DataError(
                    f"the folder {folder.joinpath(*group)} lies in class {label} and is named "
                    f"like class {other}: {counted(count, 'image')} could be of either.",
                    suggestion=f"Move it out of {folder}, or allow nested folders "
                    f"(--allow-nested) to take what is in it as {label}.",
                )


def _check_nesting(root: Path, classes: ClassImages) -> None:
    """Refuse folders of folders that may be `<group>/<class>/` as well as `<class>/<group>/`."""
    inner: list[tuple[str, str]] = []
    for label, (folder, images) in classes.items():
        for image in images:
            below = image.relative_to(folder).parts
            if len(below) == 1:
                _check_inner_names(classes)
                return
            inner.append((label, below[0]))
    pairs = sorted(set(inner))
    names = Counter(name for _, name in pairs)
    if {name.lower() for name in names} <= SPLIT_OF.keys() and names:
        raise DataError(
            f"the folders of {root} ({listing(classes)}) hold split folders "
            f"({listing(sorted(names))}).",
            suggestion=f"Did you mean {next(folder for folder, _ in classes.values())}? If "
            "these are classes, turn them round: train/<class>/ instead of <class>/train/.",
        )
    if len(pairs) == len(classes) or max(names.values(), default=2) > 1:
        return
    examples = listing((f"{label}/{name}" for label, name in pairs), 4)
    raise DataError(
        f"{root} is a folder of folders of folders: no image lies in {listing(classes)} itself, "
        f"only deeper, in {examples}. The class could be either level.",
        suggestion="Move the class folders up so that all stand side by side, point at one of the "
        "groups, or allow nested folders (--allow-nested) to take "
        f"{listing(classes, 3)} as the classes.",
    )
