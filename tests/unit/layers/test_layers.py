"""Every layer and container: what it promises, its defaults, and its complaints."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import (
    ELU,
    Activation,
    Add,
    Average,
    AveragePooling2D,
    BatchNormalization,
    Concat,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Graph,
    GroupNormalization,
    Input,
    Lambda,
    Layer,
    LayerNormalization,
    LeakyReLU,
    Maximum,
    MaxPooling2D,
    Multiply,
    Normalization,
    Permute,
    Recompute,
    ReLU,
    Rescaling,
    Reshape,
    Residual,
    SeparableConv2D,
    Softmax,
    SpatialDropout2D,
    Stack,
    Subtract,
    UpSampling2D,
    ZeroPadding2D,
    register_functions,
)
from cpcnn.layers.config import REGISTRY
from cpcnn.testing import check_layer


def shared_twice() -> Stack:
    """One instance at two places, with parameters."""
    dense = Dense(5, "tanh")
    return Stack([dense, Activation("sigmoid"), dense])


def branches() -> Graph:
    """A fork, a shared layer in both arms, a skip, and a stack inside."""
    image = Input((5, 4, 3))
    shared = Conv2D(3, 3, padding="same", activation="tanh", name="shared")
    left = shared(image)
    right = shared(BatchNormalization()(image))
    joined = Add()([left, right, image])
    inner = Stack([Conv2D(2, 1, name="a"), Activation("tanh")], name="inner")(joined)
    top = Dense(4)(Flatten()(inner))
    return Graph.between(image, Add()([top, top]))


register_functions("cube", lambda xp, x: (x * x * x, x), lambda xp, dy, x: 3 * x * x * dy)

# name: (how to make it, input shape without the batch)
CASES: dict[str, tuple[Any, Any]] = {
    "conv": (lambda: Conv2D(4, 3), (5, 6, 3)),
    "conv, all options": (
        lambda: Conv2D(
            6, (3, 2), (2, 1), ((1, 0), (2, 1)), None, (1, 2), 3, "tanh", True, "he_normal", "ones"
        ),
        (6, 7, 3),
    ),
    "conv, same": (lambda: Conv2D(2, 3, 2, "same", use_bias=False, name="c"), (5, 4, 2)),
    "conv, softmax": (lambda: Conv2D(3, 1, activation="softmax"), (3, 3, 2)),
    "dense": (lambda: Dense(4), (7,)),
    "dense over pixels": (lambda: Dense(4, "sigmoid", use_bias=False), (3, 2, 5)),
    "max pooling": (lambda: MaxPooling2D(), (4, 6, 2)),
    "max pooling, overlapping": (lambda: MaxPooling2D(3, 2, "same"), (5, 6, 2)),
    "average pooling": (lambda: AveragePooling2D((2, 3), 1, 1), (4, 5, 2)),
    "global average pooling": (lambda: GlobalAveragePooling2D(), (3, 4, 2)),
    "global average pooling, axes kept": (
        lambda: GlobalAveragePooling2D(keepdims=True),
        (3, 4, 2),
    ),
    "global max pooling": (lambda: GlobalMaxPooling2D(), (3, 4, 2)),
    "global max pooling, axes kept": (lambda: GlobalMaxPooling2D(keepdims=True), (3, 4, 2)),
    "depthwise": (lambda: DepthwiseConv2D(3, 2, depth_multiplier=2, activation="tanh"), (6, 5, 2)),
    "separable": (lambda: SeparableConv2D(4, 3, padding="same", activation="tanh"), (4, 5, 2)),
    "transposed": (lambda: Conv2DTranspose(3, 3, 2, "same", activation="gelu"), (3, 2, 4)),
    "zero padding": (lambda: ZeroPadding2D(((1, 0), (2, 1))), (3, 4, 2)),
    "cropping": (lambda: Cropping2D(((1, 0), (2, 1))), (3, 4, 2)),
    "upsampling": (lambda: UpSampling2D((2, 3)), (3, 4, 2)),
    "upsampling, bilinear": (lambda: UpSampling2D(2, interpolation="bilinear"), (3, 4, 2)),
    "reshape": (lambda: Reshape((6, -1)), (3, 4, 2)),
    "permute": (lambda: Permute((3, 1, 2)), (3, 4, 2)),
    "batch norm": (lambda: BatchNormalization(), (3, 4, 2)),
    "batch norm, bare": (
        lambda: BatchNormalization(-1, 0.5, 0.1, center=False, scale=False, activation="tanh"),
        (6,),
    ),
    "layer norm": (lambda: LayerNormalization(), (3, 4, 5)),
    "group norm": (lambda: GroupNormalization(2), (3, 4, 6)),
    "rescaling": (lambda: Rescaling((2.0, -3.0), 1.0), (3, 4, 2)),
    "normalization": (lambda: Normalization(-1, (2.0, -3.0), 4.0), (3, 4, 2)),
    "activation": (lambda: Activation("sigmoid"), (3, 2)),
    "softmax": (lambda: Softmax(1), (3, 2)),
    "relu": (lambda: ReLU(2.0, 0.1, 0.5), (3, 2)),
    "leaky relu": (lambda: LeakyReLU(), (3, 2)),
    "elu": (lambda: ELU(0.5), (3, 2)),
    "dropout": (lambda: Dropout(0.4), (3, 4, 2)),
    "spatial dropout": (lambda: SpatialDropout2D(0.4), (3, 4, 6)),
    "flatten": (lambda: Flatten(), (3, 4, 2)),
    "add": (lambda: Add(), ((3, 2), (3, 2), (3, 2))),
    "subtract": (lambda: Subtract(), ((3, 2), (3, 2))),
    "multiply": (lambda: Multiply(), ((3, 4, 2), (1, 1, 2), (3, 4, 1))),
    "average": (lambda: Average(), ((3, 2), (3, 2), (3, 2))),
    "maximum": (lambda: Maximum(), ((3, 2), (3, 2), (3, 2))),
    "concatenate": (lambda: Concatenate(), ((3, 2), (3, 4))),
    "empty stack": (lambda: Stack(), (3, 2)),
    "stack": (
        lambda: Stack(
            [Conv2D(3, 3), BatchNormalization(), MaxPooling2D(), Flatten(), Dropout(0.3), Dense(2)]
        ),
        (6, 7, 2),
    ),
    "stack of stacks": (
        lambda: Stack([Stack([Dense(3, "tanh"), Stack([Dense(4)])]), Stack([Dense(2)])]),
        (5,),
    ),
    "shared in a stack": (shared_twice, (5,)),
    "residual": (lambda: Residual(Stack([Dense(4, "tanh"), Dense(5)])), (5,)),
    "residual with shortcut": (
        lambda: Residual(Conv2D(3, 3, 2, 1), Conv2D(3, 1, 2), activation="tanh"),
        (5, 5, 2),
    ),
    "residual of itself": (lambda: Residual(shared := Dense(3, "tanh"), shared), (4,)),
    "branches": (lambda: Concat([Dense(2, "tanh"), Stack([]), Conv2D(3, 1)]), (4, 3, 2)),
    "branches, stacked": (lambda: Concat([Conv2D(2, (1, 3)), Conv2D(2, (2, 3))], 1), (4, 3, 2)),
    "recomputed": (
        lambda: Recompute(Stack([Dense(4), BatchNormalization(), Recompute(Dropout(0.3))])),
        (4, 3, 2),
    ),
    "lambda": (lambda: Lambda("cube"), (4, 3)),
    "graph": (branches, (5, 4, 3)),
    "graph in a stack": (lambda: Stack([branches(), Dense(2)]), (5, 4, 3)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("training", [True, False])
def test_layers_keep_their_promises(case: Any, device: str, training: bool) -> None:
    make, shape = case
    check_layer(make(), shape, device=get_device(device, threads=1), training=training)


def test_no_layer_is_forgotten() -> None:
    used = {type(inner) for make, _ in CASES.values() for _, inner in make().walk()}
    assert used >= set(REGISTRY.values())


KERAS = {
    Conv2D(1, 1): {
        "strides": (1, 1),
        "padding": "valid",
        "dilation_rate": (1, 1),
        "groups": 1,
        "activation": None,
        "use_bias": True,
        "kernel_initializer": "glorot_uniform",
        "bias_initializer": "zeros",
    },
    Dense(1): {
        "activation": None,
        "use_bias": True,
        "kernel_initializer": "glorot_uniform",
        "bias_initializer": "zeros",
    },
    MaxPooling2D(): {"pool_size": (2, 2), "strides": (2, 2), "padding": "valid"},
    AveragePooling2D(): {"pool_size": (2, 2), "strides": (2, 2), "padding": "valid"},
    BatchNormalization(): {"momentum": 0.99, "epsilon": 1e-3, "center": True, "scale": True},
}


@pytest.mark.parametrize("layer", KERAS, ids=lambda layer: type(layer).__name__)
def test_defaults_are_those_of_keras(layer: Layer) -> None:
    for option, value in KERAS[layer].items():
        assert getattr(layer, option) == value


def test_positional_arguments_are_in_the_order_of_keras() -> None:
    def order(kind: type[Layer]) -> list[str]:
        return [item.name for item in fields(kind) if item.init and not item.kw_only]

    assert order(Conv2D)[:7] == [
        "filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups",
    ]  # fmt: skip
    assert order(Dense)[:3] == ["units", "activation", "use_bias"]
    assert order(MaxPooling2D) == ["pool_size", "strides", "padding", "data_format"]
    assert order(BatchNormalization)[:5] == ["axis", "momentum", "epsilon", "center", "scale"]


def test_one_number_stands_for_both_axes() -> None:
    layer = Conv2D(2, 3, 2, dilation_rate=1)
    assert (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3), (2, 2), (1, 1))
    assert MaxPooling2D(3).strides == (3, 3)


@pytest.mark.parametrize(
    ("layer", "shape", "output"),
    [
        (Conv2D(8, 3), (28, 28, 1), (26, 26, 8)),
        (Conv2D(8, 3, padding="same"), (28, 28, 1), (28, 28, 8)),
        (Conv2D(8, 3, 2, "same"), (27, 28, 1), (14, 14, 8)),
        (Conv2D(8, 3, dilation_rate=2), (9, 9, 1), (5, 5, 8)),
        (Conv2D(8, 7, 2, 3), (224, 224, 3), (112, 112, 8)),
        (MaxPooling2D(), (5, 4, 7), (2, 2, 7)),
        (MaxPooling2D(2, padding="same"), (5, 4, 7), (3, 2, 7)),
        (AveragePooling2D(3, 1), (5, 5, 7), (3, 3, 7)),
        (GlobalAveragePooling2D(), (5, 5, 7), (7,)),
        (Flatten(), (5, 4, 7), (140,)),
        (Dense(3), (5, 4, 7), (5, 4, 3)),
    ],
)
def test_output_shapes(layer: Layer, shape: Any, output: Any) -> None:
    assert layer.build(shape) == output


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Conv2D(0, 3), ["Conv2D", "filters", "0"]),
        (lambda: Conv2D(1.5, 3), ["filters", "1.5"]),
        (lambda: Conv2D(True, 3), ["filters", "True"]),
        (lambda: Conv2D(4, 0), ["kernel_size", "0"]),
        (lambda: Conv2D(4, (3, 3, 3)), ["kernel_size"]),
        (lambda: Conv2D(4, 3.0), ["kernel_size", "3.0"]),
        (lambda: Conv2D(4, 3, strides=0), ["strides"]),
        (lambda: Conv2D(4, 3, dilation_rate=-1), ["dilation_rate"]),
        (lambda: Conv2D(4, 3, groups=0), ["groups"]),
        (lambda: Conv2D(4, 3, activation="relu7"), ["relu7", "relu6"]),
        (lambda: Dense("ten"), ["Dense", "units", "ten"]),
        (lambda: Dense(3, activation="gelo"), ["gelo", "gelu"]),
        (lambda: Activation("mush"), ["mush", "sigmoid"]),
        (lambda: MaxPooling2D(0), ["pool_size"]),
        (lambda: MaxPooling2D(2, -1), ["strides"]),
        (lambda: Dropout(1.5), ["Dropout", "rate", "1.5"]),
        (lambda: Dropout(float("nan")), ["rate", "nan"]),
        (lambda: BatchNormalization(momentum=1.0), ["momentum", "1.0"]),
        (lambda: BatchNormalization(epsilon=0), ["epsilon", "0"]),
        (lambda: Residual(Dense(1), activation="x"), ["'x'"]),
        (lambda: Residual(5), ["Residual", "5"]),
        (lambda: Stack([Dense(1), "dense"]), ["Stack", "dense"]),
        (lambda: Input(()), ["Input", "()"]),
        (lambda: Input((3, None, 3)), ["Input", "None"]),
    ],
)
def test_options_that_cannot_be_meant(make: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Conv2D(4, 5), (3, 9, 2), ["5×5", "3×9"]),
        (Conv2D(4, 3, groups=2), (9, 9, 3), ["3 input channels", "4 filters", "2 groups"]),
        (Conv2D(4, 3), (12,), ["(height, width, channels)", "(12,)", "Flatten"]),
        (MaxPooling2D(4), (3, 3, 1), ["4×4", "3×3"]),
        (MaxPooling2D(2, padding=2), (9, 9, 1), ["padding of 2", "2×2"]),
        (GlobalMaxPooling2D(), (3, 3), ["GlobalMaxPooling2D", "(3, 3)"]),
        (Dense(3), (), ["Dense"]),
        (BatchNormalization(), (), ["BatchNormalization"]),
        (Add(), ((3, 2), (3, 4)), ["(3, 2)", "(3, 4)"]),
        (Add(), ((3, 2),), ["two or more"]),
        (Add(), (4, 4), ["two or more", "(4, 4)"]),
        (Residual(Dense(3)), (4,), ["(3,)", "(4,)", "shortcut"]),
    ],
)
def test_shapes_that_do_not_fit(layer: Layer, shape: Any, words: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(shape)
    for word in words:
        assert word in str(caught.value)


def test_a_shape_error_names_the_path_of_the_layer() -> None:
    network = Stack(
        [
            Stack(
                [Residual(Stack([Conv2D(3, 3, padding="same"), MaxPooling2D(9)]))], name="stage1"
            ),
            Flatten(),
        ]
    )
    with pytest.raises(ShapeError) as caught:
        network.build((8, 8, 3))
    assert caught.value.path == "stage1.residual.body.max_pooling2d"
    assert "layer 'stage1.residual.body.max_pooling2d'" in str(caught.value)
    assert "9×9" in str(caught.value)
    assert "8×8" in str(caught.value)


def test_a_symbolic_call_names_the_layer_too() -> None:
    image = Input((4, 4, 3))
    with pytest.raises(ShapeError, match=r"layer 'head'.*5×5"):
        Conv2D(3, 5, name="head")(image)
    with pytest.raises(ShapeError, match="layer 'add'"):
        Add()([image, Conv2D(2, 1)(image)])


def test_initializers_of_unknown_name_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"'he'.*he_normal"):
        Dense(3, kernel_initializer="he").build((4,))


@pytest.mark.parametrize(
    ("name", "limit", "deviation"),
    [
        ("glorot_uniform", (6 / (450 + 900)) ** 0.5, (2 / (450 + 900)) ** 0.5),
        ("he_uniform", (6 / 450) ** 0.5, (2 / 450) ** 0.5),
        ("he_normal", None, (2 / 450) ** 0.5),
        ("zeros", 0, 0),
        ("ones", 1, 0),
    ],
)
def test_initial_kernels(name: str, limit: float | None, deviation: float) -> None:
    layer = Conv2D(100, 3, kernel_initializer=name)
    layer.build((8, 8, 50))
    store = ParamStore(layer.parameters(), get_device("numpy"))
    store.initialize(0)
    kernel = store.get_weights()["kernel"].astype(np.float64)
    assert kernel.shape == (3, 3, 50, 100)
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    if limit is None:
        assert abs(kernel.mean()) < deviation * 0.02
    else:
        assert np.abs(kernel).max() == pytest.approx(limit, rel=1e-3)
    assert not store.get_weights()["bias"].any()


def test_dropout_draws_from_a_stream_of_its_path() -> None:
    """Two layers of one rate drop other values, another step drops others again."""
    layers = [Dropout(0.5), Dropout(0.5)]
    for layer, path in zip(layers, ("a", "b"), strict=True):
        layer.path = path
    x = np.ones((10, 10))
    masks = [
        layer.forward(x, Context(get_device("numpy"), training=True, rng=Philox(0, "d", step)))[0]
        for layer in layers
        for step in (0, 1)
    ]
    assert len({mask.tobytes() for mask in masks}) == 4


def test_dropout_does_nothing_outside_training() -> None:
    x = np.ones((3, 4))
    assert Dropout(0.9).forward(x, Context(get_device("numpy"), grad=True)) == (x, None)


def test_batch_normalization_moves_only_in_training() -> None:
    layer = BatchNormalization(momentum=0.9)
    layer.build((2,))
    store = ParamStore(layer.parameters(), get_device("numpy"))
    store.initialize(0)
    x = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
    layer.forward(x, Context(store.device, grad=True))
    assert store.get_weights()["moving_mean"].tolist() == [0, 0]
    layer.forward(x, Context(store.device, training=True))
    np.testing.assert_allclose(store.get_weights()["moving_mean"], [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(store.get_weights()["moving_variance"], [1.0, 1.3], rtol=1e-6)


def test_decay_is_for_kernels() -> None:
    network = Stack([Conv2D(2, 3), BatchNormalization(), Flatten(), Dense(3)])
    network.build((5, 5, 1))
    decayed = {path for path, param in network.parameters().items() if param.decay}
    assert decayed == {"conv2d.kernel", "dense.kernel"}
