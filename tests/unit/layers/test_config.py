"""Descriptions of networks: through JSON and back, and from files that mean no good."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.layers import (
    Conv2D,
    Dense,
    Dropout,
    Graph,
    Layer,
    MaxPooling2D,
    Residual,
    Stack,
    from_config,
    register_layer,
    to_config,
)
from cpcnn.layers.config import REGISTRY
from cpcnn.networks import NETWORKS, build_network


def through_json(layer: Layer) -> Layer:
    return from_config(json.loads(json.dumps(to_config(layer))))


def test_only_what_differs_from_the_defaults_is_written() -> None:
    assert to_config(Conv2D(8, 3)) == {
        "type": "Conv2D",
        "config": {"filters": 8, "kernel_size": [3, 3]},
    }


def test_tuples_are_tuples_again() -> None:
    layer = through_json(Conv2D(8, 3, padding=((1, 2), (3, 4)), input_shape=(9, 9, 1)))
    assert isinstance(layer, Conv2D)
    assert layer.padding == ((1, 2), (3, 4))
    assert layer.input_shape == (9, 9, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_survive(name: str) -> None:
    network = build_network(name, (32, 32, 3), 7, width=0.25)
    again = through_json(network)
    assert to_config(again) == to_config(network)
    network.build((32, 32, 3))
    again.build((32, 32, 3))
    shapes = {path: param.shape for path, param in network.parameters().items()}
    assert {path: param.shape for path, param in again.parameters().items()} == shapes


def test_a_shared_layer_is_shared_again() -> None:
    shared = Dense(4, name="shared")
    inner = Stack([shared, Dense(4)])
    again = through_json(Stack([shared, inner, Residual(inner, shared), shared]))
    assert isinstance(again, Stack)
    first, second, third, fourth = again.layers
    assert isinstance(second, Stack)
    assert isinstance(third, Residual)
    assert first is second.layers[0] is third.shortcut is fourth
    assert third.body is second
    assert second.layers[1] is not first


def test_a_layer_of_ones_own() -> None:
    @dataclass(eq=False)
    class Scale(Layer):
        factor: float = 1.0

    with pytest.raises(CheckpointError, match=r"'Scale'.*[Ii]mport the module that registers it"):
        through_json(Scale(2.0))
    try:
        assert register_layer(Scale) is Scale
        again = through_json(Scale(2.0))
        assert isinstance(again, Scale)
        assert again.factor == 2.0
        register_layer(Scale)  # once more does no harm
    finally:
        del REGISTRY["Scale"]


@pytest.mark.parametrize("name", ["Dense", "Shared"])
def test_a_name_stands_for_one_class(name: str) -> None:
    known = dict(REGISTRY)
    try:
        with pytest.raises(UsageError, match=f"{name!r} is registered already"):
            register_layer(type(name, (Layer,), {}))
    finally:
        REGISTRY.clear()
        REGISTRY.update(known)


def dense(**config: Any) -> dict[str, Any]:
    return {"type": "Dense", "config": config}


def initializer(kind: Any, **config: Any) -> dict[str, Any]:
    return {"initializer": kind, "config": config}


def stack(*layers: Any) -> dict[str, Any]:
    return {"type": "Stack", "config": {"layers": list(layers)}}


def nested(depth: int) -> dict[str, Any]:
    config = dense(units=1)
    for _ in range(depth):
        config = stack(config)
    return config


def nested_initializer(depth: int) -> dict[str, Any]:
    config = initializer("Zeros")
    for _ in range(depth):
        config = initializer("Constant", value=config)
    return config


def nested_list(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "config",
    [
        None,
        5,
        "Dense",
        [],
        {},
        {"type": "Dense"},
        {"config": {}},
        {"type": "Dense", "config": {"units": 1}, "more": 1},
        {"type": "Dense", "config": None},
        {"type": "Dense", "config": []},
        {"type": "Dense", "config": {}},
        {"type": None, "config": {}},
        {"type": ["Dense"], "config": {"units": 1}},
        {"type": {"a": 1}, "config": {"units": 1}},
        {"type": "dense", "config": {"units": 1}},
        {"type": "Layer", "config": {}},
        {"type": "os.system", "config": {"command": "true"}},
        {"type": "__import__", "config": {}},
        dense(units="1"),
        dense(units=-1),
        dense(units=1.5),
        dense(units=None),
        dense(units=True),
        dense(units=1, path="x"),
        dense(units=1, kernel=1),
        dense(units=1, output_shape=[1]),
        dense(units=1, no_such_option=1),
        dense(units=1, activation="no_such_activation"),
        dense(units=1, activation=["relu"]),
        dense(units=1, activation=dense(units=1)),
        dense(units=dense(units=1)),
        dense(units=initializer("Zeros")),
        dense(units=1, activation=initializer("Zeros")),
        dense(units=1, kernel_initializer=initializer("NoSuchRule")),
        dense(units=1, kernel_initializer=initializer("zeros")),
        dense(units=1, kernel_initializer=initializer("Dense", units=1)),
        dense(units=1, kernel_initializer=initializer(["Zeros"])),
        dense(units=1, kernel_initializer=initializer("Constant", value="1")),
        dense(units=1, kernel_initializer=initializer("Constant", value=[1])),
        dense(units=1, kernel_initializer=initializer("Constant", value=dense(units=1))),
        dense(units=1, kernel_initializer=initializer("Constant", size=1)),
        dense(units=1, kernel_initializer=initializer("HeNormal", seed=0.5)),
        dense(units=1, kernel_initializer={"initializer": "Zeros", "config": []}),
        dense(units=1, kernel_initializer={"initializer": "Zeros"}),
        dense(units=1, kernel_initializer={"type": "Zeros", "config": {}}),
        initializer("Zeros"),
        stack(initializer("Zeros")),
        dense(units={}),
        dense(units={"type": "Dense"}),
        stack(5),
        stack(None),
        stack("Dense"),
        stack([dense(units=1)]),
        {"type": "Stack", "config": {"layers": 5}},
        {"type": "Stack", "config": {"layers": dense(units=1)}},
        {"type": "Residual", "config": {}},
        {"type": "Residual", "config": {"body": 5}},
        {"type": "Residual", "config": {"body": None}},
        {"type": "Residual", "config": {"body": dense(units=1), "shortcut": 1}},
        {"type": "Graph", "config": {"layers": [dense(units=1)], "steps": [[0, [7]]]}},
        {"type": "Graph", "config": {"layers": [dense(units=1)], "steps": [[0]]}},
        {"type": "Graph", "config": {"layers": [dense(units=1)], "steps": [[0, 0]]}},
        {"type": "Graph", "config": {"layers": [dense(units=1)], "steps": [["0", [0]]]}},
        {"type": "Graph", "config": {"layers": [dense(units=1)], "steps": [[0.5, [0]]]}},
        {"type": "Graph", "config": {"layers": [dense(units=1)], "steps": [[0, [0.5]]]}},
        {"type": "Graph", "config": {"layers": [dense(units=1)], "steps": [[0, ["a"]]]}},
        {"type": "Graph", "config": {"layers": [], "steps": 3}},
        {"type": "Conv2D", "config": {"filters": 1, "kernel_size": [0, 3]}},
        {"type": "Conv2D", "config": {"filters": 1, "kernel_size": "33"}},
        {"type": "Conv2D", "config": {"filters": 1, "kernel_size": 3, "groups": 0}},
        {"type": "Dropout", "config": {"rate": "half"}},
        {"type": "Dropout", "config": {"rate": None}},
        {"type": "BatchNormalization", "config": {"epsilon": [1]}},
        {"type": "MaxPooling2D", "config": {"pool_size": {"type": "x", "config": {}}}},
        {"type": "Shared", "config": {"number": 0}},
        {"type": "Shared", "config": {}},
        stack(dense(units=1), {"type": "Shared", "config": {"number": -1}}),
        stack(dense(units=1), {"type": "Shared", "config": {"number": 1}}),
        stack(dense(units=1), {"type": "Shared", "config": {"number": "0"}}),
        stack(dense(units=1), {"type": "Shared", "config": {"number": True}}),
    ],
    ids=lambda config: repr(config)[:60],
)
def test_a_description_that_makes_no_sense_is_a_checkpoint_error(config: Any) -> None:
    with pytest.raises(CheckpointError):
        from_config(config)


def test_depth_that_would_exhaust_the_stack() -> None:
    for config in (
        nested(1000),
        nested_list(5000),
        dense(units=nested_list(5000)),
        dense(units=1, kernel_initializer=nested_initializer(5000)),
        stack(nested_list(500)),
    ):
        with pytest.raises(CheckpointError):
            from_config(config)


def test_honest_depth_is_no_problem() -> None:
    assert from_config(nested(20)).build((3,)) == (1,)


def test_layers_that_are_written_hold_no_state() -> None:
    """A built network is described like one that was not built."""
    network = Stack([Conv2D(2, 3), MaxPooling2D(), Dropout(0.1)])
    before = to_config(network)
    network.build((8, 8, 1))
    assert to_config(network) == before
    assert isinstance(through_json(Graph()), Graph)
