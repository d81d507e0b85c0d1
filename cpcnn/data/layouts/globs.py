"""Patterns that say which files of a data folder count, by their names in it.

A pattern with a slash is compared with the whole path relative to the folder, one without a slash
with every name in it alone: `*_mask.png` is any such file, `thumbs` all that lies in folders of
this name, at any depth. What matches a folder holds for all that lies in it. `*` and `?` stand for
any characters but a slash, `**` for any number of folders, `[a-c]` and `[!a-c]` for one character.
Case matters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from unicodedata import normalize

from ...core.errors import UsageError

ANY_FOLDERS = "**"


class Globs:
    """Which files count: those that an `include` matches, or all without one, less the `exclude`s.

    UsageError for a pattern that can match nothing. `unmatched` tells which have not matched yet.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = [_Glob("include", text) for text in include]
        self._exclude = [_Glob("exclude", text) for text in exclude]

    def __bool__(self) -> bool:
        return bool(self._include or self._exclude)

    def keep(self, name: str) -> bool:
        """Say whether a file counts, by its path relative to the data folder."""
        if not self:
            return True
        parts = _parts_of(name)
        if _any_matches(self._exclude, parts):
            return False
        return not self._include or _any_matches(self._include, parts)

    def excludes(self, folder: str) -> bool:
        """Say whether a folder is excluded, with all that is in it."""
        return bool(self._exclude) and _any_matches(self._exclude, _parts_of(folder))

    def unmatched(self) -> list[str]:
        """Return the patterns that have matched nothing, with their options."""
        return [
            f"--{glob.option} {glob.text!r}"
            for glob in (*self._include, *self._exclude)
            if not glob.matched
        ]


def _parts_of(name: str) -> list[str]:
    return (name if name.isascii() else normalize("NFC", name)).split("/")


class _Glob:
    """One pattern, and whether it has matched anything."""

    def __init__(self, option: str, text: str) -> None:
        self.option, self.text, self.matched = option, text, False
        pattern = normalize("NFC", text)
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            raise UsageError(
                f"--{option} is {text!r}, which matches no file in the data folder.",
                suggestion="Patterns are compared with paths below it, such as 'train/**/*.png'.",
            )
        self._anywhere = "/" not in pattern.rstrip("/")
        self._parts = [None if part == ANY_FOLDERS else _compiled(part) for part in parts]

    def matches(self, names: Sequence[str]) -> bool:
        """Say whether a path, given by its parts, matches, or a folder above it does."""
        if self._anywhere:
            match = self._parts[0]
            found = match is None or any(match(name) for name in names)
        else:
            found = _begins(names, self._parts)
        self.matched |= found
        return found


def _any_matches(globs: Sequence[_Glob], names: Sequence[str]) -> bool:
    found = [glob.matches(names) for glob in globs]  # every pattern is to hear of the name
    return any(found)


def _compiled(part: str) -> Callable[[str], object]:
    return re.compile(translate(part)).match  # which ends in \Z


def _begins(names: Sequence[str], parts: Sequence[Callable[[str], object] | None]) -> bool:
    """Say whether a path, or a folder above it, matches all parts; None stands for any folders."""
    if not parts or not names:
        return not parts
    match, rest = parts[0], parts[1:]
    if match is not None:
        return bool(match(names[0])) and _begins(names[1:], rest)
    return any(_begins(names[start:], rest) for start in range(len(names)))
