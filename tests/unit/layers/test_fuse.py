"""Views of a network: without its final activation, and with fewer passes over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcnn.core.context import Context, Policy
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import Device, get_device
from cpcnn.layers import (
    ELU,
    Activation,
    Add,
    BatchNormalization,
    Concat,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Graph,
    Input,
    Layer,
    LeakyReLU,
    MaxPooling2D,
    Recompute,
    ReLU,
    Residual,
    SeparableConv2D,
    Softmax,
    Stack,
)
from cpcnn.layers.base import assign_paths
from cpcnn.layers.fuse import fuse, split_activation
from cpcnn.networks import NETWORKS, build_network

NUMPY = get_device("numpy")
SHAPE = (6, 5, 3)


def started(layer: Layer, shape: Any, device: Device = NUMPY, dtype: str = "float32") -> ParamStore:
    layer.build(shape)
    assign_paths(layer)
    store = ParamStore(layer.parameters(), device, dtype)
    store.initialize(0)
    # away from ones and zeros; positive, for variances
    weights = store.get_weights().items()
    store.set_weights({path: w + np.abs(normal(w.shape, path)) / 4 for path, w in weights})
    return store


def normal(shape: Any, name: str) -> Any:
    return Philox(0, name).normal(shape)


# --- the final activation -----------------------------------------------------------------------


def functional(activation: str) -> Layer:
    image = Input((4, 4, 2))
    return Graph.between(image, Dense(3, activation=activation)(Flatten()(image)))


def residual(activation: str) -> Layer:
    return Stack([Flatten(), Residual(Dense(32), activation=activation)])


ENDS: list[Callable[[str], Layer]] = [
    lambda name: Stack([Flatten(), Dense(3, activation=name)]),
    lambda name: Stack([Flatten(), Dense(3), Activation(name)]),
    lambda name: Stack([Flatten(), Stack([Stack([Dense(3, activation=name)])])]),
    lambda name: Stack([GlobalAveragePooling2D(), Activation(name)]),
    lambda name: Stack([Flatten(), Recompute(Stack([Dense(3, activation=name)]))]),
    lambda name: Stack([Conv2DTranspose(2, 2, activation=name)]),
    functional,
    lambda name: Stack([functional(name)]),
    residual,
]


def test_a_softmax_layer_is_a_final_activation() -> None:
    for axis, found in ((-1, True), (1, False)):
        root = Stack([Dense(3), Softmax(axis)])
        assert split_activation(root, "softmax")[1] is found


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
@pytest.mark.parametrize("make", ENDS)
def test_a_final_activation_is_taken_off(make: Callable[[str], Layer], name: str) -> None:
    root = make(name)
    store = started(root, (4, 4, 2))
    bare, found = split_activation(root, name)
    assert found
    assert_same_parameters(bare, store)
    x = normal((3, 4, 4, 2), "x")
    ctx = Context(NUMPY)
    y, logits = root.forward(x, ctx)[0], bare.forward(x, ctx)[0]
    np.testing.assert_allclose(ctx.ops.activation(logits, name)[0], y, rtol=1e-6)
    assert not np.allclose(logits, y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stack([Flatten(), Dense(3)]),
        lambda: Stack([Flatten(), Dense(3, activation="sigmoid")]),
        lambda: Stack([Dense(3, activation="softmax"), Flatten()]),
        lambda: Stack([Conv2D(2, 1, activation="softmax"), MaxPooling2D()]),
        lambda: Stack([]),
        lambda: Concat([Dense(2, activation="softmax")]),
        lambda: Other(2, activation="softmax"),
        # the same layer in the middle has to keep its softmax
        lambda: Stack([shared := Dense(2, activation="softmax"), shared]),
        lambda: Stack([Stack([shared := Dense(2, activation="softmax")]), shared]),
        lambda: Graph([Dense(2, activation="softmax")], [(0, (0,)), (0, (1,))]),
    ],
)
def test_any_other_network_is_left_alone(make: Any) -> None:
    root = make()
    assert split_activation(root, "softmax") == (root, False)


class Other(Dense):
    """A layer that computes something else with the same fields."""

    def forward(self, x: Any, ctx: Context) -> Any:
        y, saved = super().forward(x, ctx)
        return y * 2, saved


# --- fusing: what it gives ----------------------------------------------------------------------


def assert_same_parameters(view: Layer, store: ParamStore) -> None:
    found = view.parameters()
    assert found.keys() == store.params.keys()
    assert all(found[path] is param for path, param in store.params.items())


def a_step(root: Layer, store: ParamStore, before: Any, shape: Any, training: bool) -> list[Any]:
    """Output, gradients and running statistics of one pass."""
    store.set_weights(before)
    store.zero_grad()
    policy = Policy(store.dtype, store.dtype)
    ctx = Context(store.device, training=training, grad=True, policy=policy)
    x = store.device.put(normal((4, *shape), "x").astype(store.dtype))
    with store.device.scope():
        y, saved = root.forward(x, ctx)
        dy = normal(y.shape, "dy").astype(store.dtype)
        dx = root.backward(store.device.put(dy), saved, ctx)
        without = root.forward(x, Context(store.device, training=training, policy=policy))[0]
    gradients = store.unflatten(store.device.get(store.grads))
    return [np.array(store.device.get(a)) for a in (y, dx, without)] + [
        *gradients.values(),
        *store.get_weights().values(),
    ]


def assert_agree(
    root: Layer, shape: Any, device: Device = NUMPY, dtype: str = "float64", training: bool = True
) -> Layer:
    """Check a network against its fused view, and return that."""
    store = started(root, shape, device, dtype)
    before = store.get_weights()
    layers = [(layer, dict(vars(layer))) for _, layer in root.walk()]
    view = fuse(root)
    assert_same_parameters(view, store)
    expected = a_step(root, store, before, shape, training)
    found = a_step(view, store, before, shape, training)
    for one, other in zip(found, expected, strict=True):
        tolerance = 1e-11 if dtype == "float64" else 2e-4
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())
    for layer, attributes in layers:
        assert vars(layer) == attributes
    return view


def kinds(root: Layer) -> list[str]:
    """The classes of the innermost layers, in order, with the activation that they apply."""
    return [
        type(layer).__name__ + (f" {layer.activation}" if getattr(layer, "activation", 0) else "")
        for _, layer in root.walk()
        if not layer.children()
    ]


def separate(activation: str) -> Stack:
    """What people write with one layer a line, and with a layer of every kind that fuses."""
    return Stack(
        [
            Conv2D(4, 3, padding="same"),
            Activation(activation),
            Stack([DepthwiseConv2D(3, use_bias=False), BatchNormalization()]),
            Activation(activation),
            SeparableConv2D(4, 1),
            BatchNormalization(scale=False, center=False),
            Activation(activation),
            Recompute(Stack([Conv2D(4, 1), Dropout(0.2)])),
            Recompute(Conv2D(2, 1)),
            Activation(activation),
            Flatten(),
            Dense(5),
            Activation(activation),
            Dense(4, activation="softmax"),
        ]
    )


FUSED_SEPARATE = [
    "Conv2D relu",
    "Applied",
    "DepthwiseConv2D",
    "BatchNormalization relu",
    "Applied",
    "SeparableConv2D",
    "BatchNormalization relu",
    "Applied",
    "Conv2D",
    "Dropout",
    "Conv2D relu",
    "Applied",
    "Flatten",
    "Dense relu",
    "Applied",
    "Dense softmax",
]


def test_activations_go_to_the_layer_before() -> None:
    assert kinds(assert_agree(separate("relu"), SHAPE)) == FUSED_SEPARATE


@pytest.mark.parametrize(
    ("layer", "activation"),
    [
        (lambda: ReLU(), "relu"),
        (lambda: ReLU(6), "relu6"),
        (lambda: ELU(), "elu"),
        (lambda: Activation("relu"), "relu"),
    ],
)
def test_layers_of_named_activations_are_fused(layer: Any, activation: str) -> None:
    view = assert_agree(Stack([Dense(4), layer(), Dense(2)]), SHAPE)
    assert kinds(view) == [f"Dense {activation}", "Applied", "Dense"]


@pytest.mark.parametrize("layer", [lambda: LeakyReLU(0.1), lambda: ReLU(3), lambda: Softmax()])
def test_layers_of_other_functions_stay(layer: Any) -> None:
    root = Stack([Dense(4), layer()])
    assert fuse(root) is root


@pytest.mark.parametrize("activation", ["gelu", "silu", "softmax", "linear"])
def test_other_activations_stay(activation: str) -> None:
    root = separate(activation)
    assert fuse(root) is root


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "relu6", "elu", "tanh"])
def test_fused_networks_agree(activation: str, dtype: str, training: bool, device: str) -> None:
    place = get_device(device, threads=2)
    assert_agree(separate(activation), SHAPE, place, dtype, training)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_ready_networks_agree(name: str, dtype: str) -> None:
    root = build_network(name, (16, 16, 3), 4, width=0.07)
    assert_agree(root, (16, 16, 3), get_device("cpu", threads=2), dtype)


def body(*end: Layer) -> Stack:
    return Stack([Conv2D(3, 3, padding="same"), Stack([Dropout(0.3), BatchNormalization(), *end])])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Residual(body()), "SummingNormalization"),
        (lambda: Residual(BatchNormalization(), body()), "SummingNormalization"),
        (lambda: Residual(body(), activation="relu"), "SummingNormalization relu"),
        (lambda: Stack([Residual(body(), body()), Activation("elu")]), "SummingNormalization elu"),
        (lambda: Stack([Stack([Residual(body())]), Activation("relu")]), "Normalization relu"),
        (lambda: Residual(Residual(body()), Dense(3)), "SummingNormalization"),
    ],
)
def test_a_block_is_added_up_by_its_normalisation(make: Any, expected: str) -> None:
    assert expected in " ".join(kinds(assert_agree(make(), SHAPE)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Residual(body(Dropout(0.5)), activation="relu"),
        lambda: Residual(body(), activation="gelu"),
        lambda: Residual(Stack([BatchNormalization(activation="relu")])),
        lambda: Residual(Dense(3), body(), activation="relu"),
        lambda: Stack([Residual(Dense(3)), Activation("relu")]),
        lambda: Stack([Residual(Dense(3), activation="tanh"), Activation("relu")]),
        lambda: Stack([Dense(3, activation="tanh"), Activation("relu")]),
        lambda: Stack([Stack([]), Activation("relu")]),
        lambda: Stack([Activation("relu"), Flatten(), Dense(2)]),
        lambda: Stack([Other(2), Activation("relu")]),
        lambda: Stack([Conv2DTranspose(2, 2), Activation("relu")]),
        lambda: Stack([]),
    ],
)
def test_what_cannot_be_fused_is_left_alone(make: Any) -> None:
    root = make()
    assert fuse(root) is root


def shared(kind: str) -> Layer:
    """A layer at two places, where fusing it at one of them would be wrong."""
    conv, norm = Conv2D(3, 1), BatchNormalization()
    relu, inner = Activation("relu"), Stack([Conv2D(3, 1)])
    block = Residual(Stack([norm]))
    return {
        "convolution": Stack([conv, relu, conv, Flatten()]),
        "activation": Stack([conv, relu, Dense(3), relu]),
        "stack": Stack([inner, Activation("relu"), inner]),
        "normalisation": Stack([Residual(norm), norm, Activation("relu")]),
        "normalisation of both arms": Residual(Stack([norm]), Stack([norm, Dropout(0.2)])),
        "block": Stack([block, Activation("relu"), block]),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "convolution",
        "activation",
        "stack",
        "normalisation",
        "normalisation of both arms",
        "block",
    ],
)
def test_layers_at_several_places_stay(kind: str) -> None:
    root = shared(kind)
    assert assert_agree(root, SHAPE) is root


def test_a_shared_stack_is_fused_once_inside() -> None:
    inner = Stack([Conv2D(3, 1), Activation("relu")])
    view: Any = assert_agree(Stack([inner, inner]), SHAPE)
    assert view.layers[0] is view.layers[1]
    assert kinds(view) == ["Conv2D relu", "Applied"]


def test_an_arm_that_both_share_a_layer_with_keeps_its_order() -> None:
    norm = BatchNormalization(momentum=0.5)
    root = Residual(Stack([norm, Dense(3), BatchNormalization()]), norm)
    assert fuse(root) is root


# --- graphs -------------------------------------------------------------------------------------


def graph(build: Callable[[Any], Any]) -> Graph:
    image = Input(SHAPE)
    return Graph.between(image, build(image))


def keras_block(x: Any) -> Any:
    """A block as people write it with the functional interface."""
    y = Activation("relu")(BatchNormalization()(Conv2D(4, 3, padding="same")(x)))
    y = BatchNormalization()(Conv2D(4, 3, padding="same")(y))
    side = BatchNormalization()(Conv2D(4, 1)(x))
    return Activation("relu")(Add()([y, side]))


def test_a_graph_is_fused_as_well() -> None:
    view = assert_agree(graph(lambda x: keras_block(keras_block(x))), SHAPE)
    block = [
        "Conv2D",
        "BatchNormalization relu",
        "Applied",
        "Conv2D",
        "SummingNormalization relu",
        "Conv2D",
        "BatchNormalization",
        "Applied",
        "Applied",
    ]
    assert kinds(view) == block * 2


def test_a_graph_inside_a_stack_takes_what_follows() -> None:
    view = assert_agree(
        Stack([graph(lambda x: Conv2D(2, 1)(x)), Activation("tanh"), Dense(2)]), SHAPE
    )
    assert kinds(view) == ["Conv2D tanh", "Applied", "Dense"]
    added = graph(lambda x: Add()([x, BatchNormalization()(Dense(3)(x))]))
    view = assert_agree(Stack([Recompute(added), Activation("relu")]), SHAPE)
    assert kinds(view) == ["Dense", "SummingNormalization relu", "Applied", "Applied"]


def read_twice(x: Any) -> Any:
    conv = Conv2D(3, 1)(x)
    return Add()([Activation("relu")(conv), conv])


def normalised_twice(x: Any) -> Any:
    norm = BatchNormalization()(x)
    return Add()([norm, norm])


def three_terms(x: Any) -> Any:
    return Add()([x, BatchNormalization()(x), Dense(3)(x)])


def of_the_input(x: Any) -> Any:
    return Add()([Activation("relu")(x), x])


def shared_layers(x: Any) -> Any:
    relu, norm, add = Activation("relu"), BatchNormalization(), Add()
    y = relu(norm(relu(Dense(3)(x))))
    return add([norm(add([x, y])), y])


@pytest.mark.parametrize(
    "make", [read_twice, normalised_twice, three_terms, of_the_input, shared_layers]
)
def test_values_with_several_readers_stay(make: Any) -> None:
    root = graph(make)
    assert assert_agree(root, SHAPE) is root


# --- random networks ----------------------------------------------------------------------------

ACTIVATIONS = ["relu", "tanh", "hard_sigmoid", "leaky_relu", "gelu", "softmax", "linear"]
LEAVES = [
    lambda name: Conv2D(3, 3, padding="same", activation=name),
    lambda name: Conv2D(3, 1, use_bias=False),
    lambda name: DepthwiseConv2D(1, activation=name),
    lambda name: Dense(3),
    lambda name: BatchNormalization(activation=name),
    lambda name: BatchNormalization(),
    lambda name: Activation(name or "relu"),
    lambda name: Activation("relu"),
    lambda name: Dropout(0.4),
]


@st.composite
def networks(draw: Any, depth: int = 3) -> Layer:
    """A network that keeps the shape, of all containers, in which layers may be shared."""
    made: list[Layer] = []

    def layer(depth: int) -> Layer:
        if made and draw(st.integers(0, 9)) == 0:
            return draw(st.sampled_from(made))
        if depth == 0 or draw(st.booleans()):
            name = draw(st.sampled_from([None, *ACTIVATIONS]))
            found = draw(st.sampled_from(LEAVES))(name)
        else:
            found = container(depth - 1)
        made.append(found)
        return found

    def container(depth: int) -> Layer:
        kind = draw(st.sampled_from(["stack", "stack", "residual", "graph", "concat", "recompute"]))
        if kind == "stack":
            return Stack([layer(depth) for _ in range(draw(st.integers(1, 5)))])
        if kind == "residual":
            shortcut = layer(depth) if draw(st.booleans()) else None
            return Residual(layer(depth), shortcut, draw(st.sampled_from([None, "relu", "gelu"])))
        if kind == "concat":
            return Stack([Concat([layer(depth), layer(depth)]), Dense(3)])
        return Recompute(layer(depth)) if kind == "recompute" else a_graph(depth)

    def a_graph(depth: int) -> Graph:
        nodes = [Input(SHAPE)]
        for _ in range(draw(st.integers(1, 6))):
            if len(nodes) > 1 and draw(st.integers(0, 2)) == 0:
                nodes.append(Add()([nodes[-1], draw(st.sampled_from(nodes[:-1]))]))
            else:
                nodes.append(layer(depth)(nodes[-1]))
        return Graph.between(nodes[0], nodes[-1])

    return Stack([layer(depth) for _ in range(draw(st.integers(1, 4)))])


@settings(max_examples=150)
@given(root=networks(), training=st.booleans())
def test_random_networks_agree(root: Layer, training: bool) -> None:
    assert_agree(root, SHAPE, training=training)


@settings(max_examples=60)
@given(root=networks())
def test_random_networks_agree_on_the_cpu(root: Layer) -> None:
    assert_agree(root, SHAPE, get_device("cpu", threads=2))
