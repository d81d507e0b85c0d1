"""Names and paths, shared layers, graphs, branches, memory, and computing a second time."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.core.typing import Shape
from cpcnn.devices import get_device
from cpcnn.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Graph,
    Input,
    Layer,
    Recompute,
    Residual,
    Stack,
)
from cpcnn.layers.base import assign_paths, snake_case, unique_names
from cpcnn.layers.fuse import fuse

NUMPY = get_device("numpy")
IMAGES = (6, 5, 3)


def images(count: int = 4) -> Any:
    return Philox(7, "images").normal((count, *IMAGES))


def started(layer: Layer, shape: Any) -> ParamStore:
    layer.build(shape)
    assign_paths(layer)
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


# --- random layers at several places ----------------------------------------------------------


def masks(network: Any) -> list[Any]:
    """What a network of dropouts alone makes of ones, and the same from its gradient."""
    started(network, (400,))
    ctx = Context(NUMPY, training=True, grad=True)
    y, saved = network.forward(np.ones((1, 400), np.float32), ctx)
    return [y, network.backward(np.ones_like(y), saved, ctx)]


def graph_of_dropouts(drop: Layer) -> Graph:
    image = Input((400,))
    return Graph.between(image, drop(drop(image)))


def nested(drop: Layer) -> Stack:
    return Stack([drop, Stack([drop])])


def a_stack_twice(drop: Layer) -> Stack:
    inner = Stack([drop])
    return Stack([inner, inner])


@pytest.mark.parametrize(
    "make",
    [
        lambda drop: Stack([drop, drop]),
        lambda drop: Stack([drop, Recompute(drop)]),
        nested,
        a_stack_twice,
        graph_of_dropouts,
    ],
)
def test_a_shared_dropout_draws_anew_at_every_place(make: Any) -> None:
    y, gradient = masks(make(Dropout(0.5)))
    assert np.array_equal(y, gradient)  # of ones either way, so both are the product of the masks
    assert set(np.unique(y)) == {0, 4}
    assert 60 < np.count_nonzero(y) < 140  # a quarter, not a half


def test_the_first_place_draws_what_a_layer_alone_draws() -> None:
    drop = Dropout(0.5)
    (once, _), (twice, _) = masks(Stack([drop])), masks(Stack([drop, drop]))
    assert set(np.unique(once)) == {0, 2}
    assert not np.any((once == 0) & (twice != 0))


def test_the_arms_of_a_block_draw_apart() -> None:
    drop = Dropout(0.5)
    for make in (lambda: Residual(drop, drop), lambda: Concat([drop, drop])):
        y, _ = masks(make())
        first, second = (y, 4 - y) if y.shape[1] == 400 else np.split(y, 2, axis=1)
        assert not np.array_equal(first, second)
        assert len(np.unique(y)) == (3 if y.shape[1] == 400 else 2)


# --- branches ---------------------------------------------------------------------------------


def test_branches_are_joined_along_the_channels() -> None:
    network = Concat([Conv2D(2, 1), Stack([]), Conv2D(4, 3, padding="same", name="wide")])
    store = started(network, IMAGES)
    assert list(network.children()) == ["conv2d", "stack", "wide"]
    x = images()
    y, saved = network.forward(x, Context(NUMPY))
    assert y.shape == (4, 6, 5, 9)
    assert np.array_equal(y[..., 2:5], x)
    assert not list(filter(None, saved or []))
    assert sorted(store.params) == ["conv2d.bias", "conv2d.kernel", "wide.bias", "wide.kernel"]


@pytest.mark.parametrize("axis", [1, -3])
def test_branches_are_joined_along_another_axis(axis: int) -> None:
    network = Concat([Stack([]), Conv2D(3, 2, padding=((0, 0), (0, 1)))], axis)
    started(network, IMAGES)
    assert network.forward(images(), Context(NUMPY))[0].shape == (4, 11, 5, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Concat([]), "at least one branch"),
        (lambda: Concat([Dense(1)], axis=0), "not 0, the batch"),
        (lambda: Concat([Dense(1)], axis=1.0), "whole number"),  # type: ignore[arg-type]
        (lambda: Concat([5]), "made of layers"),  # type: ignore[list-item]
    ],
)
def test_branches_that_cannot_be_meant(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("branches", "axis", "words"),
    [
        ([Stack([]), Conv2D(3, 3)], -1, r"\(6, 5, 3\) and \(4, 3, 3\) cannot be joined"),
        ([Stack([]), Flatten()], -1, r"\(6, 5, 3\) and \(90,\) cannot be joined"),
        ([Stack([]), Stack([])], 4, "no axis 4"),
        ([Stack([]), Stack([])], -4, "no axis -4"),
    ],
)
def test_branches_that_do_not_fit(branches: Any, axis: int, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        Concat(branches, axis).build(IMAGES)


# --- input gradients, memory ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Stack([Conv2D(2, 1), Conv2D(2, 3)]), (5, 5, 2)),
        (lambda: Residual(Conv2D(2, 1)), (5, 5, 2)),
        (lambda: Residual(Stack([Conv2D(2, 1)]), Conv2D(2, 1)), (5, 5, 2)),
        (lambda: Stack([Residual(Dense(3)), Dense(2)]), (3,)),
        (lambda: Concat([Conv2D(2, 1), Stack([]), Dense(3)]), (5, 5, 2)),
        (lambda: Stack([Recompute(Stack([Conv2D(2, 1)])), Recompute(Dense(3))]), (5, 5, 2)),
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


@pytest.mark.parametrize("make", [
    lambda hoard, watch: Stack([*hoard, watch]),
    lambda hoard, watch: Graph([*hoard, watch], [(k, (k,)) for k in range(4)]),
    lambda hoard, watch: Concat([*hoard, watch]),
    lambda hoard, watch: fuse(Residual(Stack([*hoard, watch, BatchNormalization()]))),
])  # fmt: skip
def test_evaluation_keeps_not_even_what_layers_give(make: Any) -> None:
    watch = Watch()

    class Hoarder(Watch):
        def forward(self, x: Any, ctx: Context) -> tuple[Any, Any]:
            saved = x + 2
            watch.outputs.append(weakref.ref(saved))
            return x + 1, saved

    network = make([Hoarder() for _ in range(3)], watch)
    started(network, (3,))
    network.forward(np.ones((2, 3), np.float32), Context(NUMPY))
    assert watch.alive[0] <= 1  # what the layer before gave


# --- computing a second time ------------------------------------------------------------------


def block() -> Stack:
    return Stack(
        [
            Conv2D(3, 3, padding="same", use_bias=False),
            BatchNormalization(momentum=0.9),
            Activation("tanh"),
            Dropout(0.3),
        ]
    )


def in_a_graph(wrap: Any, a: Layer, b: Layer) -> Graph:
    image = Input(IMAGES)
    first = wrap(a)(image)
    return Graph.between(image, Add()([wrap(b)(first), first, image]))


NETWORKS: dict[str, Any] = {
    "one after the other": lambda wrap, a, b: Stack([wrap(a), wrap(b)]),
    "one inside the other": lambda wrap, a, b: wrap(Stack([a, wrap(wrap(b))])),
    "a residual block": lambda wrap, a, b: Residual(wrap(a), wrap(b), "relu"),
    "around a residual block": lambda wrap, a, b: Stack([wrap(Residual(a)), wrap(Residual(b))]),
    "branches": lambda wrap, a, b: Concat([wrap(a), wrap(b)]),
    "a graph": in_a_graph,
    "around a graph": lambda wrap, a, b: wrap(in_a_graph(wrap, a, b)),
}


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("input_gradient", [True, False])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_recomputing_changes_no_bit(make: Any, input_gradient: bool, device: str) -> None:
    place = get_device(device, threads=2)
    blocks = block(), block()
    plain, wrapped = (make(wrap, *blocks) for wrap in (lambda layer: layer, Recompute))
    plain.build(IMAGES)
    wrapped.build(IMAGES)
    assign_paths(plain)
    results = []
    for network in (plain, wrapped):  # of the same layers, with the paths that they have in `plain`
        store = ParamStore(plain.parameters(), place)
        store.initialize(0)
        ctx = Context(place, training=True, grad=True, input_gradient=input_gradient)
        with place.scope():
            y, saved = network.forward(images(), ctx)
            dx = network.backward(np.cos(y), saved, ctx)
        assert not saved
        results.append((y, dx if input_gradient else y, store.grads, store.values))
    assert results[0][2].any()
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


def peak_of_a_step(network: Layer, shape: Shape) -> int:
    """The most bytes that a forward and backward pass have in use."""
    started(network, shape)
    x = Philox(0, "x").normal((8, *shape))
    ctx = Context(NUMPY, training=True, grad=True)
    tracemalloc.start()
    y, saved = network.forward(x, ctx)
    network.backward(y, saved, ctx)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_recomputing_needs_less_memory() -> None:
    shape = (24, 24, 3)
    plain = peak_of_a_step(Stack([block() for _ in range(8)]), shape)
    less = peak_of_a_step(Stack([Recompute(block()) for _ in range(8)]), shape)
    assert less < 0.5 * plain, f"{less / 1e6:.2f} MB with Recompute, {plain / 1e6:.2f} MB without"


def test_evaluation_computes_once() -> None:
    watch = Watch()
    Recompute(watch).forward(np.ones(3), Context(NUMPY))
    assert len(watch.outputs) == 1


def test_recompute_is_around_a_layer() -> None:
    with pytest.raises(UsageError, match="made of layers"):
        Recompute(3)  # type: ignore[arg-type]
