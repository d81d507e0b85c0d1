"""Training on a folder of image files, with the loader at work beside the steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cases import Case
from our_side import ENDLESS, Ours, SameBatch
from paired_timing import Call

from cpcnn.data import (
    Augmentation,
    ImageDataset,
    Loader,
    Preprocessing,
    scan_folder,
    write_sample_images,
)
from cpcnn.devices import Device

AUGMENTATION = Augmentation(horizontal_flip=True, shift=0.0625, rotation=10.0)
IMAGES_PER_CLASS = 400  # of five classes
SAME, MEMORY, FILES = "same batch", "from memory", "from files"
ALONE = {f"{source}, loading alone": source for source in (MEMORY, FILES)}


class Loading:
    """The same images three ways: one batch again and again, kept in memory, decoded each time.

    All batches are augmented on the device, so what differs is the loader.
    """

    def __init__(self, case: Case, folder: Path, per_class: int, threads: int) -> None:
        write_sample_images(folder, per_class=per_class, size=case.size, splits=(("", 1.0),))
        found = scan_folder(folder)
        self.case = case
        self.preprocessing = Preprocessing(case.size, case.size, case.channels)
        self.loaders = {}
        for source, limit in ((MEMORY, None), (FILES, 0)):
            (samples,) = found.splits.values()
            dataset = ImageDataset(samples, found.classes, self.preprocessing, memory_limit=limit)
            dataset.prepare(workers=threads)
            self.loaders[source] = Loader(
                dataset, case.batch_size, shuffle=True, augmentation=AUGMENTATION, workers=threads
            )

    def contenders(self, device: Device) -> dict[str, Call]:
        """Return a training step on each kind of batches, and loading alone."""
        batch = next(self.loaders[MEMORY].epoch(0))
        loaders: dict[str, Any] = {SAME: SameBatch(batch), **self.loaders}
        calls: dict[str, Call] = {
            name: Ours(self.case, batch, self.preprocessing, device, loader).train
            for name, loader in loaders.items()
        }
        for name, source in ALONE.items():
            calls[name] = endless(self.loaders[source]).__next__
        return calls


def endless(loader: Loader) -> Iterator[Any]:
    """Yield batches, one epoch after the other."""
    for epoch in range(ENDLESS):
        yield from loader.epoch(epoch)
