"""What a context tells layers."""

from __future__ import annotations

import numpy as np

from cpcnn.core.context import Context, Policy
from cpcnn.core.param import Param, ParamStore
from cpcnn.devices import get_device
from cpcnn.layers.initializers import Ones

NUMPY = get_device("numpy")


def test_the_interior_needs_input_gradients() -> None:
    ctx = Context(NUMPY, training=True, grad=True, input_gradient=False)
    inside = ctx.interior
    assert inside is ctx.interior
    assert inside.input_gradient
    assert (inside.training, inside.grad, inside.rng) == (True, True, ctx.rng)
    assert inside.interior is inside
    everywhere = Context(NUMPY)
    assert everywhere.interior is everywhere


def test_the_ops_of_the_interior_see_the_interior() -> None:
    ctx = Context(NUMPY, grad=True, input_gradient=False)
    x, w = np.ones((2, 3)), np.ones((3, 4))
    for here, expected in ((ctx, False), (ctx.interior, True)):
        y, record = here.ops.dense(x, w, None)
        dx, dw, _ = here.ops.backward(y, record)
        assert (dx is not None) is expected
        assert dw is not None


def test_parameters_are_used_in_the_compute_dtype() -> None:
    param = Param((2,), Ones())
    ParamStore({"p": param}, NUMPY).initialize(0)
    assert Context(NUMPY).use(param) is param.value
    wide = Context(NUMPY, policy=Policy(compute="float64")).use(param)
    assert wide is not None
    assert wide.dtype == np.float64
    assert Context(NUMPY).use(None) is None


def test_memory_and_transfer_are_the_devices() -> None:
    ctx = Context(NUMPY)
    assert ctx.xp is np
    assert ctx.empty((2, 3), "float32").shape == (2, 3)
    assert ctx.empty((2,), "float32").dtype == np.float32
    assert ctx.host(np.ones(2)).tolist() == [1, 1]


def test_without_grad_no_record_is_kept() -> None:
    _, record = Context(NUMPY).ops.activation(np.ones((1, 2)), "relu")
    assert record is None
