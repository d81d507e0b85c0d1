"""All images of a folder in one row, each made when it is asked for: there may be millions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

from ...data.layouts.image_folder import Sample
from .findings import FoundImage


class Catalogue(Sequence[FoundImage]):
    """The images of every split, one split after the other."""

    def __init__(self, splits: Mapping[str, Sequence[Sample]]) -> None:
        self._samples = [sample for samples in splits.values() for sample in samples]
        self._splits = [split for split, samples in splits.items() for _ in samples]

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, position: int) -> FoundImage: ...
    @overload
    def __getitem__(self, position: slice) -> list[FoundImage]: ...
    def __getitem__(self, position: int | slice) -> FoundImage | list[FoundImage]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        sample = self._samples[position]
        return FoundImage(sample.path, self._splits[position], sample.label)

    @property
    def places(self) -> list[tuple[str, str]]:
        """The split and the label of every image."""
        return [(split, s.label) for split, s in zip(self._splits, self._samples, strict=True)]

    def paths(self, chosen: Sequence[int] | None = None) -> Sequence[Path]:
        """Return the paths of all images, or of those at some positions, made when asked for."""
        return _Paths(self._samples, range(len(self)) if chosen is None else chosen)


class _Paths(Sequence[Path]):
    def __init__(self, samples: Sequence[Sample], chosen: Sequence[int]) -> None:
        self._samples, self._chosen = samples, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, position: int) -> Path: ...
    @overload
    def __getitem__(self, position: slice) -> list[Path]: ...
    def __getitem__(self, position: int | slice) -> Path | list[Path]:
        if isinstance(position, slice):
            return [self._samples[chosen].path for chosen in self._chosen[position]]
        return self._samples[self._chosen[position]].path
