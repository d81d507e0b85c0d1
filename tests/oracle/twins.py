"""Every layer written in PyTorch. Where Keras, and so we, define it otherwise, the mapping is here.

Arrays go in and out in our layout: channels last, kernels (KH, KW, Cin, Cout).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cpcnn import layers
from cpcnn.layers.base import Layer, join
from cpcnn.ops.activations import canonical

from .against_torch import RANDOM, F, torch

Tensor = Any
Sides = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Use:
    """A call of a layer. `params` are its own by name, those of a container all by path."""

    layer: Any
    inputs: Sequence[Tensor]
    params: Mapping[str, Tensor]
    training: bool

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    def inside(self, layer: Layer, *inputs: Tensor) -> Tensor:
        """The output of a layer inside this container."""
        return twin(layer, inputs, self.params, self.training)


Twin = Callable[[Use], Tensor]
TWINS: dict[type[Layer], Twin] = {}
CONTAINERS = (layers.Stack, layers.Residual, layers.Concat, layers.Recompute, layers.Graph)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x * 1,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),  # Keras' slope; PyTorch's is 0.01
    "elu": F.elu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exponential": torch.exp,
    "softplus": F.softplus,
    "softsign": F.softsign,
    # F.hardsigmoid multiplies by a 1 / 6 that is rounded to float32, in its gradient
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "hard_swish": F.hardswish,
    "mish": F.mish,
}


def twin_of(*kinds: type[Layer]) -> Callable[[Twin], Twin]:
    def register(twin: Twin) -> Twin:
        TWINS.update(dict.fromkeys(kinds, twin))
        return twin

    return register


def twin(
    layer: Layer, inputs: Sequence[Tensor], params: Mapping[str, Tensor], training: bool
) -> Tensor:
    """Compute a layer in PyTorch; containers compute those inside. `params` are keyed by path."""
    if type(layer) not in CONTAINERS:
        params = {name: params[join(layer.path, name)] for name in layer.params()}
    return TWINS[type(layer)](Use(layer, inputs, params, training))


def activate(x: Tensor, name: str | None) -> Tensor:
    return ACTIVATIONS[canonical(name)](x)


def to_torch(x: Tensor) -> Tensor:
    """(N, H, W, C) to PyTorch's (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


def from_torch(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def pad(x: Tensor, sides: Sides, value: float = 0.0) -> Tensor:
    """Pad an image in PyTorch's layout; negative numbers cut off."""
    (top, bottom), (left, right) = sides
    return F.pad(x, (left, right, top, bottom), value=value)


# --- convolutions and pooling ---------------------------------------------------------------


def sides_of(layer: Any, x: Tensor, kernel: Any, stride: Any, dilation: Any = (1, 1)) -> Sides:
    """The pixels that `padding` adds to an image in PyTorch's layout.

    PyTorch pads both sides alike, and has "same" for a stride of one alone. Keras' "same" gives
    ceil(size / stride) outputs for any stride, the odd pixel at the bottom and right.
    """
    if layer.padding == "valid":
        return (0, 0), (0, 0)
    if layer.padding != "same":
        return both_sides(layer.padding)
    found = []
    for axis, size in enumerate(x.shape[2:]):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        last = (math.ceil(size / stride[axis]) - 1) * stride[axis]
        total = max(last + extent - size, 0)
        found.append((total // 2, total - total // 2))
    return found[0], found[1]


def both_sides(padding: Any) -> Sides:
    """Pixel counts: one, one an axis, or one a side."""
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    if isinstance(rows, int):
        rows, columns = (rows, rows), (columns, columns)
    return tuple(rows), tuple(columns)


def convolve(layer: Any, x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """Convolve in PyTorch's layout; `kernel` is in ours, without a bias."""
    kernel = kernel.permute(3, 2, 0, 1)
    sides = sides_of(layer, x, kernel.shape[2:], layer.strides, layer.dilation_rate)
    return F.conv2d(pad(x, sides), kernel, None, layer.strides, 0, layer.dilation_rate, groups)


def finish(use: Use, y: Tensor) -> Tensor:
    """To our layout, then bias and activation."""
    y = from_torch(y)
    return activate(y + use.params["bias"] if use.layer.use_bias else y, use.layer.activation)


@twin_of(layers.Conv2D)
def conv2d(use: Use) -> Tensor:
    kernel, groups = use.params["kernel"], use.layer.groups
    return finish(use, convolve(use.layer, to_torch(use.x), kernel, groups))


def depthwise(use: Use) -> Tensor:
    """Keras' kernel (KH, KW, C, M) is PyTorch's (C * M, 1, KH, KW): M outputs for each channel."""
    kernel = use.params["depthwise_kernel"]
    height, width, channels, multiplier = kernel.shape
    grouped = kernel.reshape(height, width, 1, channels * multiplier)
    return convolve(use.layer, to_torch(use.x), grouped, channels)


@twin_of(layers.DepthwiseConv2D)
def depthwise_conv2d(use: Use) -> Tensor:
    return finish(use, depthwise(use))


@twin_of(layers.SeparableConv2D)
def separable_conv2d(use: Use) -> Tensor:
    pointwise = use.params["pointwise_kernel"].permute(3, 2, 0, 1)
    return finish(use, F.conv2d(depthwise(use), pointwise))


@twin_of(layers.Conv2DTranspose)
def conv2d_transpose(use: Use) -> Tensor:
    """PyTorch's without padding, of which Keras' is a part, or zeros are added at the end."""
    layer, x = use.layer, to_torch(use.x)
    kernel = use.params["kernel"].permute(3, 2, 0, 1).contiguous()
    whole = F.conv_transpose2d(x, kernel, None, layer.strides, dilation=layer.dilation_rate)
    sides = []
    for axis, size in enumerate(x.shape[2:]):
        stride = layer.strides[axis]
        extent = (kernel.shape[2 + axis] - 1) * layer.dilation_rate[axis] + 1
        extra = None if layer.output_padding is None else layer.output_padding[axis]
        full = (size - 1) * stride + extent
        if layer.padding == "same":
            wanted = size * stride if extra is None else full - extent + extent % 2 + extra
            before = max(full - wanted, 0) // 2
        else:
            before, after = sides_of(layer, x, None, None)[axis]
            longer = max(stride - extent, 0) if extra is None else extra
            wanted = full + longer - before - after
        sides.append((-before, wanted - (full - before)))
    return finish(use, pad(whole, (sides[0], sides[1])))


@twin_of(layers.MaxPooling2D)
def max_pooling(use: Use) -> Tensor:
    layer, x = use.layer, to_torch(use.x)
    padded = pad(x, sides_of(layer, x, layer.pool_size, layer.strides), -math.inf)
    return from_torch(F.max_pool2d(padded, layer.pool_size, layer.strides))


@twin_of(layers.AveragePooling2D)
def average_pooling(use: Use) -> Tensor:
    """Keras does not count padding: the mean of the zero-padded image over that of ones."""
    layer, x = use.layer, to_torch(use.x)
    sides = sides_of(layer, x, layer.pool_size, layer.strides)
    means, shares = (
        F.avg_pool2d(pad(image, sides), layer.pool_size, layer.strides)
        for image in (x, torch.ones_like(x))
    )
    return from_torch(means / shares)


@twin_of(layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
def global_pooling(use: Use) -> Tensor:
    is_max = isinstance(use.layer, layers.GlobalMaxPooling2D)
    pooled = (F.adaptive_max_pool2d if is_max else F.adaptive_avg_pool2d)(to_torch(use.x), 1)
    return from_torch(pooled) if use.layer.keepdims else pooled.flatten(1)


# --- what has no window ---------------------------------------------------------------------


@twin_of(layers.Dense)
def dense(use: Use) -> Tensor:
    y = F.linear(use.x, use.params["kernel"].T, use.params.get("bias"))
    return activate(y, use.layer.activation)


@twin_of(layers.Activation)
def activation(use: Use) -> Tensor:
    return activate(use.x, use.layer.activation)


@twin_of(layers.Softmax)
def softmax(use: Use) -> Tensor:
    return torch.softmax(use.x, use.layer.axis)


@twin_of(layers.ReLU)
def relu(use: Use) -> Tensor:
    layer, x = use.layer, use.x
    above = x if layer.max_value is None else x.clamp(max=layer.max_value)
    return torch.where(x > layer.threshold, above, layer.negative_slope * (x - layer.threshold))


@twin_of(layers.LeakyReLU)
def leaky_relu(use: Use) -> Tensor:
    return F.leaky_relu(use.x, use.layer.negative_slope)


@twin_of(layers.ELU)
def elu(use: Use) -> Tensor:
    return F.elu(use.x, use.layer.alpha)


@twin_of(layers.Lambda)
def cube(use: Use) -> Tensor:
    """The function of the cases in layer_cases.py."""
    return torch.pow(use.x, 3)


@twin_of(layers.BatchNormalization)
def batch_normalization(use: Use) -> Tensor:
    """PyTorch's momentum is the share of the new statistics, and it keeps the unbiased variance."""
    layer, p, x = use.layer, use.params, use.x.movedim(-1, 1)
    variance, new = p["moving_variance"], 1 - layer.momentum
    kept = variance.clone()
    statistics = p["moving_mean"], kept
    affine = p.get("gamma"), p.get("beta")
    y = F.batch_norm(x, *statistics, *affine, use.training, new, layer.epsilon)
    if use.training:
        count = x.numel() // x.shape[1]
        added = kept - (1 - new) * variance
        variance.mul_(1 - new).add_(added * (count - 1) / count)
    return activate(y.movedim(1, -1), layer.activation)


@twin_of(layers.LayerNormalization)
def layer_normalization(use: Use) -> Tensor:
    axes = 1 if isinstance(use.layer.axis, int) else len(use.layer.axis)
    affine = use.params.get("gamma"), use.params.get("beta")
    return F.layer_norm(use.x, use.x.shape[-axes:], *affine, use.layer.epsilon)


@twin_of(layers.GroupNormalization)
def group_normalization(use: Use) -> Tensor:
    x = use.x.movedim(-1, 1)
    groups = x.shape[1] if use.layer.groups == -1 else use.layer.groups
    y = F.group_norm(x, groups, eps=use.layer.epsilon).movedim(1, -1)
    # not by F.group_norm, whose gradient fails where there is an offset without a gain
    return y * use.params.get("gamma", 1) + use.params.get("beta", 0)


@twin_of(layers.Dropout, layers.SpatialDropout2D)
def dropout(use: Use) -> Tensor:
    """PyTorch draws other numbers, so the mask is made of ours: a word below rate * 2**32 drops."""
    layer, x = use.layer, use.x
    if not use.training or layer.rate == 0:
        return x * 1
    if layer.rate == 1:
        return x * 0
    shape = (x.shape[0], 1, 1, x.shape[-1])
    if isinstance(layer, layers.Dropout):
        sizes = layer.noise_shape or x.shape
        shape = tuple(size or full for size, full in zip(sizes, x.shape, strict=True))
    rng = RANDOM.child(layer.path)
    rng = rng if layer.seed is None else replace(rng, seed=layer.seed)
    size = math.prod(shape)
    words = rng.words(np.arange(math.ceil(size / 4))).reshape(-1)[:size].astype(np.float64)
    kept = torch.from_numpy((words >= round(layer.rate * 2**32)).reshape(shape))
    return x * kept / (1 - layer.rate)


@twin_of(layers.Flatten)
def flatten(use: Use) -> Tensor:
    return use.x.flatten(1)


@twin_of(layers.Reshape)
def reshape(use: Use) -> Tensor:
    return use.x.reshape(len(use.x), *use.layer.target_shape)


@twin_of(layers.Permute)
def permute(use: Use) -> Tensor:
    return use.x.permute(0, *use.layer.dims)


@twin_of(layers.ZeroPadding2D)
def zero_padding(use: Use) -> Tensor:
    return from_torch(pad(to_torch(use.x), both_sides(use.layer.padding)))


@twin_of(layers.Cropping2D)
def cropping(use: Use) -> Tensor:
    rows, columns = both_sides(use.layer.cropping)
    return from_torch(pad(to_torch(use.x), ((-rows[0], -rows[1]), (-columns[0], -columns[1]))))


@twin_of(layers.UpSampling2D)
def up_sampling(use: Use) -> Tensor:
    size = [old * factor for old, factor in zip(use.x.shape[1:3], use.layer.size, strict=True)]
    return from_torch(F.interpolate(to_torch(use.x), size, mode=use.layer.interpolation))


@twin_of(layers.Rescaling)
def rescaling(use: Use) -> Tensor:
    return use.x * numbers(use.layer.scale) + numbers(use.layer.offset)


@twin_of(layers.Normalization)
def normalization(use: Use) -> Tensor:
    mean, deviation = numbers(use.layer.mean), numbers(use.layer.variance).sqrt()
    return use.x * deviation + mean if use.layer.invert else (use.x - mean) / deviation


def numbers(values: float | tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# --- several inputs -------------------------------------------------------------------------


@twin_of(layers.Add)
def add(use: Use) -> Tensor:
    return torch.stack(tuple(use.inputs)).sum(0)


@twin_of(layers.Subtract)
def subtract(use: Use) -> Tensor:
    return torch.sub(use.x, use.inputs[1])


@twin_of(layers.Multiply)
def multiply(use: Use) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*use.inputs)).prod(0)


@twin_of(layers.Average)
def average(use: Use) -> Tensor:
    return torch.stack(tuple(use.inputs)).mean(0)


@twin_of(layers.Maximum)
def maximum(use: Use) -> Tensor:
    return torch.stack(tuple(use.inputs)).max(0).values


@twin_of(layers.Concatenate)
def concatenate(use: Use) -> Tensor:
    return torch.cat(tuple(use.inputs), use.layer.axis)


# --- containers -----------------------------------------------------------------------------


@twin_of(layers.Stack)
def stack(use: Use) -> Tensor:
    x = use.x
    for layer in use.layer.layers:
        x = use.inside(layer, x)
    return x


@twin_of(layers.Residual)
def residual(use: Use) -> Tensor:
    shortcut = use.layer.shortcut
    side = use.inside(shortcut, use.x) if shortcut else use.x
    return activate(use.inside(use.layer.body, use.x) + side, use.layer.activation)


@twin_of(layers.Concat)
def concat(use: Use) -> Tensor:
    results = [use.inside(branch, use.x) for branch in use.layer.branches]
    return torch.cat(results, use.layer.axis)


@twin_of(layers.Recompute)
def recompute(use: Use) -> Tensor:
    return use.inside(use.layer.body, use.x)


@twin_of(layers.Graph)
def graph(use: Use) -> Tensor:
    values = [use.x]
    for number, reads in use.layer.steps:
        read = [values[value] for value in reads]
        values.append(use.inside(use.layer.layers[number], *read))
    return values[-1]
