"""Are the images still those that a run was begun with?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..core.errors import DataError
from .run_directory import SPLIT, RunDirectory, SplitRow

SHOWN = 3
TEST = "test"  # images that training never sees may come and go


def require_same_images(run: RunDirectory, found: Sequence[SplitRow], data: Path) -> None:
    """Raise DataError, with examples, unless training and validation images are the run's.

    They are compared by path, class, split and content, this where the run has recorded it.
    """
    before, now = _by_path(run.split()), _by_path(found)
    if not before:
        raise DataError(
            f"{run.path} has no {SPLIT} that says which images it was trained on.",
            suggestion="Train a new run.",
        )
    both = [(before[path], now[path]) for path in before if path in now]
    differences = {
        "missing or not readable": [path for path in before if path not in now],
        "new": [path for path in now if path not in before],
        "of another class": [n.path for b, n in both if b.label != n.label],
        "in another split": [n.path for b, n in both if b.split != n.split],
        "changed": [n.path for b, n in both if b.sha256 and b.sha256 != n.sha256],
    }
    told = [_told(what, paths) for what, paths in differences.items() if paths]
    if told:
        raise DataError(
            f"The images in {data} are not those that {run.path} was begun with: "
            f"{'; '.join(told)}.",
            suggestion="A run can only go on with the same images: bring them back, or train a "
            "new run.",
        )


def _by_path(rows: Iterable[SplitRow]) -> dict[str, SplitRow]:
    return {row.path: row for row in rows if row.split != TEST}


def _told(what: str, paths: Sequence[str]) -> str:
    shown = ", ".join(sorted(paths)[:SHOWN]) + (", …" if len(paths) > SHOWN else "")
    return f"{len(paths)} {what} ({shown})"
