"""Layers and weights of a model, as Keras gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cpcnn
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Flatten, SeparableConv2D
from cpcnn.models import Input, Model, Sequential

SHAPE = (5, 5, 2)
KERAS_ORDER = [
    *[(3, 3, 2, 1), (1, 1, 2, 4), (4,)],  # depthwise and pointwise kernel, bias
    *[(4,)] * 4,  # gamma, beta, moving mean and variance
    *[(36, 3), (3,)],
]


def network() -> Sequential:
    layers = [SeparableConv2D(4, 3), BatchNormalization(), Flatten(), Dense(3, name="top")]
    model = Sequential([Input(SHAPE), *layers])
    model.to("numpy")
    return model


def test_weights_are_a_list_in_the_order_of_keras() -> None:
    model, other = network(), network()
    other.build(seed=1)
    weights = model.get_weights()
    assert [array.shape for array in weights] == KERAS_ORDER
    assert model.count_params() == sum(array.size for array in weights)
    x = np.ones((2, *SHAPE))
    before = other.predict(x)
    other.set_weights([array.astype(np.float64) for array in weights])
    assert not np.array_equal(other.predict(x), before)
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    weights[-1] += 1  # they are copies
    np.testing.assert_array_equal(other.predict(x), model.predict(x))


def test_a_layers_weights_go_to_another() -> None:
    model, other = network(), network()
    other.build(seed=1)
    assert [type(layer).__name__ for layer in model.layers][-1] == "Dense"
    assert model.get_layer("top") is model.get_layer(index=-1) is model.layers[3]
    other.get_layer("top").set_weights(model.get_layer("top").get_weights())
    for mine, theirs in zip(model.get_weights()[-2:], other.get_weights()[-2:], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(model.get_weights()[0], other.get_weights()[0])


def test_a_name_is_that_of_the_layer_in_another_model() -> None:
    image = cpcnn.Input(SHAPE, name="image")
    trunk = Model(image, Conv2D(2, 3)(image), name="trunk")
    head = Sequential([Flatten(), Dense(2)], name="head")
    model = Sequential([trunk, head])
    assert list(model.store.params) == [
        "trunk.conv2d.kernel",
        "head.dense.kernel",
        "trunk.conv2d.bias",
        "head.dense.bias",
    ]


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda m: m.get_layer("bottom"), UsageError, "no layer 'bottom'. The layers are: separ"),
        (lambda m: m.get_layer(index=4), UsageError, "no layer 4"),
        (lambda m: m.set_weights(m.get_weights()[:-1]), ShapeError, "expected are"),
        (lambda m: m.set_weights([]), ShapeError, "have shapes none"),
        (lambda m: built_alone().get_weights(), UsageError, "'dense' has no weights yet"),
    ],
)
def test_what_cannot_be_meant(use: Any, error: Any, words: str) -> None:
    with pytest.raises(error) as caught:
        use(network())
    assert words in str(caught.value)


def built_alone() -> Dense:
    layer = Dense(3)
    layer.build((4,))
    return layer
