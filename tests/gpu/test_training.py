"""Training on a GPU: the same as on the CPU, without waiting, and after running out of memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Policy
from cpcnn.core.errors import DeviceError, DeviceMemoryError
from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Augmentation, Loader
from cpcnn.devices import Device, get_device
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.models import Model
from cpcnn.networks import build_network
from cpcnn.optimizers import SGD, AdamW
from cpcnn.training import Network, StepEnded, Trainer

pytestmark = pytest.mark.gpu

SHAPE = (32, 32, 3)
CLASSES = 5


def loader(count: int = 96, batch: int = 32) -> Loader:
    pixels = Philox(0, "images").words(np.arange(count * 32 * 32 * 3))[:, 0].astype(np.uint8)
    dataset = ArrayDataset(pixels.reshape(count, *SHAPE), np.arange(count) % CLASSES)
    augmentation = Augmentation(horizontal_flip=True, rotation=10, zoom=0.1)
    return Loader(dataset, batch, shuffle=True, augmentation=augmentation)


def network(device: Any, name: str = "resnet9", dtype: str = "float32") -> Network:
    made = Network(build_network(name, SHAPE, CLASSES, width=0.25), SHAPE)
    made.policy = Policy(dtype, dtype)
    made.preprocessing = {"mean": [127.0] * 3, "std": [64.0] * 3}
    made.build(device=device)
    return made


def trainer(made: Network, epochs: int = 1, optimizer: Any = None) -> Trainer:
    return Trainer(
        model=made,
        train=loader(),
        validation=None,
        optimizer=optimizer or AdamW(learning_rate=0.002, global_clipnorm=1.0),
        schedule=lambda step: 0.002,
        loss=CategoricalCrossentropy(label_smoothing=0.1),
        epochs=epochs,
    )


@pytest.mark.parametrize("name", ["simple", "resnet9", "resnet18"])
def test_it_trains_as_the_cpu_does(gpu: Device, name: str) -> None:
    """In float64, where ReLUs and winners of pooling cannot fall to the other side."""
    weights = []
    for device in ("numpy", gpu):
        made = network(device, name, "float64")
        for _ in trainer(made, epochs=4, optimizer=SGD(learning_rate=0.01, momentum=0.9)).run():
            pass
        weights.append(made.store.get_weights())
    for path, expected in weights[0].items():
        np.testing.assert_allclose(weights[1][path], expected, atol=1e-8, err_msg=path)


def test_a_model_predicts_the_same_on_the_host(gpu: Device) -> None:
    made = network(gpu)
    *_, ended = trainer(made, epochs=5).run()
    assert ended.reason == "finished"
    model = Model.from_layer(made.root, SHAPE)
    model.preprocessing = made.preprocessing
    on_host = model.to("numpy").predict(loader())
    assert np.ptp(on_host) > 0.1  # predictions that say something
    np.testing.assert_allclose(model.to(gpu).predict(loader()), on_host, atol=1e-4)


def steps(run: Any) -> Iterator[StepEnded]:
    return (event for event in run if isinstance(event, StepEnded))


def test_a_step_waits_for_nothing(gpu: Device) -> None:
    """From the third step on, which is between two reads of the tally."""
    import cupyx

    run = steps(trainer(network(gpu)).run())
    next(run)
    next(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy says that it cannot see every synchronisation
        with cupyx.allow_synchronize(False):
            assert next(run).step == 3


def limited(cupy: Any, spare: int) -> Any:
    """Let the memory pool take only so many more bytes."""
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + spare)
    return pool


@pytest.mark.parametrize("spare", [1 << 14, 1 << 20, 6 << 20, 12 << 20])
def test_out_of_memory_is_an_error_and_not_the_end(gpu: Device, cupy: Any, spare: int) -> None:
    """It may strike in the upload, in forward, in backward; the next run has its memory again."""
    made = network(gpu)
    before = made.store.get_weights()
    pool = limited(cupy, spare)
    try:
        with pytest.raises(DeviceMemoryError, match=r"out of memory.*--batch-size"):
            for _ in trainer(made).run():
                pass
    finally:
        pool.set_limit(size=0)
    for path, value in made.store.get_weights().items():
        assert np.isfinite(value).all()
        if "moving" not in path:
            assert np.array_equal(value, before[path])
    *_, ended = trainer(made).run()
    assert ended.reason == "finished"


def test_no_such_gpu(gpu: Device) -> None:
    with pytest.raises(DeviceError, match="77"):
        get_device("gpu:77")
