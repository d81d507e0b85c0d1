"""The balanced sampler: equal classes, images in turn, and nothing but labels, seed and epoch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import DataError
from cpcnn.data.array_dataset import ArrayDataset
from cpcnn.data.augmentation.augment import Augmentation
from cpcnn.data.loader import Loader
from cpcnn.data.splits.sampler import BalancedSampler

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=40)
SEEDS = st.integers(0, 2**63)


@given(labels=LABELS, seed=SEEDS, epochs=st.integers(1, 8))
def test_classes_and_images_come_equally_often(labels: list[int], seed: int, epochs: int) -> None:
    sampler = BalancedSampler(labels)
    classes = sorted(set(labels))
    images: Counter[int] = Counter()
    drawn: Counter[int] = Counter()
    for epoch in range(epochs):
        order = sampler.order(seed, epoch)
        assert order.index.dtype == order.draws.dtype == np.int64
        assert len(order.index) == len(labels)
        once = Counter(labels[i] for i in order.index)
        assert max(once[c] for c in classes) - min(once[c] for c in classes) <= 1
        images.update(order.index.tolist())
        drawn.update(once)
        # every draw has a number of its own, the first of an image the image's
        assert len(set(order.draws.tolist())) == len(labels)
        np.testing.assert_array_equal(order.draws % len(labels), order.index)
    assert max(drawn[c] for c in classes) - min(drawn[c] for c in classes) <= 1
    for label in classes:
        times = [images[i] for i, other in enumerate(labels) if other == label]
        assert max(times) - min(times) <= 1


@given(labels=LABELS, seed=SEEDS, epoch=st.integers(0, 100))
def test_an_epoch_is_a_function_of_labels_seed_and_epoch(
    labels: list[int], seed: int, epoch: int
) -> None:
    first = BalancedSampler(labels)
    first.order(seed, epoch + 1)
    again = BalancedSampler(np.array(labels)).order(seed, epoch)
    np.testing.assert_array_equal(first.order(seed, epoch).index, again.index)
    np.testing.assert_array_equal(first.order(seed, epoch).draws, again.draws)


def test_epochs_and_seeds_differ() -> None:
    sampler = BalancedSampler([0] * 50 + [1] * 10)
    orders = [sampler.order(seed, epoch).index.tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_nothing_to_draw_from() -> None:
    with pytest.raises(DataError, match="no images to draw from"):
        BalancedSampler([])


# ---- In the loader -------------------------------------------------------------------------------


def dataset(labels: list[int]) -> ArrayDataset:
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 4, 4, 1), np.uint8
    )
    return ArrayDataset(images, np.array(labels))


LOPSIDED = [0] * 20 + [1] * 3


def test_a_loader_takes_its_order_and_can_start_anywhere() -> None:
    data = dataset(LOPSIDED)
    loader = Loader(data, 5, seed=3, sampler=BalancedSampler(data.labels))
    whole = list(loader.epoch(2))
    assert sum(len(batch) for batch in whole) == loader.num_samples == 23
    index = np.concatenate([batch.index for batch in whole])
    np.testing.assert_array_equal(index, BalancedSampler(LOPSIDED).order(3, 2).index)
    for before, after in zip(whole[3:], loader.epoch(2, start=3), strict=True):
        np.testing.assert_array_equal(before.index, after.index)
        np.testing.assert_array_equal(before.images[:, 0, 0, 0], before.index)
        np.testing.assert_array_equal(before.labels, data.labels[before.index])


def test_an_image_that_comes_again_is_changed_in_another_way() -> None:
    data = dataset(LOPSIDED)
    loader = Loader(
        data, 23, augmentation=Augmentation(rotation=40), sampler=BalancedSampler(data.labels)
    )
    (batch,) = loader.epoch(0)
    assert batch.warp is not None
    repeated = batch.index == 21
    assert repeated.sum() > 1
    warps = {np.asarray(batch.warp.affine[row]).tobytes() for row in np.flatnonzero(repeated)}
    assert len(warps) == repeated.sum()
