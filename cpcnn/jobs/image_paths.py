"""Which files are meant where files, folders, patterns and a list of paths may be named."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..core.errors import DataError
from ..data.layouts.shards import images_in, is_shard
from ..data.layouts.walk import Walker

LIST = "-"  # stands for the paths of a list, as from standard input


class ImagePath(NamedTuple):
    """A file that may be an image, or a name that stands for none, with the reason."""

    path: Path
    problem: str = ""


def expand(inputs: Iterable[str], listed: Iterable[str] = ()) -> Iterator[ImagePath]:
    """Yield the files that the inputs stand for, one by one, in the order given.

    A folder stands for all images below it, sorted; a tar file for all images in it; a pattern for
    what matches it, sorted; LIST for the paths `listed`, which are files or folders, never
    patterns. Nothing more than one folder, or the matches of one pattern, is held in memory.
    """
    for text in inputs:
        if text == LIST:
            for path in listed:
                yield from _named(path)
        elif glob.has_magic(text) and not os.path.lexists(text):
            yield from _matching(text)
        else:
            yield from _named(text)


def _named(text: str) -> Iterator[ImagePath]:
    # os.path, because a path that cannot be one, such as a very long name, is no folder either
    path = Path(text)
    if os.path.isdir(text):
        return _below(path)
    return _inside(path) if is_shard(path) and os.path.isfile(text) else iter([ImagePath(path)])


def _inside(shard: Path) -> Iterator[ImagePath]:
    """Yield every image in a tar file in its order, and what is wrong with the file, if any."""
    empty = True
    try:
        for path in images_in(shard):
            empty = False
            yield ImagePath(path)
    except DataError as error:
        yield ImagePath(shard, error.message.rstrip("."))
    else:
        if empty:
            yield ImagePath(shard, "there is no image in this tar file")


def _matching(pattern: str) -> Iterator[ImagePath]:
    matches = sorted(glob.iglob(pattern, recursive=True))
    if "**" in pattern:  # which matches what is in the folders, too
        matches = [match for match in matches if not os.path.isdir(match)]
    if not matches:
        yield ImagePath(Path(pattern), "no file matches this pattern")
    for match in matches:
        yield from _named(match)


def _below(root: Path) -> Iterator[ImagePath]:
    """Yield every image below a folder, sorted by path, and the folders that cannot be read."""
    walker = Walker([root, *root.resolve().parents])
    pending = [(root, True)]  # a stack of paths; True: a folder
    empty = True
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            empty = False
            yield ImagePath(path)
            continue
        try:
            pending += sorted(_entries(walker, path), reverse=True)
        except DataError as error:
            empty = False
            yield ImagePath(path, error.message.rstrip("."))
    if empty:
        yield ImagePath(root, "there is no image in this folder")


def _entries(walker: Walker, folder: Path) -> Iterator[tuple[Path, bool]]:
    folders, files = walker.entries(folder)
    yield from ((file, False) for file in walker.only_images(files))
    yield from ((inner, True) for inner in walker.unseen(folders))
    walker.ignored.clear()  # nobody asks what was passed over
