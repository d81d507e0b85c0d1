"""Out of memory at any allocation of a step: an error, nothing lost, and the next run is whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, EmulatedLauncher

from cpcnn.core.errors import DeviceMemoryError
from cpcnn.data import ArrayDataset, Loader
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.networks import build_network
from cpcnn.optimizers import AdamW
from cpcnn.schedules import get_schedule
from cpcnn.training import Network, Trainer

SHAPE = (8, 8, 3)


class SmallDevice(EmulatedCudaDevice):
    """Has memory for so many more arrays, and then for none."""

    left: float = float("inf")

    def empty(self, shape: Any, dtype: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise DeviceMemoryError("cuda-emulated is out of memory.", suggestion="Take less.")
        return super().empty(shape, dtype)


@pytest.fixture
def small(launcher: EmulatedLauncher) -> SmallDevice:
    return SmallDevice(launcher)


def network(device: SmallDevice) -> Network:
    made = Network(build_network("resnet9", SHAPE, 3, width=0.07), SHAPE)
    made.preprocessing = {"mean": [127.0] * 3, "std": [64.0] * 3}
    made.build(device=device)
    return made


def train(made: Network) -> None:
    images = np.arange(8 * 8 * 8 * 3, dtype=np.uint8).reshape(8, *SHAPE)
    loader = Loader(ArrayDataset(images, np.arange(8) % 3), 4)
    optimizer = AdamW(learning_rate=0.01, global_clipnorm=1.0)
    schedule = get_schedule("constant", 0.01, 2)
    for _ in Trainer(made, loader, None, optimizer, schedule, CategoricalCrossentropy(), 1).run():
        pass


def allocations(device: SmallDevice) -> int:
    """How many arrays a training takes."""
    made = network(device)
    device.left = 10**6
    train(made)
    taken = 10**6 - int(device.left)
    device.left = float("inf")
    return taken


def test_memory_may_end_anywhere(small: SmallDevice) -> None:
    taken = allocations(small)
    assert taken > 100
    for left in [*range(3), *range(3, taken, 13), taken - 1]:
        made = network(small)
        before = made.store.get_weights()
        small.left = left
        with pytest.raises(DeviceMemoryError, match="out of memory"):
            train(made)
        small.left = float("inf")
        after = made.store.get_weights()
        assert all(np.isfinite(value).all() for value in after.values())
        if left < taken // 3:  # within the first step: no weight was changed in part
            learnt = [path for path in after if "moving" not in path]
            assert all(np.array_equal(after[path], before[path]) for path in learnt)
        made.store.zero_grad()
        train(made)  # and it goes on


def test_memory_that_is_just_enough(small: SmallDevice) -> None:
    taken = allocations(small)
    made = network(small)
    small.left = taken
    train(made)
    assert small.left == 0
