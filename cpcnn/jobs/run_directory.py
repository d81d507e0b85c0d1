"""The folder of one training run: what lies where, made without overwriting, found again later.

settings.toml    what was asked, with every automatic choice filled in
history.csv      one row an epoch, written as the epochs end
split.csv        which file was in which split, and the SHA-256 of its content
bad_files.csv    the files that could not be read, and why (only if there were any)
best.cpcnn       the weights of the best epoch
last.cpcnn       the weights of the last epoch
curves.svg       loss and accuracy by epoch, drawn when training ends
report.txt, report.json, confusion.csv, confusion.svg, predictions.csv    what `cpcnn eval` found
"""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointError, UsageError

RUNS = Path("runs")
SETTINGS, HISTORY, SPLIT, BAD_FILES = "settings.toml", "history.csv", "split.csv", "bad_files.csv"
BEST, LAST = "best.cpcnn", "last.cpcnn"


@dataclass(frozen=True)
class SplitRow:
    """One image of a run: its path relative to the data folder, its class and its split.

    `group` is empty for an image without one, `sha256` in runs made before it was recorded.
    """

    path: str
    label: str
    split: str
    group: str = ""
    sha256: str = ""


@dataclass
class RunDirectory:
    """The folder of one training run: a new one by `create`, an existing one by its path."""

    path: Path
    created_folders: list[Path] = field(default_factory=list, repr=False)

    @classmethod
    def create(
        cls, model: str, data: Path, *, output: Path | None = None, name: str | None = None
    ) -> RunDirectory:
        """Make the folder of a new run: `output`, or runs/`name`, or runs/MODEL-N.

        UsageError when it exists and is not empty, cannot be written, or lies in the data folder.
        """
        wanted = output if output is not None else RUNS / name if name is not None else None
        refuse_inside_data((wanted or RUNS).absolute(), data)
        if wanted is None:
            return cls._create_numbered(model)
        return cls.claim(wanted)

    @classmethod
    def claim(cls, path: Path) -> RunDirectory:
        """Make a folder, or take an empty one; UsageError if there is something in it already."""
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(
                f"The output folder {path} exists and is not empty.",
                suggestion="Nothing is ever overwritten: choose a new folder.",
            )
        run = cls(path)
        run._make_folders()
        return run

    @classmethod
    def _create_numbered(cls, model: str) -> RunDirectory:
        taken = re.compile(re.escape(model) + r"-(\d+)")
        names = [taken.fullmatch(path.name) for path in RUNS.iterdir()] if RUNS.is_dir() else []
        number = max((int(match[1]) for match in names if match), default=0)
        while True:  # another run may take the number first
            number += 1
            run = cls(RUNS / f"{model}-{number}")
            with suppress(FileExistsError):
                run._make_folders(exist_ok=False)
                return run

    def _make_folders(self, *, exist_ok: bool = True) -> None:
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(exist_ok=exist_ok)
            self.created_folders = missing
            probe = self.path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except FileExistsError:
            if self.path.is_dir():
                raise
            raise cannot_write(self.path, "it is a file") from None
        except OSError as error:
            self.discard()
            raise cannot_write(self.path, error.strerror or str(error)) from error

    def discard(self) -> None:
        """Remove the folder again, as long as training has not put a checkpoint into it."""
        if self.checkpoints():
            return
        with suppress(OSError):
            for name in (SETTINGS, HISTORY, SPLIT, BAD_FILES):
                (self.path / name).unlink(missing_ok=True)
            for folder in self.created_folders:
                folder.rmdir()

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints that are there, the best one first."""
        return [self.path / name for name in (BEST, LAST) if (self.path / name).is_file()]

    def checkpoint(self) -> Path:
        """Return the best checkpoint, or the last one; CheckpointError when there is neither."""
        for path in self.checkpoints():
            return path
        folds = sorted(path.parent for path in self.path.glob(f"fold-*/{BEST}"))
        if folds:
            raise CheckpointError(
                f"{self.path} is a cross-validation: each of its folds has a model of its own.",
                suggestion=f"Name one of them, such as {folds[0]}.",
            )
        raise CheckpointError(
            f"{self.path} holds no checkpoint ({BEST} or {LAST}).",
            suggestion="The run ended before its first epoch did; train again.",
        )

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write settings.toml: the settings, when the run was made and by which version.

        Settings that change later leave the date and the version of the run as they are.
        """
        import tomli_w

        from .._version import __version__

        run = {"created": datetime.now(UTC), "cpcnn": __version__} | self._read_table("run")
        self._write(SETTINGS, tomli_w.dumps({"run": run, "train": settings}))

    def settings(self) -> dict[str, Any]:
        """Return the settings that the run was made with; empty if they are missing or damaged."""
        return self._read_table("train")

    def created(self) -> float:
        """Return when the run was made, in seconds since 1970."""
        created = self._read_table("run").get("created")
        if isinstance(created, datetime):
            return created.timestamp()
        return self.path.stat().st_mtime

    def _read_table(self, name: str) -> dict[str, Any]:
        try:
            text = (self.path / SETTINGS).read_text("utf-8", "surrogateescape")
            table = tomllib.loads(text).get(name)
        except (OSError, ValueError):  # no TOML, or a number of too many digits
            return {}
        return table if isinstance(table, dict) else {}

    def append_history(self, row: dict[str, Any]) -> None:
        """Append one epoch to history.csv, under a header if it is the first."""
        path = self.path / HISTORY
        try:
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row))
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise cannot_write(path, error.strerror or str(error)) from error

    def write_history(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace history.csv by these epochs; without any there is no such file."""
        if not rows:
            (self.path / HISTORY).unlink(missing_ok=True)
            return
        text = StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        self._write(HISTORY, text.getvalue())

    def write_split(self, rows: Iterable[SplitRow]) -> None:
        """Write split.csv; the column of groups only if there is a group."""
        rows = list(rows)
        grouped = any(row.group for row in rows)
        header = ("path", "class", "split", *(["group"] if grouped else []), "sha256")
        table = (
            (row.path, row.label, row.split, *([row.group] if grouped else []), row.sha256)
            for row in rows
        )
        write_csv(self.path / SPLIT, header, table)

    def split(self) -> list[SplitRow]:
        """Return what split.csv says; empty when there is none."""
        try:
            with (self.path / SPLIT).open(
                newline="", encoding="utf-8", errors="surrogateescape"
            ) as file:
                return [_split_row(cells) for cells in csv.DictReader(file)]
        except (OSError, KeyError, csv.Error):
            return []

    def write_bad_files(self, rows: Sequence[tuple[str, str]]) -> None:
        """Write bad_files.csv, if any file was bad."""
        if rows:
            write_csv(self.path / BAD_FILES, ("path", "reason"), rows)

    def _write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all: an old one is there until the new one is complete."""
        path = self.path / name
        temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(text, "utf-8", "surrogateescape", newline="")
            os.replace(temporary, path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise cannot_write(path, error.strerror or str(error)) from error


def _split_row(cells: dict[str, str]) -> SplitRow:
    group, sha256 = cells.get("group") or "", cells.get("sha256") or ""
    return SplitRow(cells["path"], cells["class"], cells["split"], group, sha256)


def is_run(path: Path) -> bool:
    """Say whether a path is the folder of a run."""
    return path.is_dir() and any((path / name).is_file() for name in (SETTINGS, BEST, LAST))


def last_run(root: Path = RUNS) -> RunDirectory:
    """Return the run with a checkpoint that was made last; UsageError if there is none."""
    runs = [RunDirectory(path) for path in root.iterdir() if is_run(path)] if root.is_dir() else []
    ready = [run for run in runs if run.checkpoints()]
    if not ready:
        raise UsageError(
            f"There is no trained run in {root.absolute()}.",
            suggestion="Train one with `cpcnn train DATA`, or name a checkpoint or run directory.",
        )
    return max(ready, key=lambda run: (run.created(), run.path.name))


def refuse_inside_data(path: Path, data: Path) -> None:
    """Raise UsageError when a path lies in the data folder, where nothing is ever written."""
    if data.is_dir() and path.resolve().is_relative_to(data.resolve()):
        raise UsageError(
            f"The output {path} lies in the data folder {data}, where nothing is ever written.",
            suggestion="Choose a folder outside with --output, or start from another directory.",
        )


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table in UTF-8; names that are not UTF-8 keep their bytes."""
    try:
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise cannot_write(path, error.strerror or str(error)) from error


def cannot_write(path: Path, reason: str) -> UsageError:
    """Return the error for a place that cannot be written."""
    return UsageError(
        f"Cannot write {path}: {reason}.",
        suggestion="Make it writable, or choose another with --output.",
    )
