"""Walking a folder of strangers' files: hidden entries, links, loops and unreadable folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DataError
from ..images.decode import IMAGE_EXTENSIONS
from .globs import Globs

Identity = tuple[int, int]
Ignored = tuple[Path, str]


@dataclass(frozen=True)
class FoundImages:
    """The images below a folder: the names of those in every folder that holds some, sorted.

    Millions of files are common, so that there is no path for each of them. Folders are normal
    paths, the working directory an empty one. `left_out` tells that patterns leave images out.
    """

    folders: dict[str, list[str]] = field(default_factory=dict)
    left_out: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.folders.values()))

    def in_order(self) -> Iterator[tuple[str, str]]:
        """Yield the folder and name of every image, sorted by path as `Path` is: part by part."""
        pairs = ((folder, name) for folder, names in self.folders.items() for name in names)
        if len(self.folders) > 1:
            return iter(sorted(pairs, key=lambda pair: path_order(joined(*pair))))
        return pairs


def joined(folder: str, name: str) -> str:
    """Return the path of a name in a folder, both normal; an empty folder is the working one."""
    return f"{folder}/{name}" if folder and folder != "/" else folder + name


def path_order(path: str) -> str:
    """Return what sorts normal paths as `Path` does: part by part."""
    return path.replace("/", "\0")  # which is in no name, and before all that is


class Walker:
    """Lists folders and gathers what it passed over, with reasons, in `ignored`.

    Hidden entries (`.name`) and `__name` ones, as archivers leave behind, are passed over; links
    are followed, but never back into a folder that was seen. Without `follow_links`, `images`
    passes over links to folders. What `globs` leave out below `root` is counted in `left_out`.
    """

    def __init__(
        self,
        seen: Iterable[Path],
        *,
        follow_links: bool = True,
        root: Path | None = None,
        globs: Globs | None = None,
    ) -> None:
        self.ignored: list[Ignored] = []
        self.left_out = 0
        self.follow_links = follow_links
        self._seen = {_identity(path) for path in seen}
        self._root = root
        self._globs = globs or Globs()

    def ignore(self, path: Path, reason: str) -> None:
        """Note that a path is passed over, and why."""
        self.ignored.append((path, reason))

    def entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Return the visible subfolders and files of a folder, each sorted by name."""
        folders, files = self._names(folder)
        return [folder / name for name in folders], [folder / name for name in files]

    def _names(self, folder: Path) -> tuple[list[str], list[str]]:
        """Return the names of the visible subfolders and files of a folder, sorted."""
        folders, files = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith((".", "__")):
                        self.ignore(folder / name, "hidden")
                    elif _test(entry.is_file):
                        files.append(name)
                    elif _test(entry.is_dir):
                        folders.append(name)
                    else:
                        reason = "broken link" if entry.is_symlink() else "not a regular file"
                        self.ignore(folder / name, reason)
        except OSError as error:
            raise DataError(
                f"cannot read the folder {folder} ({error.strerror or error}).",
                suggestion="Check its permissions.",
            ) from error
        return sorted(folders), sorted(files)

    def images(self, folder: Path) -> FoundImages:
        """Return every image below a folder."""
        found = FoundImages()
        before = self.left_out
        for place, names in self._walk(folder):
            if images := self._kept(place, self._images_among(place, names)):
                found.folders[text_of(place)] = images
        return FoundImages(found.folders, self.left_out > before)

    def has_images(self, folder: Path) -> bool:
        """Say whether there is an image below a folder; looks no further than the first."""
        return any(
            self._kept(place, self._images_among(place, names))
            for place, names in self._walk(folder)
        )

    def _walk(self, folder: Path) -> Iterator[tuple[Path, list[str]]]:
        """Yield a folder, and all below it, with the names of the files in each."""
        pending = [folder]
        while pending:
            place = pending.pop()
            folders, files = self._names(place)
            yield place, files
            inner = self.not_excluded(place / name for name in folders)
            pending.extend(self.unseen(self._followed(inner)))

    def _images_among(self, folder: Path, names: Iterable[str]) -> list[str]:
        images = []
        for name in names:
            if has_image_extension(name):
                images.append(name)
            else:
                self._ignore_file(folder / name)
        return images

    def _ignore_file(self, file: Path) -> None:
        self.ignore(file, f"not an image ({file.suffix or 'no extension'})")

    def _kept(self, folder: Path, names: list[str]) -> list[str]:
        """Return the names that no pattern leaves out."""
        if not self._globs:
            return names
        above = self._relative(folder)
        kept = [name for name in names if self._globs.keep(f"{above}/{name}" if above else name)]
        self.left_out += len(names) - len(kept)
        return kept

    def not_excluded(self, folders: Iterable[Path]) -> Iterator[Path]:
        """Yield the folders that no pattern excludes."""
        for folder in folders:
            if self._globs.excludes(self._relative(folder)):
                self.ignore(folder, "excluded")
            else:
                yield folder

    def keep(self, name: str) -> bool:
        """Say whether a file counts, by its path relative to the root; if not, that is counted."""
        kept = self._globs.keep(name)
        self.left_out += not kept
        return kept

    def would_keep(self, path: Path) -> bool:
        """Say whether a file counts, by its path."""
        return self._globs.keep(self._relative(path))

    def unmatched(self) -> list[str]:
        """Return the patterns that have matched nothing."""
        return self._globs.unmatched()

    def _relative(self, path: Path) -> str:
        assert self._root is not None or not self._globs
        name = path.relative_to(self._root).as_posix() if self._root is not None else ""
        return "" if name == "." else name

    def _followed(self, folders: Iterable[Path]) -> Iterator[Path]:
        for folder in folders:
            if not self.follow_links and folder.is_symlink():
                self.ignore(folder, "link to a folder")
            else:
                yield folder

    def only_images(self, files: Iterable[Path]) -> Iterator[Path]:
        """Yield the files whose extension is an image's."""
        for file in files:
            if has_image_extension(file.name):
                yield file
            else:
                self._ignore_file(file)

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


def text_of(folder: Path) -> str:
    """Return a folder's path as text; empty for the working directory."""
    text = str(folder)
    return "" if text == "." else text


def has_image_extension(name: str) -> bool:
    """Say whether the name of a file ends as an image's does."""
    _, dot, extension = name.rpartition(".")
    return f"{dot}{extension.lower()}" in IMAGE_EXTENSIONS


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
