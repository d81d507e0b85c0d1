"""Layers made of functions: what they compute, their shapes, and how they are saved."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import CheckpointError, ShapeError, UsageError
from cpcnn.devices import get_device
from cpcnn.layers import Dense, Lambda, Stack, from_config, register_functions, to_config
from cpcnn.layers.base import assign_paths
from cpcnn.testing import check_layer

CTX = Context(get_device("numpy"), grad=True)


@pytest.fixture(autouse=True)
def forget_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpcnn.layers.lambda_layer.REGISTERED", {})


def halve(xp: Any, x: Any) -> Any:
    return x / 2


def halve_gradient(xp: Any, dy: Any, saved: Any) -> Any:
    assert saved is None
    return dy / 2


def square(xp: Any, x: Any) -> Any:
    return xp.square(x), x


def square_gradient(xp: Any, dy: Any, x: Any) -> Any:
    return 2 * x * dy


def first_pixel(xp: Any, x: Any) -> Any:
    return x[:, 0, 0, :], x.shape


def first_pixel_gradient(xp: Any, dy: Any, shape: Any) -> Any:
    dx = xp.zeros(shape, dtype=dy.dtype)
    dx[:, 0, 0, :] = dy
    return dx


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize(
    ("functions", "output"),
    [
        ((halve, halve_gradient), (4, 5, 3)),
        ((square, square_gradient), (4, 5, 3)),
        ((first_pixel, first_pixel_gradient), (3,)),
    ],
)
def test_pairs_of_functions(functions: Any, output: Any, device: str) -> None:
    assert Lambda(*functions).build((4, 5, 3)) == output
    check_layer(Lambda(*functions), (4, 5, 3), device=device, configuration=False)
    register_functions("pair", *functions)
    check_layer(Lambda("pair", name="named"), (4, 5, 3), device=device)


def test_evaluation_keeps_nothing() -> None:
    y, saved = Lambda(square, square_gradient).forward(np.ones(3), Context(CTX.device))
    assert saved is None
    assert np.array_equal(y, np.ones(3))


def test_a_shape_can_be_told() -> None:
    def refuse(xp: Any, x: Any) -> Any:
        raise AssertionError("called to find the shape")

    assert Lambda(refuse, halve_gradient, (7,)).build((4, 5, 3)) == (7,)


@pytest.mark.parametrize("function", [lambda xp, x: xp.sum(x), lambda xp, x: x[0], lambda xp, x: 5])
def test_the_batch_must_be_kept(function: Any) -> None:
    with pytest.raises(ShapeError, match="Axis 0 is the batch"):
        Stack([Lambda(function, halve_gradient)]).build((4, 3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((halve,), "two functions"),
        ((halve, 5), "two functions"),
        ((None, halve_gradient), "two functions"),
        (("unheard",), "no functions registered under the name 'unheard'"),
        ((halve, halve_gradient, (3, 0)), "positive integers"),
        ((lambda x: x, halve_gradient), r"Lambda calls function\(xp, x\): too many"),
        ((halve, lambda dy: dy), r"Lambda calls gradient\(xp, dy, saved\): too many"),
    ],
)
def test_what_makes_no_layer(arguments: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Lambda(*arguments)


def test_a_name_stands_for_both_functions() -> None:
    register_functions("halve", halve, halve_gradient)
    with pytest.raises(UsageError, match="alone"):
        Lambda("halve", halve_gradient)


def test_a_name_belongs_to_one_pair() -> None:
    register_functions("halve", halve, halve_gradient)
    register_functions("halve", halve, halve_gradient)
    with pytest.raises(UsageError, match="'halve' already"):
        register_functions("halve", square, square_gradient)


def test_registered_functions_are_saved_by_name() -> None:
    register_functions("halve", halve, halve_gradient)
    config = to_config(Stack([Lambda("halve", result_shape=(2,))]))
    layer: Any = from_config(json.loads(json.dumps(config)))
    assert layer.layers[0].functions == (halve, halve_gradient)
    assert layer.layers[0].result_shape == (2,)


def test_a_name_that_is_not_registered_cannot_be_loaded() -> None:
    register_functions("halve", halve, halve_gradient)
    config = to_config(Lambda("halve"))
    config["config"]["function"] = "os.system"
    with pytest.raises(CheckpointError, match="no functions registered under the name 'os"):
        from_config(config)


def test_functions_without_a_name_cannot_be_saved() -> None:
    network = Stack([Dense(2), Stack([Lambda(halve, halve_gradient)], name="top")])
    assign_paths(network)
    with pytest.raises(UsageError, match=r"layer 'top.lambda' cannot be saved.*register_functions"):
        to_config(network)
