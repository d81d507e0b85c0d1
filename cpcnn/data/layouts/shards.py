"""Shards: tar files of images with their labels, in the form of WebDataset.

Members whose names are alike up to the first dot after the last slash are one sample: an image, and
`.cls` (a class number or name) or `.json` (an object with one of LABEL_KEYS, and perhaps group and
more). Images are read where they lie; an index in memory says where that is.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DataError
from .image_folder import SPLIT_OF, Sample, listing
from .image_table import FILE_NAME, LABEL, ImageTable, in_nfc
from .metadata import label_fault
from .shard_path import Place, ShardPath
from .table_files import text_of
from .tar_index import Member, tar_members
from .walk import Walker, has_image_extension, joined, path_order

TAR = ".tar"
CLASS, FIELDS = "cls", "json"
LABEL_KEYS = ("label", "class", "cls", "class_name", "label_name")
LARGEST_CLASS, LARGEST_FIELDS = 4096, 1 << 20  # bytes of a .cls and of a .json
FAULTS_SHOWN = 5
SPLIT_WORD = re.compile(r"[A-Za-z]+")


@dataclass(slots=True)
class _Record:
    """What a shard says of one sample so far."""

    images: list[tuple[str, Member]] = field(default_factory=list)
    label: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class ShardIndex:
    """The samples of shards, sorted by class and path, and a table of their fields, if any.

    Columns of the table are the fields whose values are text, numbers or booleans.
    """

    samples: list[Sample]
    table: ImageTable | None = None


def is_shard(path: Path) -> bool:
    """Say whether a file is a tar file, by its extension."""
    return path.suffix.lower() == TAR


def splits_by_name(shards: Sequence[Path]) -> dict[str, list[Path]] | None:
    """Return the shards of each split if every name begins with one, such as train-000.tar.

    None if none does; DataError if only some do.
    """
    found = defaultdict(list)
    others = []
    for shard in shards:
        word = SPLIT_WORD.match(shard.name)
        split = SPLIT_OF.get(word[0].lower(), "") if word else ""
        if split:
            found[split].append(shard)
        else:
            others.append(shard)
    if found and others:
        raise DataError(
            f"{others[0].parent} has shards whose names begin with a split "
            f"({listing(sorted(path for paths in found.values() for path in paths), 3)}) and "
            f"others ({listing(others, 3)}).",
            suggestion="Name all of them like train-000.tar and val-000.tar, or none.",
        )
    return dict(found) or None


def read_shards(shards: Sequence[Path], root: Path, walker: Walker) -> ShardIndex:
    """Read the index of shards that lie in the data folder `root`, or are it.

    What is passed over goes to the walker: hidden members, links and other things, names that lead
    out of the file, labels without an image. Raises DataError for a damaged shard, and for images
    without a label, with one that cannot be read, named twice, or two in a sample.
    """
    samples: list[Sample] = []
    faults: list[str] = []
    table = ImageTable(root, (), root, "sample")
    for shard in shards:
        _read_shard(shard, root, walker, samples, table, faults)
    if faults:
        shown = "; ".join(faults[:FAULTS_SHOWN])
        more = f"; and {len(faults) - FAULTS_SHOWN:,} more" if len(faults) > FAULTS_SHOWN else ""
        raise DataError(
            f"{root}: {len(faults):,} of the samples in shards cannot be used: {shown}{more}.",
            suggestion="A sample is an image and a .cls or .json of the same name up to its first "
            f"dot; a .json has one of the keys {', '.join(LABEL_KEYS)}.",
        )
    samples.sort(key=lambda sample: (sample.label, path_order(sample.text)))
    return ShardIndex(samples, table.with_its_columns() if table.rows else None)


def images_in(shard: Path) -> Iterator[ShardPath]:
    """Yield the path of every image in a tar file, in its order, with or without a label.

    DataError as for `read_shards`.
    """
    for member in tar_members(shard):
        name = member.name.removeprefix("./")
        if has_image_extension(name) and not _passed_over(name, member):
            place = Place(str(shard), member.offset, member.size)
            yield ShardPath.at(joined(str(shard), name), place)


def _read_shard(
    shard: Path,
    root: Path,
    walker: Walker,
    samples: list[Sample],
    table: ImageTable,
    faults: list[str],
) -> None:
    """Add the samples of one shard, or what is wrong with them."""
    if shard != root and not list(walker.not_excluded([shard])):
        return
    above = "" if shard == root else f"{shard.relative_to(root).as_posix()}/"
    for key, record in _records(shard, walker, faults).items():
        images = _plain_images(record)
        if not images:
            walker.ignore(shard / key, "a label without an image")
            continue
        extension, member = images[0]
        name = f"{above}{key}.{extension}"
        if not walker.keep(name):
            continue
        fault = "it has two images" if len(images) > 1 else label_fault(record.label or "")
        if fault is None and record.fields:
            cells = [(LABEL, in_nfc(record.label or "")), *_others(record.fields)]
            fault = table.add(len(samples) + 1, name, cells)
        if fault:
            faults.append(f"{name}: {fault}")
            continue
        folder, _, file_name = f"{joined(str(shard), key)}.{extension}".rpartition("/")
        place = Place(str(shard), member.offset, member.size)
        samples.append(Sample.at(folder, file_name, in_nfc(record.label or ""), place))


def _others(fields: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((name, text) for name, text in fields if name not in (FILE_NAME, LABEL))


def _records(shard: Path, walker: Walker, faults: list[str]) -> dict[str, _Record]:
    """Return what a shard says of each sample, by the samples' keys."""
    found: dict[str, _Record] = defaultdict(_Record)
    seen: set[str] = set()
    file = os.open(shard, os.O_RDONLY)
    try:
        for member in tar_members(shard):
            name = member.name.removeprefix("./")
            if reason := _passed_over(name, member):
                if reason != "a folder":
                    walker.ignore(shard / name.lstrip("/"), reason)
                continue
            if name in seen:
                faults.append(f"{name!a} stands in {shard.name} twice")
            seen.add(name)
            fault = _take(found, name, member, file)
            if fault:
                faults.append(f"{shard.name}: {fault}")
    finally:
        os.close(file)
    return found


def _passed_over(name: str, member: Member) -> str:
    """Say why a member does not count, if it does not."""
    if member.kind:
        return member.kind if member.kind == "a folder" else f"not a regular file ({member.kind})"
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "" in parts or "." in parts:
        return "a name that leads out of the tar file"
    if any(part.startswith((".", "__")) for part in parts):
        return "hidden"
    return ""


def _take(found: dict[str, _Record], name: str, member: Member, file: int) -> str:
    """Add a member to its sample; say what is wrong with it, if anything is."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    kind = extension.lower()
    if not (has_image_extension(base) or kind in (CLASS, FIELDS)):
        return ""
    record = found[f"{folder}{slash}{stem}"]
    if has_image_extension(base):
        record.images.append((extension, member))
    elif kind == CLASS:
        if member.size > LARGEST_CLASS:
            return f"{name!a} has {member.size:,} bytes, which is no class"
        content = os.pread(file, member.size, member.offset)
        record.label = content.decode("utf-8", "surrogateescape").strip()
    else:
        if member.size > LARGEST_FIELDS:
            return f"{name!a} has {member.size:,} bytes, more than a label's"
        return _take_fields(record, name, os.pread(file, member.size, member.offset))
    return ""


def _take_fields(record: _Record, name: str, content: bytes) -> str:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        return f"{name!a} is no JSON ({error})"
    if not isinstance(values, dict):
        return f"{name!a} is no JSON object"
    texts = {in_nfc(key.strip()): text_of(value) for key, value in values.items()}
    record.fields = [(key, in_nfc(text.strip())) for key, text in texts.items() if text is not None]
    if record.label is None:
        # of a number and a name for the same class, the name
        given = [values[key] for key in LABEL_KEYS if texts.get(key)]
        given.sort(key=lambda value: not isinstance(value, str))
        record.label = (text_of(given[0]) or "").strip() if given else None
    return ""


def _plain_images(record: _Record) -> list[tuple[str, Member]]:
    """Return the images of a sample; beside `.jpg` one like `.mask.png` is something else."""
    plain = [image for image in record.images if "." not in image[0]]
    return plain or record.images
