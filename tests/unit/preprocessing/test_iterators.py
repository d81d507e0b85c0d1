from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.errors import DataError, UsageError
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.devices import get_device
from cpcnn.preprocessing.image import ImageDataGenerator
from cpcnn.preprocessing.iterators import ImageIterator
from cpcnn.training.input_stage import to_input

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 9, 12, 3), dtype=np.uint8)
LABELS = np.arange(23) % 4
ON_DEVICE: dict[str, Any] = {
    "rotation_range": 20,
    "width_shift_range": 0.2,
    "height_shift_range": 2,
    "shear_range": 10,
    "zoom_range": 0.2,
    "horizontal_flip": True,
    "vertical_flip": True,
    "rescale": 1 / 255,
}
ON_HOST = [
    {"fill_mode": "reflect"},
    {"interpolation_order": 0},
    {"brightness_range": (0.5, 1.5)},
    {"channel_shift_range": 20.0},
    {"samplewise_center": True},
    {"preprocessing_function": np.sqrt},
]


def batches(iterator: ImageIterator, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """What training sees of an epoch: (network input, labels) of each batch."""
    ctx = Context(get_device("numpy"))
    # a model's own preprocessing, which must not matter
    other = {"mean": [7.0] * 3, "std": [3.0] * 3}
    return [(to_input(ctx, batch, other), batch.labels) for batch in iterator.epoch(epoch)]


def assert_same_as_keras(iterator: ImageIterator) -> None:
    """Two epochs by `next` against those by `epoch`."""
    for epoch in range(2):
        for x, labels in batches(iterator, epoch):
            expected, y = next(iterator)
            np.testing.assert_allclose(x, expected, atol=2e-5)
            np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize("host", [{}, *ON_HOST])
def test_both_forms_give_the_same_batches(host: dict[str, Any]) -> None:
    generator = ImageDataGenerator(**ON_DEVICE, **host)
    iterator = generator.flow(IMAGES, LABELS, batch_size=8, seed=3)
    assert_same_as_keras(iterator)
    for batch in iterator.epoch(0):
        assert (batch.images.dtype == np.uint8) == (host == {})
        assert (batch.warp is None) == (host != {})


@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            "rotation_range": st.floats(0, 180),
            "width_shift_range": st.floats(0, 0.9) | st.integers(0, 5),
            "shear_range": st.floats(0, 60),
            "zoom_range": st.floats(0, 0.9),
            "horizontal_flip": st.booleans(),
            "vertical_flip": st.booleans(),
            "fill_mode": st.sampled_from(["nearest", "constant", "wrap"]),
        },
    ),
    shuffle=st.booleans(),
    batch_size=st.integers(1, 30),
)
def test_both_forms_give_the_same_batches_for_all_options(
    options: dict[str, Any], shuffle: bool, batch_size: int
) -> None:
    generator = ImageDataGenerator(rescale=1 / 255, **options)
    iterator = generator.flow(IMAGES[:7], LABELS[:7], batch_size=batch_size, shuffle=shuffle)
    assert_same_as_keras(iterator)


def test_featurewise_normalisation_is_left_to_the_device() -> None:
    generator = ImageDataGenerator(
        featurewise_center=True, featurewise_std_normalization=True, **ON_DEVICE
    )
    generator.fit(IMAGES)
    iterator = generator.flow(IMAGES, LABELS)
    assert next(iterator.epoch(0)).images.dtype == np.uint8
    assert_same_as_keras(iterator)


def test_float_images_are_taken_as_they_are() -> None:
    images = IMAGES[:5] / 255.0
    x, y = ImageDataGenerator().flow(images, LABELS[:5], shuffle=False)[0]
    np.testing.assert_array_equal(x, images.astype(np.float32))
    np.testing.assert_array_equal(y, LABELS[:5])
    assert_same_as_keras(ImageDataGenerator(rotation_range=9).flow(images, LABELS[:5]))


def test_everything_comes_once_an_epoch_in_another_order() -> None:
    iterator = ImageDataGenerator().flow(IMAGES, np.arange(23), batch_size=5, seed=1)
    assert (len(iterator), iterator.num_samples, iterator.n) == (5, 23, 23)
    first, second = (np.concatenate([next(iterator)[1] for _ in range(5)]) for _ in range(2))
    np.testing.assert_array_equal(np.sort(first), np.arange(23))
    np.testing.assert_array_equal(np.sort(second), np.arange(23))
    assert (first != second).any()


def test_the_same_seed_gives_the_same_bytes() -> None:
    def flow(seed: int | None) -> np.ndarray:
        iterator = ImageDataGenerator(**ON_DEVICE).flow(IMAGES, LABELS, batch_size=23, seed=seed)
        return np.asarray(next(iterator)[0])

    np.testing.assert_array_equal(flow(4), flow(4))
    np.testing.assert_array_equal(flow(None), flow(0))
    assert (flow(4) != flow(5)).any()


def test_indexing_reset_and_the_end_of_an_epoch() -> None:
    iterator = ImageDataGenerator(**ON_DEVICE).flow(IMAGES, LABELS, batch_size=10)
    first = next(iterator)[0]
    np.testing.assert_array_equal(iterator[0][0], first)
    np.testing.assert_array_equal(iterator[1][0], next(iterator)[0])
    iterator.reset()
    np.testing.assert_array_equal(next(iterator)[0], first)
    iterator.on_epoch_end()
    assert (iterator[0][0] != first).any()
    for step in (-1, 3):
        with pytest.raises(UsageError, match=rf"no batch {step}: an epoch has 3"):
            iterator[step]


def test_a_loop_goes_on_for_ever() -> None:
    iterator = ImageDataGenerator().flow(IMAGES, LABELS, batch_size=10, shuffle=False)
    sizes = [len(x) for (x, _), _ in zip(iterator, range(7), strict=False)]
    assert sizes == [10, 10, 3, 10, 10, 3, 10]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype(dtype: str) -> None:
    x, _ = ImageDataGenerator(rescale=1 / 255, dtype=dtype).flow(IMAGES, LABELS)[0]
    assert x.dtype == dtype
    assert 0.9 < x.max() <= 1.0


def test_one_hot_rows_come_back_as_they_were_given() -> None:
    rows = np.eye(4, dtype=np.float32)[LABELS]
    iterator = ImageDataGenerator().flow(IMAGES, rows, shuffle=False)
    np.testing.assert_array_equal(iterator[0][1], rows)
    np.testing.assert_array_equal(next(iterator.epoch(0)).labels, LABELS)
    assert iterator.num_classes == 4
    assert iterator.class_indices == {"0": 0, "1": 1, "2": 2, "3": 3}


def test_images_without_labels_can_only_be_predicted_on() -> None:
    iterator = ImageDataGenerator(rescale=1 / 255).flow(IMAGES, batch_size=20, shuffle=False)
    np.testing.assert_allclose(iterator[0], IMAGES[:20] / np.float32(255))
    np.testing.assert_array_equal(next(iterator.epoch(0)).images, IMAGES[:20])
    with pytest.raises(UsageError, match="these images have no labels"):
        _ = iterator.dataset.labels


def test_sample_weights_come_with_the_batch_but_not_into_training() -> None:
    weights = np.linspace(0, 1, 23)
    iterator = ImageDataGenerator().flow(
        IMAGES, LABELS, sample_weight=weights, batch_size=6, shuffle=False
    )
    x, y, w = iterator[1]
    assert len(x) == len(y) == 6
    np.testing.assert_array_equal(w, weights[6:12])
    with pytest.raises(UsageError, match="no weights of single images"):
        iterator.epoch(0)
    with pytest.raises(DataError, match="23 images, but 2 sample weights"):
        ImageDataGenerator().flow(IMAGES, LABELS, sample_weight=[1.0, 2.0])


def test_the_first_images_validate() -> None:
    generator = ImageDataGenerator(validation_split=0.4)
    for subset, rows in [("validation", slice(0, 9)), ("training", slice(9, 23))]:
        iterator = generator.flow(
            IMAGES, LABELS, subset=subset, shuffle=False, sample_weight=np.arange(23.0)
        )
        x, y, w = iterator[0]
        np.testing.assert_array_equal(x, IMAGES[rows])
        np.testing.assert_array_equal(y, LABELS[rows])
        np.testing.assert_array_equal(w, np.arange(23.0)[rows])
        assert iterator.num_classes == 4


def test_subsets_that_cannot_be_taken() -> None:
    generator = ImageDataGenerator(validation_split=0.4)
    in_order = np.sort(LABELS)
    with pytest.raises(DataError, match="images of different classes"):
        generator.flow(IMAGES, in_order, subset="training")
    assert generator.flow(IMAGES, in_order, subset="training", ignore_class_split=True).n == 14
    with pytest.raises(UsageError, match="subset must be 'training' or 'validation'"):
        generator.flow(IMAGES, LABELS, subset="test")
    with pytest.raises(UsageError, match="no validation subset without a share"):
        ImageDataGenerator().flow(IMAGES, LABELS, subset="validation")


@pytest.mark.parametrize("images", [3.0, IMAGES[0]])
def test_images_of_the_wrong_shape(images: Any) -> None:
    with pytest.raises(DataError, match=r"images must have the shape \(N, H, W, C\)"):
        ImageDataGenerator().flow(images)


def test_preprocessing_is_what_a_model_needs() -> None:
    generator = ImageDataGenerator(
        featurewise_center=True,
        featurewise_std_normalization=True,
        rescale=1 / 255,
        brightness_range=(0.5, 1.5),
    )
    generator.fit(IMAGES)
    config = generator.flow(IMAGES, LABELS).preprocessing
    preprocessing = Preprocessing.from_config(config)
    assert (preprocessing.height, preprocessing.width, preprocessing.channels) == (9, 12, 3)
    normalised = (IMAGES - np.array(preprocessing.mean)) / preprocessing.std
    np.testing.assert_allclose(normalised, generator.standardize(IMAGES), atol=1e-5)


@pytest.mark.parametrize("options", ON_HOST[4:])
def test_preprocessing_that_a_model_cannot_carry(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a model can carry a mean and a std"):
        _ = ImageDataGenerator(**options).flow(IMAGES, LABELS).preprocessing
