"""What is wrong with a folder of class folders, and what was perhaps meant instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.errors import DataError
from ..images.decode import IMAGE_EXTENSIONS
from .image_folder import SPLIT_OF, UNSPLIT, counted, empty_classes, listing
from .metadata import missing_columns
from .table_layout import all_left_out
from .walk import FoundImages, Walker, text_of

LAYOUT = "Expected one folder per class, such as images/cat/1.jpg, or train/cat/1.jpg and so on."

ClassImages = dict[str, tuple[Path, FoundImages]]  # class -> its folder, its images


def check_training(root: Path, found: dict[str, ClassImages], allow_empty_classes: bool) -> None:
    """Raise DataError unless there are images of two classes, and of every class, to train on."""
    source = UNSPLIT if UNSPLIT in found else "train"
    if source not in found:
        have = " and ".join(str(split) for split in found)
        raise DataError(
            f"{root} has a {have} folder, but no train folder.",
            suggestion="Training needs train/<class>/, or class folders directly in it.",
        )
    labels = sorted({label for classes in found.values() for label in classes})
    if len(labels) == 1:
        raise _one_class(root, labels[0], found[source][labels[0]][0])
    counts = {
        label: len(found[source][label][1]) if label in found[source] else 0 for label in labels
    }
    if not allow_empty_classes and not all(counts.values()):
        raise empty_classes(counts, "" if source == UNSPLIT else "in the train folder ")


def no_images(root: Path, found: dict[str, ClassImages], walker: Walker) -> DataError:
    """Return the error for a folder in which no image was found."""
    if walker.left_out:
        return all_left_out(root, walker)
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


def only_loose_images(root: Path, images: Sequence[Path]) -> DataError:
    """Return the error for images that lie in the data folder itself."""
    parent = root.resolve().parent
    hint = f"If {root.resolve().name} is itself a class, point at {parent}. {LAYOUT}"
    return DataError(
        f"{root} holds {counted(len(images), 'image')} directly, but no class folder with images.",
        suggestion=missing_columns(root) or hint,
    )


def _one_class(root: Path, label: str, folder: Path) -> DataError:
    """One class is no choice; say which neighbouring folder may have been meant."""
    inner = [path.name for path in explore(folder).entries(folder)[0] if holds_images(path)]
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


def explore(folder: Path) -> Walker:
    """Return a walker for a look ahead, whose remarks nobody keeps."""
    return Walker([folder, *folder.resolve().parents])


def holds_images(folder: Path) -> bool:
    """Say whether there is an image anywhere below a folder."""
    return explore(folder).has_images(folder)


# ---- Which level the classes are ---------------------------------------------------------------


def check_nesting(root: Path, classes: ClassImages) -> None:
    """Refuse folders of folders that may be `<group>/<class>/` as well as `<class>/<group>/`."""
    inner: set[tuple[str, str]] = set()
    for label, (folder, images) in classes.items():
        for below, _ in _below(folder, images):
            if not below:
                _check_inner_names(classes)
                return
            inner.add((label, below[0]))
    pairs = sorted(inner)
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


def _check_inner_names(classes: ClassImages) -> None:
    """Refuse a folder inside a class folder that goes by the name of another class."""
    for label, (folder, images) in classes.items():
        for below, count in _below(folder, images):
            other = next((name for name in below if name != label and name in classes), None)
            if other is not None:
                raise DataError(
                    f"the folder {folder.joinpath(*below)} lies in class {label} and is named "
                    f"like class {other}: {counted(count, 'image')} could be of either.",
                    suggestion=f"Move it out of {folder}, or allow nested folders "
                    f"(--allow-nested) to take what is in it as {label}.",
                )


def _below(folder: Path, images: FoundImages) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield, in order, the parts below a folder of every folder with images, and their number."""
    start = len(text_of(folder))
    for place in sorted(images.folders):
        names = place[start:].split("/")[1:]
        yield tuple(names), len(images.folders[place])
