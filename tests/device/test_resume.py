"""A training that is interrupted within an epoch goes on, on every device."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Loader
from cpcnn.devices import Device
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Stack
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.metrics import get_metric
from cpcnn.optimizers import Adam
from cpcnn.schedules import OneCycle
from cpcnn.training import Network, StepEnded, Trainer

SHAPE = (5, 5, 2)


def make_trainer(device: Device, folder: Path) -> Trainer:
    labels = np.arange(30) % 3
    x = Philox(0, "resume").normal((30, *SHAPE)) + labels[:, None, None, None]
    layers = [Conv2D(3, 3), BatchNormalization(), Dropout(0.2), Flatten(), Dense(3)]
    network = Network(Stack(layers), SHAPE)
    network.build(device=device)
    return Trainer(
        network,
        Loader(ArrayDataset(x.astype(np.float32), labels), 6, shuffle=True),
        None,
        Adam(0.02, use_ema=True, gradient_accumulation_steps=2),
        OneCycle(0.02, 6),
        CategoricalCrossentropy(),
        epochs=2,
        metrics=[get_metric("recall")],
        checkpoints=folder,
    )


def test_every_device_goes_on_in_the_middle(device: Device, tmp_path: Path) -> None:
    whole = make_trainer(device, tmp_path)
    list(whole.run())
    first = make_trainer(device, tmp_path)
    for event in first.run():
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (2, 1):
            first.request_stop()
    second = make_trainer(device, tmp_path)
    assert second.resume_from(tmp_path / "last.cpcnn").waiting == 1
    list(second.run())
    for path, value in whole.model.store.get_weights().items():
        np.testing.assert_allclose(
            second.model.store.get_weights()[path], value, rtol=1e-5, atol=1e-6, err_msg=path
        )
    np.testing.assert_allclose(second.history[1].train_loss, whole.history[1].train_loss, rtol=1e-6)
    assert second.history[1].train_metrics == whole.history[1].train_metrics
