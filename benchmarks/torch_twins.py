"""The built-in networks once more, in PyTorch, with the weights of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cpcnn.layers import BatchNormalization, Conv2D, Dense, Layer
from cpcnn.networks.scaling import scaled
from cpcnn.training import Network

# Our share of the old running statistics is kept, PyTorch's `momentum` is the share of the new.
BATCH_NORM = {"eps": 1e-5, "momentum": 0.1}


class Residual(nn.Module):
    """activation(body(x) + shortcut(x)); without a shortcut x itself is added."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None, activation: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side = x if self.shortcut is None else self.shortcut(x)
        y: torch.Tensor = self.activation(self.body(x) + side)
        return y


def simple(size: int, channels: int, classes: int, width: float) -> nn.Module:
    layers: list[nn.Module] = []
    side = size
    for filters in (32, 64, 128) if size >= 32 else (32, 64):
        filters = scaled(filters, width)
        layers += [nn.Conv2d(channels, filters, 3, padding=1), relu(), nn.MaxPool2d(2)]
        channels, side = filters, side // 2
    hidden = scaled(128, width)
    layers += [nn.Flatten(), nn.Linear(channels * side * side, hidden), relu()]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def resnet9(size: int, channels: int, classes: int, width: float) -> nn.Module:
    c1, c2, c3, c4 = (scaled(filters, width) for filters in (64, 128, 256, 512))
    return nn.Sequential(
        conv_bn(channels, c1),
        nn.Sequential(conv_bn(c1, c2), nn.MaxPool2d(2)),
        Residual(nn.Sequential(conv_bn(c2, c2), conv_bn(c2, c2)), None, nn.Identity()),
        nn.Sequential(conv_bn(c2, c3), nn.MaxPool2d(2)),
        nn.Sequential(conv_bn(c3, c4), nn.MaxPool2d(2)),
        Residual(nn.Sequential(conv_bn(c4, c4), conv_bn(c4, c4)), None, nn.Identity()),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(c4, classes),
    )


def resnet18(size: int, channels: int, classes: int, width: float) -> nn.Module:
    stages = [scaled(filters, width) for filters in (64, 128, 256, 512)]
    layers: list[nn.Module] = [conv_bn(channels, stages[0])]
    if size >= 96:
        layers = [conv_bn(channels, stages[0], 7, 2), nn.MaxPool2d(3, 2, padding=1)]
    previous = stages[0]
    for number, filters in enumerate(stages):
        layers.append(basic_block(previous, filters, 1 if number == 0 else 2))
        layers.append(basic_block(filters, filters, 1))
        previous = filters
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(previous, classes)]
    return nn.Sequential(*layers, *head)


TWINS: dict[str, Callable[[int, int, int, float], nn.Module]] = {
    "simple": simple,
    "resnet9": resnet9,
    "resnet18": resnet18,
}


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def conv_bn(
    channels: int, filters: int, kernel: int = 3, stride: int = 1, *, active: bool = True
) -> nn.Sequential:
    convolution = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
    norm = nn.BatchNorm2d(filters, **BATCH_NORM)
    return nn.Sequential(convolution, norm, *([relu()] if active else []))


def basic_block(channels: int, filters: int, stride: int) -> Residual:
    body = nn.Sequential(
        conv_bn(channels, filters, 3, stride), conv_bn(filters, filters, active=False)
    )
    same = channels == filters and stride == 1
    shortcut = None if same else conv_bn(channels, filters, 1, stride, active=False)
    return Residual(body, shortcut, relu())


def make_twin(name: str, network: Network, width: float) -> nn.Module:
    """Make the PyTorch twin of a built network, with its weights."""
    assert network.input_shape is not None
    assert network.output_shape is not None
    size, _, channels = network.input_shape
    twin = TWINS[name](size, channels, network.output_shape[0], width)
    weights = network.store.get_weights()
    with torch.no_grad():
        for pair in pairs(network, twin):
            pair.tensor.copy_(torch.from_numpy(pair.convert(weights[pair.path])))
    return twin


class Pair(NamedTuple):
    """A parameter of ours, by its path; the twin's; and how to lay ours out like it."""

    path: str
    tensor: torch.Tensor
    convert: Callable[[NDArray[Any]], NDArray[Any]]


KINDS = {Conv2D: nn.Conv2d, BatchNormalization: nn.BatchNorm2d, Dense: nn.Linear}
VECTORS = {
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def pairs(network: Network, twin: nn.Module) -> Iterator[Pair]:
    """Pair all parameters; ValueError when the layers are not the same, one by one."""
    ours = [layer for _, layer in network.root.walk() if type(layer) in KINDS]
    theirs = [module for module in twin.modules() if type(module) in KINDS.values()]
    channels = 1
    for layer, module in zip(ours, theirs, strict=True):
        if KINDS[type(layer)] is not type(module):
            raise ValueError(f"{layer.path} is a {type(layer).__name__}, its twin a {module}")
        for name in layer.params():
            path = f"{layer.path}.{name}"
            if name == "kernel":
                yield Pair(path, module.weight, kernel_layout(layer, channels))
            else:
                yield Pair(path, getattr(module, VECTORS[name]), np.asarray)
        if isinstance(layer, (Conv2D, Dense)):
            channels = layer.kernel.shape[-1]  # type: ignore[union-attr]


def kernel_layout(layer: Layer, channels: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """How a kernel behind `channels` channels becomes PyTorch's weight.

    A flattened image is (pixels, channels) here and (channels, pixels) there.
    """
    if isinstance(layer, Conv2D):
        return lambda kernel: np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))

    def dense(kernel: NDArray[Any]) -> NDArray[Any]:
        units = kernel.shape[1]
        pixels_channels = kernel.reshape(-1, channels, units)
        return np.ascontiguousarray(pixels_channels.transpose(2, 1, 0)).reshape(units, -1)

    return dense
