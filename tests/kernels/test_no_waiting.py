"""A training step reads nothing back to the host: on a GPU each read would wait for all work."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, EmulatedLauncher

from cpcnn.core.context import Context
from cpcnn.data import ArrayDataset, Augmentation, Loader
from cpcnn.layers import Add, Conv2D, Dense, Dropout, Flatten, Input
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.metrics import get_metric
from cpcnn.models import Model
from cpcnn.networks import build_network
from cpcnn.optimizers import SGD, AdamW, Optimizer
from cpcnn.schedules import get_schedule
from cpcnn.training import Network, StepEnded, Trainer
from cpcnn.training.tally import READ_EVERY

SHAPE = (8, 8, 3)


class HostRead(AssertionError):
    """Somebody looked at a value of an array that lies on the device."""


def refuse(self: Any, *_: Any) -> NoReturn:
    raise HostRead


class DeviceArray(np.ndarray):
    """An array whose values the host cannot see, as those of a GPU without waiting."""

    __bool__ = __int__ = __float__ = __index__ = __complex__ = __iter__ = refuse
    item = tolist = tobytes = refuse


class BlindDevice(EmulatedCudaDevice):
    """Counts what is read back by `get`, and lets nothing else be read."""

    reads = 0

    def empty(self, shape: Any, dtype: Any) -> Any:
        return super().empty(shape, dtype).view(DeviceArray)

    def get(self, array: Any) -> Any:
        self.reads += 1
        return np.asarray(array.view(np.ndarray))


@pytest.fixture
def blind(launcher: EmulatedLauncher) -> BlindDevice:
    return BlindDevice(launcher)


@pytest.mark.parametrize("look", [bool, float, int, list, lambda x: x.item(), lambda x: x.tolist()])
def test_a_look_at_the_device_is_noticed(blind: BlindDevice, look: Any) -> None:
    x = blind.put(np.ones(1))
    for array in (x, x + 1, x[:1], np.sum(x, keepdims=True)):
        with pytest.raises(HostRead):
            look(array)


def resnet9() -> Network:
    return Network(build_network("resnet9", SHAPE, 3, width=0.07), SHAPE)


def functional() -> Network:
    image = Input(SHAPE)
    x = Conv2D(4, 3, padding="same", groups=1, activation="tanh")(image)
    x = Add()([x, Conv2D(4, 1)(image)])
    return Model(image, Dense(3, activation="softmax")(Flatten()(Dropout(0.3)(x))))


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(horizontal_flip=True, rotation=9, shift=0.1),
        Augmentation(
            random_crop=0.5, contrast=0.3, rand_augment=9, erasing=0.5, mixup=0.2, cutmix=1
        ),
    ],
    ids=["warped", "mixed"],
)
@pytest.mark.parametrize(
    ("make", "optimizer", "metrics"),
    [
        (resnet9, AdamW(learning_rate=0.01, global_clipnorm=1.0), []),
        (functional, SGD(learning_rate=0.01, momentum=0.9), ["accuracy", "auc"]),
        (functional, SGD(0.01, use_ema=True, gradient_accumulation_steps=3, clipnorm=1.0), []),
    ],
)
def test_a_step_reads_nothing(
    blind: BlindDevice,
    make: Any,
    optimizer: Optimizer,
    metrics: list[str],
    augmentation: Augmentation,
) -> None:
    network = make()
    network.preprocessing = {"mean": [127.0] * 3, "std": [64.0] * 3}
    network.build(device=blind)
    steps = READ_EVERY + 2
    images = np.arange(2 * steps * 8 * 8 * 3).astype(np.uint8).reshape(-1, *SHAPE)
    dataset = ArrayDataset(images, np.arange(2 * steps) % 3)
    loader = Loader(dataset, 2, shuffle=True, augmentation=augmentation)
    schedule = get_schedule("constant", 0.01, steps)
    trainer = Trainer(network, loader, None, optimizer, schedule, CategoricalCrossentropy(), 1)
    trainer.metrics = [get_metric(name) for name in metrics]
    trainer.class_weights = np.array([1.0, 2.0, 3.0])
    reads = []
    for event in trainer.run():
        if isinstance(event, StepEnded):
            reads.append(blind.reads)
            blind.reads = 0
    # the tally is read at the first step of every ten and at the last one, and nothing else is;
    # with metrics it is the sums and the outputs
    due = [step % READ_EVERY == 1 or step == steps for step in range(1, steps + 1)]
    assert reads == [(1 + bool(metrics)) * read for read in due]


def test_inference_reads_its_results_alone(blind: BlindDevice) -> None:
    network = resnet9()
    network.preprocessing = {"mean": [127.0] * 3, "std": [64.0] * 3}
    network.build(device=blind)
    batches = Loader(ArrayDataset(np.zeros((6, *SHAPE), np.uint8), np.zeros(6, np.int64)), 2)
    blind.reads = 0
    assert len(list(network.predict_batches(batches))) == 3
    assert blind.reads == 3


def test_the_context_has_no_hidden_reads(blind: BlindDevice) -> None:
    """Building a context and asking for ops costs nothing on the device."""
    before = blind.reads
    ctx = Context(blind, training=True, grad=True, input_gradient=False)
    _ = ctx.interior.ops.conv2d
    assert blind.reads == before
