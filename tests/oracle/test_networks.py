"""Whole networks against PyTorch: all gradients, and some steps of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn import layers
from cpcnn.core.context import Policy
from cpcnn.core.typing import Shape
from cpcnn.layers import Layer, Stack
from cpcnn.losses import CategoricalCrossentropy, Loss
from cpcnn.networks import NETWORKS, build_network
from cpcnn.optimizers import AdamW
from cpcnn.schedules import CosineDecay, Warmup
from cpcnn.training.network import Network
from cpcnn.training.step import TrainingStep
from cpcnn.training.tally import Tally

from .against_torch import Cases, F, Side, assert_close, normal, sides, tensor, torch, weights_for
from .twins import CONTAINERS, twin

pytestmark = pytest.mark.oracle

COUNTED = "networks whose gradients were all compared with PyTorch"
CLASSES = 5
SMOOTHING = 0.1
LOSS = CategoricalCrossentropy(label_smoothing=SMOOTHING)
Tensor = Any
Weights = dict[str, NDArray[np.float32]]


def modest(root: Layer, seed: int) -> Weights:
    """Weights that keep the size of activations."""
    weights = weights_for(root, seed)
    for value in weights.values():
        if value.ndim > 1:
            value /= math.sqrt(math.prod(value.shape[:-1]))
    return weights


def build(root: Layer, shape: Shape, side: Side) -> Network:
    network = Network(root, shape)
    network.policy = Policy(side.dtype, side.dtype)
    network.build(device=side.device)
    return network


def torch_losses(probabilities: Tensor, labels: NDArray[Any]) -> Tensor:
    targets = F.one_hot(tensor(labels), CLASSES).double() * (1 - SMOOTHING) + SMOOTHING / CLASSES
    return -(targets * probabilities.log()).sum(1)


def torch_gradients(
    forward: Callable[[Tensor, Mapping[str, Tensor]], Tensor],
    network: Network,
    weights: Weights,
    x: NDArray[Any],
    labels: NDArray[Any],
) -> dict[str, Tensor]:
    """Losses, the input's gradient, and gradients and statistics of all parameters, by path."""
    params = network.store.params
    tensors = {path: tensor(weights[path], grad=param.trainable) for path, param in params.items()}
    leaf = tensor(x, grad=True)
    losses = torch_losses(forward(leaf, tensors), labels)
    losses.mean().backward()
    found = {path: t.grad if t.requires_grad else t for path, t in tensors.items()}
    return found | {"the losses": losses, "the input": leaf.grad}


def our_gradients(
    root: Layer,
    loss: Loss,
    network: Network,
    weights: Weights,
    x: NDArray[Any],
    labels: NDArray[Any],
    side: Side,
) -> dict[str, NDArray[Any]]:
    store, ctx = network.store, side.context()
    store.set_weights(weights)
    store.zero_grad()
    with side.device.scope():
        outputs, saved = root.forward(side.put(x), ctx)
        losses, kept = loss(ctx, outputs, side.put(labels))
        share = side.put(np.full(len(x), 1 / len(x)))
        dx = root.backward(loss.backward(ctx, share, kept), saved, ctx)
    found = store.get_weights() | store.unflatten(side.get(store.grads))
    return found | {"the losses": side.get(losses), "the input": side.get(dx)}


def compare_network(
    root: Layer,
    shape: Shape,
    seed: int,
    cases: Cases,
    forward: Callable[[Tensor, Mapping[str, Tensor]], Tensor] | None = None,
) -> None:
    """As it is trained, fused and without its softmax, and as it was written."""
    x, labels = normal(seed, "images", 8, *shape), np.arange(8) % CLASSES
    network = build(root, shape, sides()[0])
    weights = modest(root, seed)
    expected = torch_gradients(
        forward or (lambda x, p: twin(root, [x], p, True)), network, weights, x, labels
    )
    for side in cases.of_all_sides():
        network = build(root, shape, side)
        trained = network.training_root(LOSS)
        written = root, LOSS.bind(False, probabilities=True)
        for view, loss in (trained, written):
            found = our_gradients(view, loss, network, weights, x, labels, side)
            assert found.keys() == expected.keys()
            for what, array in found.items():
                assert_close(array, expected[what], side, what)


# --- networks that are ready ----------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_ready_networks(name: str, count: Callable[[int, str], None]) -> None:
    cases, shape = Cases(), (16, 16, 3)
    compare_network(build_network(name, shape, CLASSES, width=0.25), shape, 0, cases)
    count(cases.number, COUNTED)


def conv_bn(x: Tensor, p: Mapping[str, Tensor], prefix: str) -> Tensor:
    """Convolution, batch normalisation and ReLU with our parameters, in PyTorch's layout."""
    kernel = p[f"{prefix}.conv.kernel"].permute(3, 2, 0, 1)
    x = F.conv2d(x, kernel, padding=kernel.shape[2] // 2)
    mean, variance = p[f"{prefix}.bn.moving_mean"], p[f"{prefix}.bn.moving_variance"]
    count, kept = x.numel() // x.shape[1], variance.clone()
    gamma, beta = p[f"{prefix}.bn.gamma"], p[f"{prefix}.bn.beta"]
    y = F.relu(F.batch_norm(x, mean, kept, gamma, beta, True, 0.1, 1e-5))
    # PyTorch keeps the unbiased variance, Keras and we the biased one
    variance.copy_(0.9 * variance + (kept - 0.9 * variance) * (count - 1) / count)
    return y


def resnet9(images: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    """Written by hand, so that nothing depends on how our containers say what they hold."""

    def pooled(x: Tensor, name: str) -> Tensor:
        return F.max_pool2d(conv_bn(x, p, f"{name}.stack"), 2)

    def residual(x: Tensor, name: str) -> Tensor:
        y = conv_bn(x, p, f"{name}.body.stack")
        return x + conv_bn(y, p, f"{name}.body.stack_1")

    x = conv_bn(images.permute(0, 3, 1, 2), p, "stem")
    x = residual(pooled(x, "stage1"), "residual1")
    x = residual(pooled(pooled(x, "stage2"), "stage3"), "residual2")
    return torch.softmax(x.amax((2, 3)) @ p["head.kernel"] + p["head.bias"], 1)


def test_resnet9_by_hand(count: Callable[[int, str], None]) -> None:
    cases, shape = Cases(), (16, 16, 3)
    root = build_network("resnet9", shape, CLASSES, width=0.25)
    compare_network(root, shape, 1, cases, resnet9)
    count(cases.number, COUNTED)


# --- random networks ------------------------------------------------------------------------

# Smooth functions alone: where a network bends, float32 may see another side than float64.
smooth = st.sampled_from(["tanh", "sigmoid", "silu", "gelu", "elu", "softplus", "mish"])


def squeeze_and_excite(channels: int, *after: Layer) -> Layer:
    """Hu et al., 2017, arXiv:1709.01507; then a batch normalisation, a sum and other layers."""
    x = layers.Input((4, 4, channels))
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Dense(channels, activation="sigmoid")(weights)
    y = layers.Multiply()([x, weights])
    y = layers.Add()([layers.BatchNormalization()(y), x])
    for layer in after:
        y = layer(y)
    return layers.Graph.between(x, y)


def dense_block(channels: int, activation: str) -> Layer:
    """A graph with a layer that reads what two others made."""
    x = layers.Input((4, 4, channels))
    y = layers.Activation(activation)(layers.Conv2D(3, 3, padding="same")(x))
    z = layers.Subtract()([layers.Average()([x, x]), layers.Conv2D(channels, 1)(y)])
    return layers.Graph.between(x, layers.Concatenate()([x, y, z]))


def blocks(channels: int, f: str) -> dict[str, list[Layer]]:
    """Pieces of a network on images (4, 4, channels), which keep the size of images."""
    branches = [layers.Conv2D(2, 1), Stack([layers.DepthwiseConv2D(3, padding="same")])]
    body = [
        layers.Conv2D(channels, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
    ]
    return {
        "conv": [
            layers.Conv2D(6, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation(f),
        ],
        "separable": [layers.SeparableConv2D(5, 3, padding="same"), layers.Activation(f)],
        "residual": [layers.Residual(Stack(body), None), layers.Activation(f)],
        "shortcut": [layers.Residual(layers.Conv2D(7, 1), layers.Conv2D(7, 3, padding="same"), f)],
        "branches": [layers.Concat(branches), layers.GroupNormalization(1)],
        "recompute": [layers.Recompute(Stack([*body, layers.Activation(f)]))],
        "dropout": [layers.Recompute(Stack([layers.Dropout(0.3), layers.Dense(4, f)]))],
        "spatial dropout": [layers.SpatialDropout2D(0.3), layers.Rescaling(0.5, 0.1)],
        "decoder": [
            layers.AveragePooling2D(),
            layers.Conv2DTranspose(5, 3, 2, padding="same", activation=f),
        ],
        "up": [layers.AveragePooling2D(), layers.UpSampling2D(interpolation="bilinear")],
        "frame": [
            layers.ZeroPadding2D(1),
            layers.Conv2D(6, 3),
            layers.LayerNormalization((-3, -2, -1)),
        ],
        "excite": [squeeze_and_excite(channels)],
        "excite, activated": [squeeze_and_excite(channels, layers.Activation(f))],
        "dense": [dense_block(channels, f)],
        "turn": [layers.Permute((2, 1, 3)), layers.Reshape((4, 4, -1))],
    }


@st.composite
def networks(draw: Callable[..., Any]) -> tuple[Layer, Shape]:
    """A network, and the shape of its input."""
    first: Shape = (4, 4, draw(st.integers(1, 4)))
    shape, stack = first, []
    for _ in range(draw(st.integers(1, 4))):
        pieces = blocks(shape[-1], draw(smooth))
        piece = pieces[draw(st.sampled_from(sorted(pieces)))]
        shape = Stack(piece).build(shape)
        stack += piece
    head = draw(st.sampled_from([layers.Flatten, layers.GlobalAveragePooling2D]))()
    return Stack([*stack, head, layers.Dense(CLASSES, activation="softmax")]), first


def test_random_networks(count: Callable[[int, str], None]) -> None:
    """With the view of them that training makes by fusing layers."""
    cases = Cases()

    @settings(max_examples=100)
    @given(networks(), st.integers(0, 2**32 - 1))
    def property(network: tuple[Layer, Shape], seed: int) -> None:
        compare_network(*network, seed, cases)

    property()
    count(cases.number, COUNTED)


# --- training -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """What a loader yields."""

    images: NDArray[Any]
    labels: NDArray[np.int64]
    warp: None = None


CLASS_WEIGHTS = np.linspace(0.5, 1.5, CLASSES)
OPTIONS: dict[str, Any] = {"weight_decay": 0.05, "epsilon": 1e-3}
CLIP, MOMENTUM, BATCHES, STEPS = 0.05, 0.9, 2, 12


def schedule() -> Warmup:
    return Warmup(CosineDecay(0.02, STEPS), 4)


def small_network() -> Stack:
    return Stack(
        [
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("silu"),
            layers.AveragePooling2D(),
            layers.DepthwiseConv2D(3, padding="same", activation="tanh"),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def our_training(root: Stack, side: Side, weights: Weights, batches: Sequence[Batch]) -> Network:
    network = build(root, batches[0].images.shape[1:], side)
    network.store.set_weights(weights)
    optimizer = AdamW(
        schedule(),
        global_clipnorm=CLIP,
        use_ema=True,
        ema_momentum=MOMENTUM,
        gradient_accumulation_steps=BATCHES,
        **OPTIONS,
    )
    optimizer.prepare(network.store)
    step = TrainingStep(network, LOSS.with_class_weights(CLASS_WEIGHTS), optimizer, seed=0)
    tally = Tally(network, step.loss)
    for batch in batches:
        step(batch, optimizer.schedule(optimizer.step), tally)
    optimizer.finish(network.store)
    return network


def torch_training(root: Stack, weights: Weights, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """The usual loop of PyTorch, with our schedule, since that is compared elsewhere."""
    params = root.parameters()
    tensors = {path: tensor(weights[path], grad=param.trainable) for path, param in params.items()}
    trained = {path: t for path, t in tensors.items() if t.requires_grad}
    model = torch.nn.ParameterList([torch.nn.Parameter(t.detach()) for t in trained.values()])
    tensors |= dict(zip(trained, model, strict=True))
    groups = [
        {"params": [tensors[path] for path in trained if params[path].decay]},
        {
            "params": [tensors[path] for path in trained if not params[path].decay],
            "weight_decay": 0,
        },
    ]
    optimizer = torch.optim.AdamW(
        groups, weight_decay=OPTIONS["weight_decay"], eps=OPTIONS["epsilon"]
    )
    rule = torch.optim.swa_utils.get_ema_multi_avg_fn(MOMENTUM)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=rule)
    for number, batch in enumerate(batches):
        losses = torch_losses(twin(root, [tensor(batch.images)], tensors, True), batch.labels)
        (losses * tensor(CLASS_WEIGHTS[batch.labels])).mean().div(BATCHES).backward()
        if (number + 1) % BATCHES:
            continue
        for group in optimizer.param_groups:
            group["lr"] = schedule()(number // BATCHES)
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in model]))
        assert norm > CLIP
        torch.nn.utils.clip_grad_norm_(model, CLIP * (1 + 1e-6 / norm))
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(model)
    return tensors | dict(zip(trained, average.module, strict=True))


def test_training(count: Callable[[int, str], None]) -> None:
    """Accumulated, clipped, weighted, decayed and averaged, at a rate that goes up and down."""
    cases, root, shape = Cases(), small_network(), (6, 6, 3)
    build(root, shape, sides()[0])
    weights = modest(root, 0)
    batches = [
        Batch(normal(0, f"images {k}", 10, *shape), normal(0, f"labels {k}", 10, 5).argmax(1))
        for k in range(BATCHES * STEPS)
    ]
    expected = torch_training(root, weights, batches)
    for side in cases.of_all_sides():
        found = our_training(root, side, weights, batches).store.get_weights()
        for path, array in found.items():
            assert_close(array, expected[path], side, path)
            if "moving" not in path:
                assert np.abs(array - weights[path]).max() > 1e-3
    count(cases.number, "trainings compared with PyTorch")


def test_every_container_is_in_a_network() -> None:
    pieces = [layer for piece in blocks(2, "tanh").values() for layer in piece]
    assert {type(layer) for _, layer in Stack(pieces).walk()} >= set(CONTAINERS)
