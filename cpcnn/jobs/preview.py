"""What training will see: a contact sheet of images, each as it is and as it is augmented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..core.errors import DataError
from ..core.random import Philox
from ..data.augmentation.augment import Augmentation
from ..data.augmentation.contact_sheet import draw_sheet, encode_png
from ..data.dataset import Dataset
from ..data.images.decode import BadImage
from ..data.images.preprocess import Preprocessing, choose_channels, choose_size, read_headers
from ..data.layouts.image_folder import Sample
from ..data.loader import Batch
from ..data.statistics import measure_statistics
from ..devices import Device, get_device
from ..training.input_stage import to_input
from .new_file import write_new_file
from .printable import printable

ROWS, COLUMNS = 8, 8
LEAST = 0.005  # of a label: less rounds to nothing


def preview_sheet(
    images: Dataset | Sequence[Sample],
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    *,
    rows: int = ROWS,
    columns: int = COLUMNS,
    seed: int = 0,
    device: str | Device = "auto",
) -> NDArray[np.uint8]:
    """Return a contact sheet, uint8 (height, width, 3): a row for each of at most `rows` images.

    The first column is the image as it is stored, and says its class; column k is what epoch k of a
    training with this seed makes of it, but for whom it is mixed with, which is the image of the
    next row. The images are drawn by the seed, class after class. Of samples only those shown are
    read, and unreadable ones are passed over. DataError when there is no image.
    """
    return _sheet(
        _chosen(images, preprocessing, rows, seed),
        augmentation,
        preprocessing,
        columns,
        seed,
        device,
    )


def preview_files(
    samples: Sequence[Sample], augmentation: Augmentation, *, seed: int = 0
) -> NDArray[np.uint8]:
    """Return the sheet of image files, in the size and colour that training chooses by itself.

    Only files that are shown are read whole: boxes that are erased have the mean colour of these,
    not of all. DataError when no image can be read.
    """
    headers = read_headers([sample.path for sample in samples])
    preprocessing = Preprocessing(*choose_size(headers), choose_channels(headers))
    shown = _of_samples(samples, preprocessing, ROWS, seed)
    mean, std = measure_statistics([shown.images])
    preprocessing = replace(preprocessing, mean=mean, std=std)
    return _sheet(shown, augmentation, preprocessing, COLUMNS, seed, "auto")


def _sheet(
    shown: _Shown,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    columns: int,
    seed: int,
    device: str | Device,
) -> NDArray[np.uint8]:
    where = get_device(device)
    cells = [list(shown.images)]
    texts = [[printable(shown.classes[label]) for label in shown.labels]]
    for epoch in range(columns - 1):
        batch = _batch(shown, augmentation, seed, epoch)
        cells.append(list(_as_pixels(where, batch, preprocessing)))
        texts.append(_captions(batch, shown.classes))
    return draw_sheet(
        list(zip(*cells, strict=True)),  # columns to rows
        list(zip(*texts, strict=True)),
    )


def write_preview(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a sheet as a new PNG file; UsageError if it cannot be."""
    write_new_file(path, "preview", encode_png(sheet))


@dataclass(frozen=True, eq=False)
class _Shown:
    """The images of a sheet (R, H, W, C), their labels and indices among all, and the classes."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    classes: Sequence[str]


def _chosen(
    images: Dataset | Sequence[Sample], preprocessing: Preprocessing, rows: int, seed: int
) -> _Shown:
    if isinstance(images, Sequence):
        return _of_samples(images, preprocessing, rows, seed)
    index = np.array(list(islice(_in_turns(images.labels, seed), rows)), np.int64)
    if not len(index):
        raise DataError("there are no images to show.")
    pixels = np.asarray(images.gather(index), np.uint8)
    return _Shown(pixels, images.labels[index], index, images.classes)


def _of_samples(
    samples: Sequence[Sample], preprocessing: Preprocessing, rows: int, seed: int
) -> _Shown:
    classes = sorted({sample.label for sample in samples})
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[sample.label] for sample in samples], np.int64)
    index: list[int] = []
    pixels = []
    for place in _in_turns(labels, seed):
        if len(index) == rows:
            break
        try:
            pixels.append(preprocessing.load(samples[place].path))
        except BadImage:
            continue
        index.append(place)
    if not index:
        raise DataError("there are no readable images to show.")
    return _Shown(np.stack(pixels), labels[index], np.array(index, np.int64), classes)


def _in_turns(labels: NDArray[np.int64], seed: int) -> Iterator[int]:
    """Yield the indices of all images, drawn by the seed: one of every class, again and again."""
    order = Philox(seed, "preview").permutation(len(labels))
    queues = [order[labels[order] == label] for label in np.unique(labels)]
    for turn in range(max(map(len, queues), default=0)):
        for queue in queues:
            if turn < len(queue):
                yield int(queue[turn])


def _batch(shown: _Shown, augmentation: Augmentation, seed: int, epoch: int) -> Batch:
    height, width, channels = shown.images.shape[1:]
    return Batch(
        shown.images,
        shown.labels,
        shown.index,
        augmentation.draw(seed, epoch, shown.index, height, width),
        changes=augmentation.draw_changes(seed, epoch, shown.index, (height, width, channels)),
    )


def _as_pixels(device: Device, batch: Batch, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Make the network's input of a batch, and bring it back to values of 0..255."""
    config = preprocessing.to_config()
    with device.scope():
        made = device.get(to_input(Context(device, training=True), batch, config))
    values = np.asarray(made) * preprocessing.std + preprocessing.mean
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _captions(batch: Batch, classes: Sequence[str]) -> list[str]:
    """Say what labels a mixed image has, and nothing below others."""
    mix = None if batch.changes is None else batch.changes.mix
    if mix is None:
        return [""] * len(batch)
    texts = []
    for own, other, weight in zip(
        batch.labels, batch.labels[mix.partner], mix.weight.tolist(), strict=True
    ):
        parts = [(weight, own), (1 - weight, other)]
        shown = [f"{share:.0%} {printable(classes[k])}" for share, k in parts if share >= LEAST]
        texts.append(", ".join(shown))
    return texts
