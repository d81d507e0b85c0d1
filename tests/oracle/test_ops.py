"""Ops against PyTorch, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import get_device

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.parametrize("device", ["numpy", "cpu"]),
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
]
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


def draw(dtype: str, *shape: int, stream: str = "x") -> Any:
    return Philox(0, stream).normal(shape).astype(dtype)


def leaf(array: Any) -> Any:
    return torch.from_numpy(array.copy()).requires_grad_(True)


def images(tensor: Any) -> Any:
    """(N, H, W, C) to PyTorch's (N, C, H, W)."""
    return tensor.permute(0, 3, 1, 2)


def run(device: str, name: str, *args: Any, dy: Any, training: bool = True, **options: Any) -> Any:
    ctx = Context(get_device(device, threads=2), training=training, grad=True)
    with ctx.device.scope():  # type: ignore[attr-defined]
        y, record = getattr(ctx.ops, name)(*args, **options)
        gradients = ctx.ops.backward(dy, record)
    return [y, *(gradients if isinstance(gradients, tuple) else [gradients])]


def compare(found: list[Any], y: Any, dy: Any, leaves: list[Any], dtype: str) -> None:
    y.backward(torch.from_numpy(dy))
    expected = [y.detach().numpy(), *(one.grad.numpy() for one in leaves)]
    found = [array for array in found if array is not None]
    for one, other in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(one, other, atol=TOLERANCE[dtype] * scale, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("channels", "filters", "groups", "kernel", "stride", "padding", "dilation"),
    [
        (3, 16, 1, 3, 1, 1, 1),
        (16, 24, 1, 3, 2, 1, 1),
        (16, 8, 1, 1, 1, 0, 1),
        (16, 8, 1, 1, 2, 0, 1),
        (3, 8, 1, 7, 2, 3, 1),
        (8, 12, 4, 3, 1, 1, 2),
        (6, 6, 6, 3, 1, 0, 1),
        (64, 32, 1, 3, 1, 2, 2),
    ],
)
def test_conv2d(
    dtype: str,
    device: str,
    channels: int,
    filters: int,
    groups: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    bias: bool,
) -> None:
    window = Window(
        (kernel, kernel), (stride,) * 2, (dilation,) * 2, ((padding,) * 2, (padding,) * 2)
    )
    x = draw(dtype, 5, 17, 15, channels)
    w = draw(dtype, kernel, kernel, channels // groups, filters, stream="w")
    b = draw(dtype, filters, stream="b") if bias else None
    dy = draw(dtype, 5, *window.output(17, 15), filters, stream="dy")
    found = run(device, "conv2d", x, w, b, window, groups=groups, dy=dy)
    leaves = [leaf(array) for array in (x, w, b) if array is not None]
    y = F.conv2d(
        images(leaves[0]),
        leaves[1].permute(3, 2, 0, 1),
        leaves[2] if bias else None,
        stride,
        padding,
        dilation,
        groups,
    )
    compare(found, y.permute(0, 2, 3, 1), dy, leaves, dtype)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
def test_pooling(
    dtype: str, device: str, name: str, kernel: int, stride: int, padding: int
) -> None:
    window = Window((kernel,) * 2, (stride,) * 2, (1, 1), ((padding,) * 2, (padding,) * 2))
    x = draw(dtype, 4, 14, 13, 6)
    dy = draw(dtype, 4, *window.output(14, 13), 6, stream="dy")
    found = run(device, name, x, window, dy=dy)
    source = leaf(x)
    if name == "max_pool":
        y = F.max_pool2d(images(source), kernel, stride, padding)
    else:
        y = F.avg_pool2d(images(source), kernel, stride, padding, count_include_pad=False)
    compare(found, y.permute(0, 2, 3, 1), dy, [source], dtype)


@pytest.mark.parametrize("name", ["global_max_pool", "global_average_pool"])
def test_global_pooling(dtype: str, device: str, name: str) -> None:
    x, dy = draw(dtype, 4, 7, 5, 6), draw(dtype, 4, 6, stream="dy")
    source = leaf(x)
    y = source.amax((1, 2)) if name == "global_max_pool" else source.mean((1, 2))
    compare(run(device, name, x, dy=dy), y, dy, [source], dtype)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_batch_norm(dtype: str, device: str, training: bool, activation: str | None) -> None:
    x, dy = draw(dtype, 6, 9, 8, 5), draw(dtype, 6, 9, 8, 5, stream="dy")
    gamma, beta = draw(dtype, 5, stream="gamma"), draw(dtype, 5, stream="beta")
    mean, variance = draw(dtype, 5, stream="mean"), draw(dtype, 5, stream="variance") ** 2 + 1
    kept = torch.from_numpy(mean.copy()), torch.from_numpy(variance.copy())
    *found, _ = run(
        device, "batch_norm", x, gamma, beta, mean, variance,
        momentum=0.9, epsilon=1e-3, activation=activation, training=training, dy=dy,
    )  # fmt: skip
    leaves = [leaf(array) for array in (x, gamma, beta)]
    y = F.batch_norm(images(leaves[0]), *kept, *leaves[1:], training, 0.1, 1e-3)
    y = (F.relu(y) if activation else y).permute(0, 2, 3, 1)
    compare(found, y, dy, leaves, dtype)
    np.testing.assert_allclose(mean, kept[0], atol=TOLERANCE[dtype])
    if training:  # PyTorch keeps the unbiased variance, Keras and we the biased one
        count = 6 * 9 * 8
        old = draw(dtype, 5, stream="variance") ** 2 + 1
        biased = 0.9 * old + (kept[1].numpy() - 0.9 * old) * (count - 1) / count
        np.testing.assert_allclose(variance, biased, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(dtype: str, device: str, smoothing: float) -> None:
    logits, dy = draw(dtype, 30, 7) * 4, draw(dtype, 30, stream="dy")
    labels = np.arange(30) % 7
    found = run(device, "softmax_cross_entropy", logits, labels, label_smoothing=smoothing, dy=dy)
    source = leaf(logits)
    losses = F.cross_entropy(
        source, torch.from_numpy(labels), reduction="none", label_smoothing=smoothing
    )
    compare(found, losses, dy, [source], dtype)
