"""The settings of a check: those of a training that decide what it would read, and the results."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ...core.errors import UsageError
from ..augment_presets import DEFAULT
from ..new_file import require_new_file
from ..settings import AUGMENTS, LARGEST_WHOLE, ON_ERROR, number, one_of, option, whole

MOST_WORKERS = 256


@dataclass(frozen=True)
class CheckSettings:
    """Which folder, and how training would read it; `near` looks for near duplicates too.

    `html`, `fix_list` and `preview` are new files outside the folder; `augment` is the preset of
    the last. A value that cannot be meant raises UsageError.
    """

    data: Path
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    val_fraction: float = 0.2
    group_by: str | None = None
    seed: int = 0
    on_error: str = "skip"
    allow_empty_classes: bool = False
    allow_nested: bool = False
    near: bool = True
    workers: int = 2
    html: Path | None = None
    fix_list: Path | None = None
    preview: Path | None = None
    augment: str = DEFAULT

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", Path(self.data))
        for name in ("include", "exclude"):
            patterns = getattr(self, name)
            one = (patterns,) if isinstance(patterns, str) else tuple(patterns)
            object.__setattr__(self, name, one)
        number("val_fraction", self.val_fraction, above=0, below=1)
        whole("seed", self.seed, 0, LARGEST_WHOLE)
        whole("workers", self.workers, 0, MOST_WORKERS)
        one_of("on_error", self.on_error, ON_ERROR)
        one_of("augment", self.augment, AUGMENTS)
        results = {"html": self.html, "fix_list": self.fix_list, "preview": self.preview}
        for name, path in results.items():
            if path is not None:
                object.__setattr__(self, name, Path(path))
                require_new_file(Path(path), name, outside=self.data)
        given = [(name, path.absolute()) for name, path in results.items() if path]
        for (name, path), (other, other_path) in combinations(given, 2):
            if path == other_path:
                raise UsageError(f"{option(name)} and {option(other)} are both {results[name]}.")
