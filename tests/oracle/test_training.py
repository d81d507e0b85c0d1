"""Optimizers over 50 steps, and all gradients of a network, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context, Policy
from cpcnn.core.param import Param, ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers.fuse import split_softmax
from cpcnn.layers.initializers import he_normal
from cpcnn.networks import build_network
from cpcnn.optimizers import SGD, Adam, AdamW

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.parametrize("device", ["numpy", "cpu"]),
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
]
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
STEPS = 50

OPTIMIZERS = {
    "sgd": (SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "momentum": (
        SGD(0.05, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.01),
    ),
    "nesterov": (
        SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.05, 0.9, nesterov=True, weight_decay=0.01),
    ),
    "adam": (Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adamw": (
        AdamW(0.01, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    ),
    "adamw, other betas": (
        AdamW(0.01, weight_decay=0.1, beta_1=0.7, beta_2=0.9, epsilon=1e-4),
        lambda p: torch.optim.AdamW(p, 0.01, (0.7, 0.9), 1e-4, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_follow_the_same_trajectory(dtype: str, device: str, name: str) -> None:
    """On log cosh(a w - 1), whose gradient depends on where one is."""
    optimizer, make = OPTIMIZERS[name]
    a = Philox(0, "a").normal((7, 5)).astype(dtype)
    param = Param((7, 5), he_normal)
    store = ParamStore({"w": param}, get_device(device), dtype)
    store.initialize(0)
    other = torch.from_numpy(np.array(param.value)).requires_grad_(True)
    rival = make([other])
    optimizer.prepare(store)
    for _ in range(STEPS):
        param.grad[...] = np.tanh(a * param.value - 1) * a  # type: ignore[index]
        optimizer.update(Context(store.device), store, optimizer.learning_rate)
        rival.zero_grad()
        torch.log(torch.cosh(torch.from_numpy(a) * other - 1)).sum().backward()
        rival.step()
    np.testing.assert_allclose(param.value, other.detach().numpy(), atol=TOLERANCE[dtype])


def conv_bn(x: Any, p: dict[str, Any], prefix: str, *, activate: bool = True) -> Any:
    """Convolution, batch normalisation and ReLU with our parameters, in PyTorch's layout."""
    kernel = p[f"{prefix}.conv.kernel"].permute(3, 2, 0, 1)
    x = F.conv2d(x, kernel, padding=kernel.shape[2] // 2)
    mean, variance = (torch.zeros(len(kernel), dtype=x.dtype) for _ in range(2))
    gamma, beta = p[f"{prefix}.bn.gamma"], p[f"{prefix}.bn.beta"]
    x = F.batch_norm(x, mean, variance, gamma, beta, True, 0.1, 1e-5)
    return F.relu(x) if activate else x


def torch_resnet9(x: Any, p: dict[str, Any]) -> Any:
    def pooled(x: Any, name: str) -> Any:
        return F.max_pool2d(conv_bn(x, p, f"{name}.stack"), 2)

    def residual(x: Any, name: str) -> Any:
        y = conv_bn(x, p, f"{name}.body.stack")
        return x + conv_bn(y, p, f"{name}.body.stack_1")

    x = conv_bn(x, p, "stem")
    x = residual(pooled(x, "stage1"), "residual1")
    x = residual(pooled(pooled(x, "stage2"), "stage3"), "residual2")
    return x.amax((2, 3)) @ p["head.kernel"] + p["head.bias"]


def test_all_gradients_of_resnet9(dtype: str, device: str) -> None:
    shape, labels = (16, 16, 3), np.arange(12) % 5
    network, _ = split_softmax(build_network("resnet9", shape, 5, width=0.25))
    network.build(shape)
    store = ParamStore(network.parameters(), get_device(device, threads=2), dtype)
    store.initialize(0)
    # a head that starts at zero would leave every other gradient at zero
    head = Philox(0, "head").normal(store.params["head.kernel"].shape) * 0.1
    store.set_weights(store.get_weights() | {"head.kernel": head})
    x = Philox(0, "images").normal((12, *shape)).astype(dtype)

    ctx = Context(store.device, training=True, grad=True, policy=Policy(dtype, dtype))
    with store.device.scope():  # type: ignore[attr-defined]
        logits, saved = network.forward(x, ctx)
        losses, record = ctx.ops.softmax_cross_entropy(logits, labels, label_smoothing=0.1)
        dlogits = ctx.ops.backward(np.full(12, 1 / 12, dtype), record)
        dx = network.backward(dlogits, saved, ctx)

    p = {
        path: torch.from_numpy(value).requires_grad_(store.params[path].trainable)
        for path, value in store.get_weights().items()
    }
    source = torch.from_numpy(x.copy()).requires_grad_(True)
    expected = torch_resnet9(source.permute(0, 3, 1, 2), p)
    loss = F.cross_entropy(expected, torch.from_numpy(labels), label_smoothing=0.1)
    loss.backward()

    np.testing.assert_allclose(logits, expected.detach(), atol=10 * TOLERANCE[dtype])
    assert losses.mean() == pytest.approx(loss.item(), rel=TOLERANCE[dtype])
    np.testing.assert_allclose(dx, source.grad, atol=TOLERANCE[dtype])
    gradients = store.unflatten(np.asarray(store.grads))
    assert len(gradients) == 8 * 3 + 2
    for path, gradient in gradients.items():
        wanted = p[path].grad.numpy()
        limit = TOLERANCE[dtype] * max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(gradient, wanted, atol=limit, rtol=0, err_msg=path)
