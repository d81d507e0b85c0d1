"""`ImageDataGenerator`: random changes and normalisation of images, with Keras' words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import DataError, UsageError
from ..core.options import is_number
from ..core.random import Philox
from ..data.array_dataset import ArrayDataset
from ..data.augmentation.warp import FILL_MODES, ORDERS
from ..data.images.preprocess import Preprocessing
from ..data.layouts.image_folder import Sample
from . import files
from .iterators import ArrayIterator, FileIterator, Unlabelled, check_class_mode
from .pipeline import Pipeline
from .random_transform import Ranges, Shift, Transforms
from .standardization import Standardization

__all__ = ["ImageDataGenerator"]

FilePath: TypeAlias = str | os.PathLike[str]
DTYPES = ("float16", "float32", "float64")


class ImageDataGenerator:
    """Makes batches of randomly changed, normalised images, as Keras' class of this name does.

    In this order: one warp of rotation · shift · shear · zoom about the image's centre, the channel
    shift, flips, brightness; then `preprocessing_function` (of one float image (H, W, C), keeping
    its shape), `rescale`, samplewise and featurewise centre and deviation, ZCA whitening. Angles
    (`rotation_range`, `shear_range`) are degrees. A shift below 1 is a fraction of the side, a
    float from 1 on is pixels, an int n draws whole pixels from (-n, n), a list its members with
    either sign. `zoom_range` z is [1 - z, 1 + z]; `brightness_range` [a, b] are factors;
    `channel_shift_range` is in grey levels. `fill_mode` is "nearest", "constant" (`cval`),
    "reflect" or "wrap"; `interpolation_order` is 0 or 1. Featurewise statistics come from `fit`,
    or from setting `mean` and `std`. UsageError for values that cannot be meant.

    Differs from Keras: numbers come from the seed, the epoch and the image alone, and seed None is
    0; `width_shift_range` moves columns and `height_shift_range` rows, also in images that are not
    square (Keras 3 exchanges them); brightness is not rounded to whole levels; the validation share
    is chosen by a hash of each file's name; images are channels-last.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Shift = 0.0,
        height_shift_range: Shift = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: float | Sequence[float] = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[NDArray[Any]], ArrayLike] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: str | None = None,
    ) -> None:
        dtype = dtype or "float32"
        _check_choice("fill_mode", fill_mode, FILL_MODES)
        _check_choice("interpolation_order", interpolation_order, ORDERS)
        _check_choice("data_format", data_format, (None, "channels_last"))
        _check_choice("dtype", dtype, DTYPES)
        if not (is_number(validation_split) and 0.0 <= validation_split < 1.0):
            raise UsageError(f"validation_split must lie in [0, 1), not {validation_split!r}.")
        for name, value in (("rescale", rescale), ("cval", cval), ("zca_epsilon", zca_epsilon)):
            _check_number(name, value)
        if preprocessing_function is not None and not callable(preprocessing_function):
            raise UsageError(
                f"preprocessing_function must be a function, not {preprocessing_function!r}."
            )
        ranges = Ranges(
            rotation=rotation_range,
            width_shift=width_shift_range,
            height_shift=height_shift_range,
            shear=shear_range,
            zoom=_zoom(zoom_range),
            channel_shift=channel_shift_range,
            brightness=(
                None if brightness_range is None else _pair("brightness_range", brightness_range)
            ),
            horizontal_flip=horizontal_flip,
            vertical_flip=vertical_flip,
        )
        standardization = Standardization(
            preprocessing_function=preprocessing_function,
            rescale=rescale,
            samplewise_center=samplewise_center,
            samplewise_std_normalization=samplewise_std_normalization,
            featurewise_center=featurewise_center,
            featurewise_std_normalization=featurewise_std_normalization,
            zca_whitening=zca_whitening,
            zca_epsilon=zca_epsilon,
        )
        self._pipeline = Pipeline(
            ranges, standardization, fill_mode, cval, interpolation_order, dtype
        )
        self._validation_split = validation_split
        self._drawn = 0  # transforms drawn without a seed

    # --- batches --------------------------------------------------------------------------

    def flow(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        seed: int | None = None,
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> ArrayIterator:
        """Iterate over images x (N, H, W, C) with class numbers or one-hot rows y.

        `subset` "validation" is the first `validation_split` of the images, "training" the rest;
        DataError when they are not of the same classes, unless `ignore_class_split`.
        """
        images, rows = _as_images(x), slice(None)
        if images.dtype != np.uint8:
            images = images.astype(self._pipeline.working_type)
        given = None if y is None else np.asarray(y)
        nothing = np.zeros(images.shape[:1], np.int64)
        dataset = ArrayDataset(images, nothing if given is None else given)
        if subset is not None:
            rows = self._positions(len(images), subset)
            if given is not None and not ignore_class_split:
                _check_same_classes(dataset.labels, int(len(images) * self._validation_split))
            dataset = ArrayDataset(images[rows], dataset.labels[rows], dataset.classes)
        return ArrayIterator(
            Unlabelled(dataset) if given is None else dataset,
            self._pipeline,
            None if given is None else given[rows],
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            sample_weight=_weights(sample_weight, rows, len(images)),
        )

    def flow_from_directory(
        self,
        directory: FilePath,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> FileIterator:
        """Iterate over the images of a folder with one folder per class.

        `classes` names the folders to read, in order; by default all, sorted. Files are decoded
        once, now; one that cannot be read is named in a warning and left out. DataError for a
        folder that cannot be used.
        """
        check_class_mode(class_mode)
        root = Path(directory)
        samples, names = files.samples_in(root, classes, follow_links)
        iterator = self._file_iterator(
            files.choose_subset(samples, root, subset, self._validation_split),
            names,
            files.image_format(target_size, color_mode, interpolation, keep_aspect_ratio),
            class_mode,
            root,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
        )
        print(f"Found {iterator.n} images belonging to {len(names)} classes.")
        return iterator

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: FilePath | None = None,
        x_col: str = "filename",
        y_col: str = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        keep_aspect_ratio: bool = False,
    ) -> FileIterator:
        """Iterate over files named in a table: anything where `table["column"]` is a column.

        As `flow_from_list`, with paths from `x_col`, names of classes from `y_col`.
        """
        return self.flow_from_list(
            _column(dataframe, x_col),
            None if class_mode in (None, "input") else _column(dataframe, y_col),
            directory,
            None if weight_col is None else _column(dataframe, weight_col),
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            subset=subset,
            interpolation=interpolation,
            validate_filenames=validate_filenames,
            keep_aspect_ratio=keep_aspect_ratio,
        )

    def flow_from_list(
        self,
        filenames: Iterable[FilePath],
        labels: Iterable[str] | None = None,
        directory: FilePath | None = None,
        sample_weight: Iterable[float] | None = None,
        *,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        keep_aspect_ratio: bool = False,
    ) -> FileIterator:
        """Iterate over listed files, relative to `directory`, with the names of their classes.

        `labels` may be None with `class_mode` None or "input". Files that cannot be read are left
        out with a warning, or are a DataError without `validate_filenames`. Keras has no such
        method; `flow_from_dataframe` is this one with a table.
        """
        check_class_mode(class_mode)
        if labels is None and class_mode not in (None, "input"):
            raise UsageError(f"class_mode {class_mode!r} takes labels.")
        root = None if directory is None else Path(directory)
        samples, names = files.samples_of(filenames, labels, sample_weight, root, classes)
        iterator = self._file_iterator(
            files.choose_subset(samples, root, subset, self._validation_split),
            names,
            files.image_format(target_size, color_mode, interpolation, keep_aspect_ratio),
            class_mode,
            root,
            strict=not validate_filenames,
            labelled=labels is not None,
            weighted=sample_weight is not None,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
        )
        validated = "validated" if validate_filenames else "non-validated"
        belonging = "" if labels is None else f" belonging to {len(names)} classes"
        print(f"Found {iterator.n} {validated} image filenames{belonging}.")
        return iterator

    def _file_iterator(
        self,
        samples: tuple[Sample, ...],
        names: tuple[str, ...],
        image_format: Preprocessing,
        class_mode: str | None,
        root: Path | None,
        *,
        strict: bool = False,
        labelled: bool = True,
        weighted: bool = False,
        **options: Any,
    ) -> FileIterator:
        if class_mode == "binary" and len(names) != 2:
            raise UsageError(
                f"class_mode 'binary' takes 2 classes; found {len(names)}: {', '.join(names)}.",
                suggestion="Use 'categorical' or 'sparse', or choose two with classes=[...].",
            )
        dataset = files.decode(samples, names, image_format, strict=strict)
        if weighted:
            options["sample_weight"] = files.weights_of(dataset)
        return FileIterator(dataset, self._pipeline, class_mode, root, labelled=labelled, **options)

    def _positions(self, count: int, subset: str) -> slice:
        files.check_subset(subset, self._validation_split)
        first = int(count * self._validation_split)
        return slice(None, first) if subset == "validation" else slice(first, None)

    # --- single steps ---------------------------------------------------------------------

    def fit(
        self, x: ArrayLike, augment: bool = False, rounds: int = 1, seed: int | None = None
    ) -> None:
        """Measure mean, std and the whitening matrix, as far as asked for, on x (N, H, W, C).

        With `augment` on `rounds` random changes of every image. Sums are in float64.
        """
        images = _as_images(x)
        if images.ndim != 4:
            raise UsageError(f"fit takes images of shape (N, H, W, C), not {images.shape}.")
        if augment:
            index = np.arange(len(images))
            draw = self._pipeline.ranges.draw
            images = np.concatenate(
                [
                    self._pipeline.change(
                        images,
                        draw(Philox(seed or 0, "generator/fit", k), index, *images.shape[1:3]),
                    )
                    for k in range(rounds)
                ]
            )
        self._pipeline.standardization.fit(images)

    def standardize(self, x: ArrayLike) -> NDArray[Any]:
        """Normalise an image (H, W, C), or several (N, H, W, C), into a new array.

        Samplewise statistics are those of each image. Keras' method works in place.
        """
        images = self._as_float(x)
        if images.ndim not in (3, 4):
            raise UsageError(f"standardize takes (H, W, C) or (N, H, W, C), not {images.shape}.")
        batch = images if images.ndim == 4 else images[np.newaxis]
        return self._pipeline.standardization.apply(batch).reshape(images.shape)

    def get_random_transform(
        self, img_shape: Sequence[int], seed: int | None = None
    ) -> dict[str, Any]:
        """Draw the parameters for one image: theta and shear in degrees, tx and ty in pixels, ….

        Without a seed every call draws others, the same ones in every program.
        """
        index = np.zeros(1, np.int64)
        if seed is None:
            index += self._drawn
            self._drawn += 1
        random = Philox(seed or 0, "generator/single")
        drawn = self._pipeline.ranges.draw(random, index, img_shape[0], img_shape[1])
        return drawn.to_dicts()[0]

    def apply_transform(
        self, x: ArrayLike, transform_parameters: Mapping[str, Any]
    ) -> NDArray[Any]:
        """Apply the parameters of `get_random_transform`, or some of them, to an image (H, W, C).

        `tx` and `zx` move and scale from left to right, `ty` and `zy` from top to bottom.
        """
        image = self._as_float(x)
        if image.ndim != 3:
            raise UsageError(f"a transform is of one image (H, W, C), not of {image.shape}.")
        transforms = Transforms.of_one(transform_parameters)
        changed: NDArray[Any] = self._pipeline.change(image[np.newaxis], transforms)[0]
        return changed.astype(self._pipeline.dtype, copy=False)

    def random_transform(self, x: ArrayLike, seed: int | None = None) -> NDArray[Any]:
        """Draw parameters and apply them to an image (H, W, C)."""
        return self.apply_transform(x, self.get_random_transform(np.shape(x), seed))

    def _as_float(self, x: ArrayLike) -> NDArray[Any]:
        images: NDArray[Any] = np.asarray(x, self._pipeline.dtype)
        return images

    # --- statistics -----------------------------------------------------------------------

    @property
    def mean(self) -> ArrayLike | None:
        """The mean per channel that `featurewise_center` takes off, in units after `rescale`."""
        return self._pipeline.standardization.mean

    @mean.setter
    def mean(self, value: ArrayLike | None) -> None:
        self._pipeline.standardization.mean = value

    @property
    def std(self) -> ArrayLike | None:
        """The deviation per channel of `featurewise_std_normalization`, after `rescale`."""
        return self._pipeline.standardization.std

    @std.setter
    def std(self, value: ArrayLike | None) -> None:
        self._pipeline.standardization.std = value

    @property
    def zca_whitening_matrix(self) -> NDArray[np.float64] | None:
        """The symmetric matrix (H·W·C, H·W·C) of `zca_whitening`."""
        return self._pipeline.standardization.zca_whitening_matrix

    @zca_whitening_matrix.setter
    def zca_whitening_matrix(self, value: NDArray[np.float64] | None) -> None:
        self._pipeline.standardization.zca_whitening_matrix = value


def _as_images(x: ArrayLike) -> NDArray[Any]:
    try:
        images = np.asarray(x)
    except ValueError:  # of several shapes
        images = np.asarray(None)
    if images.dtype.kind not in "buif":
        raise UsageError(
            f"images must be an array of numbers (N, H, W, C), not {type(x).__name__}.",
            suggestion="flow_from_directory reads folders of images; labels are a second argument.",
        )
    return images


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise UsageError(f"{name} must be one of {known}, not {value!r}.")


def _check_number(name: str, value: Any) -> None:
    if value is not None and not (is_number(value)):
        raise UsageError(f"{name} must be a finite number, not {value!r}.")


def _pair(name: str, value: Any) -> tuple[float, float]:
    if np.shape(value) != (2,):
        raise UsageError(f"{name} must be two numbers, lowest and highest, not {value!r}.")
    low, high = value
    return low, high


def _zoom(value: float | Sequence[float]) -> tuple[float, float]:
    if isinstance(value, (int, float, np.number)):
        if value < 0:
            raise UsageError(f"zoom_range must be a number from 0 on, or two, not {value!r}.")
        return 1 - float(value), 1 + float(value)
    return _pair("zoom_range", value)


def _check_same_classes(labels: NDArray[np.int64], first: int) -> None:
    if set(labels[:first].tolist()) != set(labels[first:].tolist()):
        raise DataError(
            "the training and the validation subset have images of different classes.",
            suggestion="Shuffle the arrays first if they are sorted by class, or pass "
            "ignore_class_split=True.",
        )


def _weights(weights: ArrayLike | None, rows: slice, count: int) -> NDArray[Any] | None:
    if weights is None:
        return None
    values = np.asarray(weights)
    if len(values) != count:
        raise DataError(f"{count} images, but {len(values)} sample weights.")
    return values[rows]


def _column(table: Any, name: str) -> list[Any]:
    try:
        return list(table[name])
    except (KeyError, IndexError, ValueError, TypeError):
        raise UsageError(f"the table has no column {name!r}.") from None
