"""Batches for training, and the same batches as Keras' iterators give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..data.array_dataset import ArrayDataset
from ..data.dataset import Dataset, ImageDataset
from ..data.images.preprocess import Preprocessing
from ..data.loader import Batch, Loader
from .pipeline import Pipeline, normalisation

CLASS_MODES = ("categorical", "binary", "sparse", "input", None)


class Unlabelled:
    """A dataset whose labels nobody knows: good for predictions, an error for anything else."""

    classes: tuple[str, ...] = ()

    def __init__(self, dataset: ArrayDataset | ImageDataset) -> None:
        self._dataset = dataset
        self.samples = getattr(dataset, "samples", ())
        self.in_memory = dataset.in_memory
        self.image_shape = dataset.image_shape

    @property
    def labels(self) -> NDArray[np.int64]:
        raise UsageError(
            "these images have no labels.", suggestion="Give them, for instance as y of flow()."
        )

    def __len__(self) -> int:
        return len(self._dataset)

    def gather(self, index: NDArray[np.int64]) -> NDArray[Any]:
        return self._dataset.gather(index)


class ImageIterator(Loader):
    """Images of a dataset with the random changes of an ImageDataGenerator, in two forms.

    As a loader, `epoch(k)` yields Batches whose pixels the device warps and normalises, if it can.
    As in Keras, `it[i]`, `next(it)` and a `for` loop, which never ends, give finished pairs (x, y)
    on the host. Both are the same images: what happens to one depends on the seed (None is 0), the
    epoch and the image alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        pipeline: Pipeline,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        sample_weight: NDArray[Any] | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, shuffle=shuffle, seed=seed or 0)
        self.pipeline = pipeline
        self.sample_weight = sample_weight
        self._epoch = 0
        self._step = 0
        self._last_order: tuple[int, NDArray[np.int64]] = (-1, np.arange(0))

    # --- as a loader ----------------------------------------------------------------------

    @property
    def _is_quick(self) -> bool:
        channels = self.image_shape[2]
        return super()._is_quick and self.pipeline.device_normalisation(channels) is not None

    def _maker(self, epoch: int) -> Callable[[int], Batch]:
        if self.sample_weight is not None:
            raise UsageError(
                "training and evaluation know no weights of single images.",
                suggestion="Leave sample_weight out, or use class weights.",
            )
        order = self._order(epoch)

        def make(step: int) -> Batch:
            return self._batch(epoch, self._rows(order, step))

        return make

    def _batch(self, epoch: int, index: NDArray[np.int64]) -> Batch:
        height, width, channels = self.image_shape
        images = self.dataset.gather(index)
        labels = self._labels(index)
        transforms = self.pipeline.draw(self.seed, epoch, index, height, width)
        on_device = self.pipeline.device_normalisation(channels)
        if on_device is not None:
            return Batch(images, labels, index, transforms.warp(), on_device)
        finished = normalisation(np.zeros(channels), np.ones(channels))
        return Batch(self.pipeline.process(images, transforms), labels, index, None, finished)

    def _labels(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        if isinstance(self.dataset, Unlabelled):
            return np.zeros(len(index), np.int64)
        return self.dataset.labels[index]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of an epoch; the last one is kept, for `it[i]` asks again and again."""
        kept, order = self._last_order
        if kept != epoch:
            order = super()._order(epoch)
            self._last_order = epoch, order
        return order

    def _rows(self, order: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        return order[step * self.batch_size : (step + 1) * self.batch_size]

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What a model that is to read files carries: `model.preprocessing = it.preprocessing`.

        Size, channels, resizing, mean and std; random changes are no part of it. UsageError when
        the normalisation is more than a mean and a std per channel.
        """
        channels = self.image_shape[2]
        found = self.pipeline.standardization.affine(channels)
        if found is None:
            raise UsageError(
                "a model can carry a mean and a std per channel, but no preprocessing_function, "
                "samplewise normalisation or ZCA whitening.",
                suggestion="Put such steps into the network, as layers.",
            )
        mean, std = (tuple(values.tolist()) for values in found)
        return replace(self._image_format(), mean=mean, std=std).to_config()

    def _image_format(self) -> Preprocessing:
        height, width, channels = self.image_shape
        return Preprocessing(height, width, channels)

    # --- as in Keras ----------------------------------------------------------------------

    def __getitem__(self, step: int) -> Any:
        """Return the batch `step` of the current epoch."""
        if not 0 <= step < len(self):
            raise UsageError(f"there is no batch {step}: an epoch has {len(self)}, from 0 on.")
        index = self._rows(self._order(self._epoch), step)
        height, width, _ = self.image_shape
        transforms = self.pipeline.draw(self.seed, self._epoch, index, height, width)
        x = self.pipeline.process(self.dataset.gather(index), transforms)
        y = self._targets(index, x)
        if y is None:
            return x
        return (x, y) if self.sample_weight is None else (x, y, self.sample_weight[index])

    def __iter__(self) -> ImageIterator:
        """Go on for ever, epoch after epoch."""
        return self

    def __next__(self) -> Any:
        """Return the next batch; after the last one of an epoch, the first of the next epoch."""
        batch = self[self._step]
        self._step += 1
        if self._step == len(self):
            self._step = 0
            self.on_epoch_end()
        return batch

    def reset(self) -> None:
        """Go back to the first batch of the current epoch."""
        self._step = 0

    def on_epoch_end(self) -> None:
        """Let `it[i]` give the batches of the next epoch."""
        self._epoch += 1

    def _targets(self, index: NDArray[np.int64], x: NDArray[Any]) -> NDArray[Any] | None:
        """Return what goes with a batch x."""
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        return self.dataset.image_shape

    @property
    def n(self) -> int:
        """The number of images."""
        return len(self.dataset)

    samples = n

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.dataset.classes)

    @property
    def class_indices(self) -> dict[str, int]:
        """The number of each class, by name."""
        return {name: number for number, name in enumerate(self.dataset.classes)}


class ArrayIterator(ImageIterator):
    """What `flow` returns: y is what was given."""

    def __init__(
        self, dataset: Dataset, pipeline: Pipeline, y: NDArray[Any] | None, **options: Any
    ) -> None:
        super().__init__(dataset, pipeline, **options)
        self.y = y

    def _targets(self, index: NDArray[np.int64], x: NDArray[Any]) -> NDArray[Any] | None:
        return None if self.y is None else self.y[index]


class FileIterator(ImageIterator):
    """What `flow_from_directory` and its like return.

    y by `class_mode`: one-hot rows ("categorical"), class numbers ("sparse"; "binary", of two
    classes), the images themselves ("input"), or none. `filenames` are relative to `directory`.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        pipeline: Pipeline,
        class_mode: str | None,
        directory: Path | None,
        *,
        labelled: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(dataset if labelled else Unlabelled(dataset), pipeline, **options)
        self.class_mode = class_mode
        self.directory = directory
        self._files = dataset

    @property
    def target_size(self) -> tuple[int, int]:
        """(height, width) of every image."""
        return self.image_shape[:2]

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class number of each image, int64 (N,)."""
        return self.dataset.labels

    labels = classes

    @property
    def filepaths(self) -> list[str]:
        """The path of each image."""
        return [str(sample.path) for sample in self._files.samples]

    @property
    def filenames(self) -> list[str]:
        """The path of each image, seen from the directory."""
        root = self.directory or Path()
        paths = (sample.path for sample in self._files.samples)
        return [str(p.relative_to(root) if p.is_relative_to(root) else p) for p in paths]

    def _image_format(self) -> Preprocessing:
        return self._files.preprocessing

    def _targets(self, index: NDArray[np.int64], x: NDArray[Any]) -> NDArray[Any] | None:
        if self.class_mode is None:
            return None
        if self.class_mode == "input":
            return x.copy()
        labels = self.dataset.labels[index]
        if self.class_mode == "categorical":
            return (labels[:, np.newaxis] == np.arange(self.num_classes)).astype(x.dtype)
        return labels.astype(x.dtype)


def check_class_mode(class_mode: str | None) -> None:
    """Raise UsageError for a class mode that no classifier has."""
    if class_mode not in CLASS_MODES:
        modes = ", ".join(repr(mode) for mode in CLASS_MODES)
        raise UsageError(f"class_mode must be one of {modes}, not {class_mode!r}.")
