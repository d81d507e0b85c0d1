"""New files with results: never in place of another, never among somebody's images."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import UsageError
from .settings import option


def require_new_file(path: Path, name: str, *, outside: Path) -> None:
    """Raise UsageError unless the file of the option `name` can be made, and lies `outside`."""
    try:
        exists, folder = path.is_symlink() or path.exists(), path.parent.is_dir()
        within = path.resolve().is_relative_to(outside.resolve())
    except (OSError, ValueError) as error:
        raise _cannot_write(path, name, error) from error
    if within:
        raise UsageError(
            f"{option(name)} {path} lies in the data folder {outside}.",
            suggestion="Nothing is ever written there: choose a file elsewhere.",
        )
    if exists:
        raise UsageError(
            f"{option(name)} {path} exists.",
            suggestion="Nothing is ever overwritten: choose a new file.",
        )
    if not folder:
        raise UsageError(
            f"{option(name)} {path}: there is no folder {path.parent}.",
            suggestion="Make it, or choose another file.",
        )


def write_new_file(path: Path, name: str, content: str | bytes) -> None:
    """Write bytes, or a text in UTF-8; bytes of names that are not UTF-8 are kept.

    Raises UsageError if that cannot be done; no part of a file is left then, or on Ctrl-C.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    try:
        file = path.open("xb")
    except OSError as error:
        raise _cannot_write(path, name, error) from error
    try:
        with file:
            file.write(content)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(path, name, error) from error
        raise


def _cannot_write(path: Path, name: str, error: OSError | ValueError) -> UsageError:
    reason = getattr(error, "strerror", None) or error
    return UsageError(
        f"{option(name)}: cannot write {path} ({reason}).", suggestion="Choose another file."
    )
