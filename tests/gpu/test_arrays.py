"""Arrays that a GPU must get right or refuse: very large ones, foreign ones, ones with gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import DeviceError
from cpcnn.core.window import Window
from cpcnn.devices import Device

pytestmark = pytest.mark.gpu

LARGE = (2**31 + 2**20) // (1024 * 1024)  # images of 1024 × 1024 elements


def test_more_elements_than_32_bits_count(gpu: Device, cupy: Any) -> None:
    """The last image of a large batch gets the same as it gets alone."""
    if cupy.cuda.runtime.memGetInfo()[0] < 24 << 30:
        pytest.skip("needs 24 GiB of free GPU memory")
    with gpu.scope():
        x = cupy.zeros((LARGE, 256, 256, 16), "float16")
        last = cupy.random.default_rng(0).standard_normal((1, 256, 256, 16), "float32")
        x[-1:] = last.astype("float16")
        ctx = Context(gpu, training=True, grad=True)
        window = Window((2, 2), (2, 2))
        y, record = ctx.ops.max_pool(x, window)
        alone, alone_record = ctx.ops.max_pool(x[-1:], window)
        assert bool((y[-1:] == alone).all())
        dx = ctx.ops.backward(y, record)
        assert bool((dx[-1:] == ctx.ops.backward(alone, alone_record)).all())
        del y, record, dx
        y, _ = ctx.ops.activation(x, "relu")
        assert bool((y[-1] == cupy.maximum(x[-1], 0)).all())
    cupy.get_default_memory_pool().free_all_blocks()


def test_arrays_with_gaps(gpu: Device, cupy: Any) -> None:
    ctx = Context(gpu, grad=True)
    host = np.random.default_rng(0).standard_normal((3, 8, 8, 8)).astype("float32")
    window = Window((3, 3), (2, 2))
    with gpu.scope():
        x = gpu.put(host)[:, ::2, :, 1::2]
        found, _ = ctx.ops.max_pool(x, window)
        expected, _ = ctx.ops.max_pool(gpu.put(host[:, ::2, :, 1::2]), window)
        assert bool((found == expected).all())


def test_arrays_of_another_device(gpu: Device) -> None:
    ctx = Context(gpu, grad=True)
    with pytest.raises(DeviceError, match=r"device\.put"), gpu.scope():
        ctx.ops.max_pool(np.zeros((1, 4, 4, 1), "float32"), Window((2, 2)))


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(gpu: Device, batch: int) -> None:
    ctx = Context(gpu, training=False, grad=True)
    with gpu.scope():
        x = gpu.put(np.ones((batch, 5, 5, 3), "float32"))
        w = gpu.put(np.ones((3, 3, 3, 7), "float32"))
        y, record = ctx.ops.conv2d(x, w, None, Window((3, 3)))
        assert y.shape == (batch, 3, 3, 7)
        dx, dw, _ = ctx.ops.backward(y, record)
        assert dx.shape == x.shape
        assert bool((dw == (27 * 9 * batch)).all())
