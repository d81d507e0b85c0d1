"""Frozen layers: what stays as it is, what still learns, and what a file remembers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.devices import get_device
from cpcnn.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    Input,
    Residual,
    Stack,
    from_config,
    to_config,
)
from cpcnn.models import Model, Sequential, load_model
from cpcnn.networks import build_network
from cpcnn.optimizers import SGD, AdamW
from cpcnn.testing import check_layer
from cpcnn.training.network import Network

SHAPE = (6, 6, 2)
X = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype(np.float32)
Y = np.arange(12) % 3


def block(name: str) -> Stack:
    return Stack([Conv2D(4, 3, padding="same"), BatchNormalization()], name=name)


def network(device: str = "cpu") -> Sequential:
    model = Sequential([Input(SHAPE), block("trunk"), Flatten(), Dense(3, activation="softmax")])
    model.to(device)
    model.compile(AdamW(0.05, weight_decay=0.5), "categorical_crossentropy")
    return model


def weights_of(model: Model) -> dict[str, NDArray[Any]]:
    return model.store.get_weights()


def changed(model: Model, epochs: int = 1, **options: Any) -> set[str]:
    """Train, and return the paths of the parameters that are others now."""
    before = weights_of(model)
    model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, **options)
    after = weights_of(model)
    assert all(np.isfinite(array).all() for array in after.values())
    return {path for path in before if not np.array_equal(before[path], after[path])}


ALL = {
    "trunk.conv2d.kernel",
    "trunk.conv2d.bias",
    "trunk.batch_normalization.gamma",
    "trunk.batch_normalization.beta",
    "trunk.batch_normalization.moving_mean",
    "trunk.batch_normalization.moving_variance",
    "dense.kernel",
    "dense.bias",
}
HEAD = {"dense.kernel", "dense.bias"}


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_frozen_layer_keeps_weights_and_statistics(device: str) -> None:
    model = network(device)
    model.build()
    model.get_layer("trunk").trainable = False
    assert changed(model) == HEAD
    assert model.store.num_trainable == 6 * 6 * 4 * 3 + 3


def test_freezing_before_building_is_the_same() -> None:
    before, after = network(), network()
    before.root.children()["trunk"].trainable = False
    before.fit(X, Y, epochs=2, verbose=0)
    after.build()
    after.get_layer("trunk").trainable = False
    after.fit(X, Y, epochs=2, verbose=0)
    for path, array in weights_of(before).items():
        np.testing.assert_array_equal(array, weights_of(after)[path], err_msg=path)


def test_freezing_takes_effect_at_the_next_fit_and_can_be_undone() -> None:
    model = network()
    assert changed(model) == ALL
    trunk = model.get_layer("trunk")
    trunk.trainable = False
    assert changed(model) == HEAD
    trunk.trainable = True
    assert changed(model) == ALL


def test_a_container_passes_it_on_and_single_layers_may_differ() -> None:
    model = network()
    trunk = model.get_layer("trunk")
    convolution, normalization = trunk.children().values()
    model.trainable = False
    assert not any(each.trainable for each in (model, trunk, convolution, normalization))
    convolution.trainable = True
    assert changed(model) == {"trunk.conv2d.kernel", "trunk.conv2d.bias"}
    model.trainable = True
    assert all(each.trainable for each in (model, trunk, normalization))


def test_a_summary_shows_what_is_frozen_now() -> None:
    model = network()
    head, trunk = 6 * 6 * 4 * 3 + 3, 3 * 3 * 2 * 4 + 4 + 2 * 4

    def shown() -> str:
        lines: list[str] = []
        model.summary(lines.append)
        return lines[-1]

    assert shown().endswith(f"trainable: {head + trunk}")
    model.get_layer("trunk").trainable = False
    assert shown().endswith(f"trainable: {head}")
    model.fit(X, Y, verbose=0)
    model.get_layer("trunk").trainable = True
    assert shown().endswith(f"trainable: {head + trunk}")


def test_freezing_everything_trains_nothing() -> None:
    model = network()
    model.compile(AdamW(0.05, global_clipnorm=1.0, use_ema=True), "categorical_crossentropy")
    model.trainable = False
    assert changed(model) == set()


def test_frozen_weights_do_not_count_in_clipping_or_state() -> None:
    model = network()
    model.get_layer("trunk").trainable = False
    model.compile(SGD(0.1, momentum=0.9), "categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    assert model.optimizer is not None
    assert set(model.optimizer.get_state(model.store)) == {f"velocity/{path}" for path in HEAD}


def test_the_layers_before_a_frozen_one_still_learn() -> None:
    """A frozen layer passes gradients on; they are those of the layer as it is at inference."""
    check_layer(BatchNormalization(trainable=False), (4, 3, 3))
    model = network()
    model.get_layer("trunk").children()["batch_normalization"].trainable = False
    assert changed(model) == {p for p in ALL if "batch_normalization" not in p}


def test_a_frozen_normalisation_runs_on_its_statistics() -> None:
    layer = BatchNormalization(trainable=False)
    net = Network(Stack([layer]), (2, 2, 3))
    net.build(device="numpy")
    assert layer.moving_mean is not None
    layer.moving_mean.assign(np.array([1.0, 2.0, 3.0]))
    x = np.random.default_rng(1).normal(size=(4, 2, 2, 3)).astype(np.float32)
    device = get_device("numpy")
    y, _ = net.root.forward(x, Context(device, training=True, grad=True))
    expected, _ = net.root.forward(x, Context(device))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(layer.moving_mean.to_host(), [1, 2, 3])


def test_fused_networks_are_frozen_too() -> None:
    root = build_network("resnet9", (8, 8, 2), 3, width=0.1)
    model = Model.from_layer(root, (8, 8, 2))
    model.to("cpu")
    model.compile("adam", "categorical_crossentropy")
    for name in ("stem", "residual1"):
        model.get_layer(name).trainable = False
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 2)).astype(np.float32)
    before = weights_of(model)
    model.fit(x, np.arange(6) % 3, batch_size=3, epochs=2, verbose=0)
    after = weights_of(model)
    for path in before:
        same = np.array_equal(before[path], after[path])
        assert same == path.startswith(("stem.", "residual1.")), path


def test_a_layer_of_two_models_is_frozen_in_both() -> None:
    shared = Conv2D(4, 3, name="shared")
    first, second = (Sequential([Input(SHAPE), shared, Flatten(), Dense(3)]) for _ in range(2))
    for model in (first, second):
        model.to("cpu")
        model.compile("adam", "categorical_crossentropy")
        model.build()
    shared.trainable = False
    for model in (first, second):
        assert changed(model) == HEAD


# ---- Files -----------------------------------------------------------------------------------


def test_a_description_holds_what_is_frozen() -> None:
    assert to_config(Dense(3, trainable=False))["config"] == {"units": 3, "trainable": False}
    body = Stack([Dense(3), Dense(3)])
    root = Stack([Residual(body), Dense(2)])
    body.trainable = False
    body.layers[1].trainable = True
    again = from_config(json.loads(json.dumps(to_config(root))))
    assert [layer.trainable for _, layer in again.walk()] == [True, True, True, False, True, True]
    root.trainable = False
    again = from_config(to_config(root))
    assert not any(layer.trainable for _, layer in again.walk())


def test_a_checkpoint_remembers(tmp_path: Path) -> None:
    model = network()
    model.get_layer("trunk").trainable = False
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.cpcnn")
    again = load_model(tmp_path / "model.cpcnn", "cpu")
    assert not again.get_layer("trunk").trainable
    assert again.trainable
    again.compile("adam", "categorical_crossentropy")
    assert changed(again) == HEAD


def test_a_container_takes_no_argument_that_its_layers_would_not_hear_of() -> None:
    with pytest.raises(TypeError, match="trainable"):
        Stack([Dense(3)], trainable=False)  # type: ignore[call-arg]
