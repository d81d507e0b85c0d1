"""Names and paths, shared layers, graphs, memory, and the split of a final softmax."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.param import ParamStore
from cpcnn.devices import get_device
from cpcnn.layers import (
    Activation,
    Add,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePooling2D,
    Graph,
    Input,
    Layer,
    MaxPooling2D,
    Residual,
    Stack,
)
from cpcnn.layers.base import snake_case, unique_names
from cpcnn.layers.fuse import split_softmax

NUMPY = get_device("numpy")


def started(layer: Layer, shape: Any) -> ParamStore:
    layer.build(shape)
    store = ParamStore(layer.parameters(), NUMPY)
    store.initialize(0)
    return store


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("Conv2D", "conv2d"),
        ("MaxPooling2D", "max_pooling2d"),
        ("GlobalAveragePooling2D", "global_average_pooling2d"),
        ("BatchNormalization", "batch_normalization"),
        ("Dense", "dense"),
    ],
)
def test_snake_case(class_name: str, name: str) -> None:
    assert snake_case(class_name) == name


def test_repeats_are_numbered() -> None:
    layers = [Dense(1), Flatten(), Dense(1), Dense(1, name="head"), Dense(1)]
    assert unique_names(layers) == ["dense", "flatten", "dense_1", "head", "dense_2"]


def test_given_names_come_first() -> None:
    layers = [Dense(1), Dense(1, name="dense"), Dense(1, name="dense_1"), Dense(1)]
    assert unique_names(layers) == ["dense_2", "dense", "dense_1", "dense_3"]


def test_a_second_use_is_numbered() -> None:
    named, unnamed = Dense(1, name="shared"), Flatten()
    names = unique_names([named, unnamed, named, unnamed])
    assert names == ["shared", "flatten", "shared_1", "flatten_1"]


@pytest.mark.parametrize("name", ["", "a.b", 5, ("a",)])
def test_names_are_parts_of_paths(name: Any) -> None:
    with pytest.raises(UsageError, match="layer name"):
        Stack([Dense(1, name=name)]).children()


def test_two_layers_of_one_name() -> None:
    with pytest.raises(UsageError, match="'a' is used twice"):
        Stack([Dense(1, name="a"), Dense(1, name="a")]).build((3,))


def test_paths_of_parameters() -> None:
    network = Stack(
        [
            Stack([Conv2D(2, 3, name="conv")], name="stem"),
            Residual(Stack([Conv2D(2, 1)]), Conv2D(2, 1)),
            Flatten(),
            Dense(3, use_bias=False),
        ]
    )
    network.build((5, 5, 2))
    assert list(network.parameters()) == [
        "stem.conv.kernel",
        "stem.conv.bias",
        "residual.body.conv2d.kernel",
        "residual.body.conv2d.bias",
        "residual.shortcut.kernel",
        "residual.shortcut.bias",
        "dense.kernel",
    ]


def test_a_shared_layer_has_its_parameters_once() -> None:
    shared = Dense(4, name="shared")
    network = Stack([shared, Stack([Dense(4), shared])])
    network.build((4,))
    assert [path for path in network.parameters() if "shared" in path] == [
        "shared.kernel",
        "shared.bias",
    ]
    assert sum(layer is shared for _, layer in network.walk()) == 1


def test_a_shared_layer_needs_one_shape() -> None:
    shared = Dense(4)
    with pytest.raises(ShapeError, match=r"layer 'dense_1': .*\(3, 4\).*\(4, 4\)"):
        Stack([shared, shared]).build((3,))


# --- graphs -----------------------------------------------------------------------------------


def test_a_graph_takes_only_what_leads_to_its_output() -> None:
    image = Input((4,))
    used = Dense(3)(image)
    Dense(5)(used)
    graph = Graph.between(image, Activation("tanh")(used))
    assert [type(layer).__name__ for layer in graph.layers] == ["Dense", "Activation"]
    assert graph.steps == [(0, (0,)), (1, (1,))]


def test_a_graph_orders_layers_by_what_they_read() -> None:
    image = Input((4,))
    late, early = Dense(4, name="late"), Dense(4, name="early")
    first = early(image)
    output = Add()([late(first), first, image])
    graph = Graph.between(image, output)
    assert list(graph.children()) == ["early", "late", "add"]
    assert graph.steps[-1] == (2, (2, 1, 0))


def test_a_deep_graph_needs_no_deep_stack() -> None:
    image = node = Input((2,))
    for _ in range(1200):
        node = Activation("tanh")(node)
    graph = Graph.between(image, node)
    y, _ = graph.forward(np.ones((1, 2)), Context(NUMPY))
    assert graph.build((2,)) == (2,)
    assert y.shape == (1, 2)


def test_a_graph_of_nothing_is_the_identity() -> None:
    image = Input((3,))
    graph = Graph.between(image, image)
    x = np.ones((2, 3))
    y, saved = graph.forward(x, Context(NUMPY, grad=True))
    assert y is x
    assert graph.backward(x, saved, Context(NUMPY, grad=True)) is x


def test_an_output_of_another_input_is_a_shape_error() -> None:
    image, other = Input((3,)), Input((3,))
    with pytest.raises(ShapeError, match="Input that the model was not given"):
        Graph.between(image, Add()([image, other]))


def test_layers_are_called_on_nodes() -> None:
    with pytest.raises(UsageError, match=r"layer 'dense' was called on ndarray"):
        Dense(3)(np.ones((2, 3)))
    with pytest.raises(UsageError, match="takes one input, got 2"):
        Dense(3)([Input((3,)), Input((3,))])


@pytest.mark.parametrize(
    ("layers", "steps"),
    [
        ([Dense(1)], [(1, (0,))]),
        ([Dense(1)], [(-1, (0,))]),
        ([Dense(1)], [(0, (1,))]),
        ([Dense(1)], [(0, (-1,))]),
        ([Dense(1)], [(0, ())]),
        ([Dense(1)], [(0, (0, 0))]),
        ([Dense(1), Dense(1)], [(0, (0,)), (1, (0,))]),
        ([Add()], [(0, (0, 2))]),
        ([5], []),
    ],
)
def test_steps_that_make_no_graph(layers: Any, steps: Any) -> None:
    with pytest.raises(UsageError, match="Graph"):
        Graph(layers, steps)


# --- input gradients, memory ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Stack([Conv2D(2, 1), Conv2D(2, 3)]), (5, 5, 2)),
        (lambda: Residual(Conv2D(2, 1)), (5, 5, 2)),
        (lambda: Residual(Stack([Conv2D(2, 1)]), Conv2D(2, 1)), (5, 5, 2)),
        (lambda: Stack([Residual(Dense(3)), Dense(2)]), (3,)),
    ],
)
def test_parameters_learn_the_same_without_input_gradient(make: Any, shape: Any) -> None:
    network = make()
    store = started(network, shape)
    gradients = []
    for wanted in (True, False):
        store.zero_grad()
        ctx = Context(NUMPY, training=True, grad=True, input_gradient=wanted)
        y, saved = network.forward(np.ones((2, *shape), np.float32), ctx)
        network.backward(np.ones_like(y), saved, ctx)
        gradients.append(store.grads.copy())
    assert gradients[0].any()
    assert np.array_equal(*gradients)


def test_graphs_learn_the_same_without_input_gradient() -> None:
    image = Input((5, 5, 2))
    left = Conv2D(2, 1)(image)
    graph = Graph.between(image, Add()([image, left, Conv2D(2, 1)(image)]))
    store = started(graph, (5, 5, 2))
    gradients = []
    for wanted in (True, False):
        store.zero_grad()
        ctx = Context(NUMPY, grad=True, input_gradient=wanted)
        y, saved = graph.forward(np.ones((2, 5, 5, 2), np.float32), ctx)
        graph.backward(np.ones_like(y), saved, ctx)
        gradients.append(store.grads.copy())
    assert np.array_equal(*gradients)


class Watch(Layer):
    """A layer that looks which of its earlier outputs are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[weakref.ref[Any]] = []
        self.alive: list[int] = []

    def build(self, shape: Any) -> Any:
        return shape

    def count(self) -> int:
        gc.collect()
        return sum(output() is not None for output in self.outputs)

    def forward(self, x: Any, ctx: Context) -> tuple[Any, Any]:
        y = x + 1
        self.alive.append(self.count())
        self.outputs.append(weakref.ref(y))
        return y, y if ctx.grad else None

    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        del saved
        self.alive.append(self.count())
        return dy + 0


@pytest.mark.parametrize("make", [
    lambda watch: Stack([watch] * 4),
    lambda watch: Graph([watch], [(0, (k,)) for k in range(4)]),
])  # fmt: skip
def test_activations_die_as_backward_consumes_them(make: Any) -> None:
    watch = Watch()
    network = make(watch)
    ctx = Context(NUMPY, grad=True)
    y, saved = network.forward(np.ones(3), ctx)
    assert watch.alive == [0, 1, 2, 3]
    del y
    network.backward(np.ones(3), saved, ctx)
    assert watch.alive[4:] == [3, 2, 1, 0]


@pytest.mark.parametrize("make", [
    lambda watch: Stack([watch] * 4),
    lambda watch: Graph([watch], [(0, (k,)) for k in range(4)]),
])  # fmt: skip
def test_evaluation_keeps_nothing_alive(make: Any) -> None:
    watch = Watch()
    make(watch).forward(np.ones(3), Context(NUMPY))
    assert max(watch.alive) <= 1  # the layer's own input


# --- softmax ----------------------------------------------------------------------------------


def functional() -> Layer:
    image = Input((4, 4, 2))
    return Graph.between(image, Dense(3, activation="softmax")(Flatten()(image)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stack([Flatten(), Dense(3, activation="softmax")]),
        lambda: Stack([Flatten(), Dense(3), Activation("softmax")]),
        lambda: Stack([Flatten(), Stack([Stack([Dense(3, activation="softmax")])])]),
        lambda: Stack([GlobalAveragePooling2D(), Activation("softmax")]),
        functional,
        lambda: Stack([functional()]),
    ],
)
def test_a_final_softmax_is_taken_off(make: Any) -> None:
    root = make()
    store = started(root, (4, 4, 2))
    logits_root, found = split_softmax(root)
    assert found
    assert set(map(id, logits_root.parameters().values())) == set(map(id, store.params.values()))
    x = np.linspace(-1, 1, 96, dtype=np.float32).reshape(3, 4, 4, 2)
    ctx = Context(NUMPY)
    y, _ = root.forward(x, ctx)
    logits, _ = logits_root.forward(x, ctx)
    np.testing.assert_allclose(ctx.ops.activation(logits, "softmax")[0], y, rtol=1e-6)
    assert not np.allclose(logits, y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stack([Flatten(), Dense(3)]),
        lambda: Stack([Dense(3, activation="softmax"), Flatten()]),
        lambda: Stack([Conv2D(2, 1, activation="softmax"), MaxPooling2D()]),
        lambda: Stack([]),
        # the same layer in the middle has to keep its softmax
        lambda: Stack([shared := Dense(2, activation="softmax"), shared]),
        lambda: Graph([Dense(2, activation="softmax")], [(0, (0,)), (0, (1,))]),
    ],
)
def test_any_other_network_is_left_alone(make: Any) -> None:
    root = make()
    assert split_softmax(root) == (root, False)
