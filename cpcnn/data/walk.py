"""Walking a folder of strangers' files: hidden entries, links, loops and unreadable folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..core.errors import DataError
from .decode import IMAGE_EXTENSIONS

Identity = tuple[int, int]
Ignored = tuple[Path, str]


class Walker:
    """Lists folders and gathers what it passed over, with reasons, in `ignored`.

    Hidden entries (`.name`) and `__name` ones, as archivers leave behind, are passed over; links
    are followed, but never back into a folder that was seen. Without `follow_links`, `images`
    passes over links to folders.
    """

    def __init__(self, seen: Iterable[Path], *, follow_links: bool = True) -> None:
        self.ignored: list[Ignored] = []
        self.follow_links = follow_links
        self._seen = {_identity(path) for path in seen}

    def ignore(self, path: Path, reason: str) -> None:
        """Note that a path is passed over, and why."""
        self.ignored.append((path, reason))

    def entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Return the visible subfolders and files of a folder, each sorted by name."""
        folders, files = [], []
        for entry in _list(folder):
            path = folder / entry.name
            if entry.name.startswith((".", "__")):
                self.ignore(path, "hidden")
            elif _test(entry.is_dir):
                folders.append(path)
            elif _test(entry.is_file):
                files.append(path)
            else:
                self.ignore(path, "broken link" if entry.is_symlink() else "not a regular file")
        return folders, files

    def images(self, folder: Path) -> list[Path]:
        """Return every image below a folder, sorted by path."""
        found: list[Path] = []
        pending = [folder]
        while pending:
            folders, files = self.entries(pending.pop())
            found.extend(self.only_images(files))
            pending.extend(self.unseen(self._followed(folders)))
        return sorted(found)

    def _followed(self, folders: Iterable[Path]) -> Iterator[Path]:
        for folder in folders:
            if folder.is_symlink() and not self.follow_links:
                self.ignore(folder, "link to a folder")
            else:
                yield folder

    def only_images(self, files: Iterable[Path]) -> Iterator[Path]:
        """Yield the files whose extension is an image's."""
        for file in files:
            if file.suffix.lower() in IMAGE_EXTENSIONS:
                yield file
            else:
                self.ignore(file, f"not an image ({file.suffix or 'no extension'})")

    def loose_images(self, files: Iterable[Path]) -> list[Path]:
        """Return the images among files that lie where no class is, counting them as ignored."""
        images = list(self.only_images(files))
        for image in images:
            self.ignore(image, "an image outside every class folder")
        return images

    def unseen(self, folders: Iterable[Path]) -> list[Path]:
        """Return the folders not met before, in order; from now on no link leads into them.

        Where a folder and a link to it stand side by side, the folder counts.
        """
        fresh = []
        for folder in sorted(folders, key=lambda folder: (folder.is_symlink(), folder)):
            identity = _identity(folder)
            if identity in self._seen:
                self.ignore(folder, "link to a folder that is read elsewhere")
            else:
                self._seen.add(identity)
                fresh.append(folder)
        return sorted(fresh)


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder} ({error.strerror or error}).",
            suggestion="Check its permissions.",
        ) from error


def _identity(path: Path) -> Identity:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}).") from error
    return status.st_dev, status.st_ino


def _test(check: Callable[[], bool]) -> bool:
    """Ask a directory entry for its kind; a link that leads in circles has none."""
    try:
        return check()
    except OSError:
        return False
