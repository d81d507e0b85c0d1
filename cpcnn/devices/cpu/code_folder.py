"""A folder of compiled code: files that are whole or not there, and no folder that nobody uses."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

NAME = re.compile(r"kernels-[0-9a-f]{16}")
UNUSED = 7 * 24 * 3600  # seconds after which a folder of other sources is removed
DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path | None:
    """Return where compiled code is kept on this system; None where that has no place."""
    if numba := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(numba, "cpcnn")
    user = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Path(user if os.path.isabs(user) else Path.home() / ".cache", "cpcnn")
    except RuntimeError:  # no home
        return None


class CodeFolder:
    """Keeps bytes by name, below `parent`, in a folder that a digest of their sources names.

    Processes may use it at the same time. Nothing here fails: what cannot be written is not kept,
    and what was written by halves, or damaged since, is not there.
    """

    def __init__(self, parent: Path | None, digest: str) -> None:
        self.path = None if parent is None else parent / f"kernels-{digest[:16]}"
        self._used = False

    def read(self, name: str) -> bytes | None:
        if self.path is None:
            return None
        self._note_use(self.path)
        try:
            content = (self.path / name).read_bytes()
        except OSError:
            return None
        digest, code = content[:DIGEST], content[DIGEST:]
        # code that is wrong by a bit would end the process
        return code if hashlib.sha256(code).digest() == digest else None

    def write(self, name: str, code: bytes) -> None:
        if self.path is None or not self.prepare():
            return
        passing = self.path / f".{name}-{os.urandom(8).hex()}"
        try:
            passing.write_bytes(hashlib.sha256(code).digest() + code)
            os.replace(passing, self.path / name)
        except OSError:  # the disk is full, say
            with suppress(OSError):
                passing.unlink()

    def prepare(self) -> bool:
        """Make the folder if it is not there, and say whether it can be written."""
        if self.path is None:
            return False
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            return os.access(self.path, os.W_OK)
        except OSError:
            return False
        self._remove_others(self.path.parent)
        return True

    def _note_use(self, path: Path) -> None:
        if not self._used:
            self._used = True
            with suppress(OSError):
                os.utime(path)

    @staticmethod
    def _remove_others(parent: Path) -> None:
        """Remove the folders of other sources that no process has used for some time."""
        last = time.time() - UNUSED
        with suppress(OSError):
            for folder in os.scandir(parent):
                if (
                    NAME.fullmatch(folder.name)
                    and folder.is_dir(follow_symlinks=False)
                    and folder.stat(follow_symlinks=False).st_mtime < last
                ):
                    shutil.rmtree(folder, ignore_errors=True)
