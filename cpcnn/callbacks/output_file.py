"""Files that callbacks write: whether they can be is known before training starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..core.errors import UsageError


def require_writable_folder(path: Path) -> None:
    """Raise UsageError unless a file `path` could be created; missing folders are no obstacle."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(path, error) from None
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder.")


def make_folder(path: Path) -> None:
    """Make the folder of a file; UsageError when it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> UsageError:
    """Return what to raise for a file that cannot be written."""
    return UsageError(
        f"cannot write {path}: {error.strerror or error}.", suggestion="Choose another file."
    )
