"""Ready networks: shapes, numbers of parameters counted by hand, widths and paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.layers import Stack
from cpcnn.models import Model
from cpcnn.networks import NETWORKS, build_network
from cpcnn.networks.scaling import scaled


def counts(name: str, shape: Any, classes: int, width: float = 1.0) -> tuple[int, int]:
    """Parameters that are trained, and those that are kept (running statistics)."""
    network = build_network(name, shape, classes, width=width)
    assert network.build(shape) == (classes,)
    params = network.parameters().values()
    trained = sum(param.size for param in params if param.trainable)
    return trained, sum(param.size for param in params) - trained


def conv(kernel: int, inputs: int, filters: int) -> int:
    return kernel * kernel * inputs * filters


def test_simple_by_hand() -> None:
    # 28 → 14 → 7 pixels
    expected = (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 128 + 128) + (128 * 10 + 10)
    assert counts("simple", (28, 28, 1), 10) == (expected, 0)
    assert expected == 421_642


def test_simple_has_a_third_convolution_from_32_pixels_on() -> None:
    expected = (9 * 3 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128)
    expected += (4 * 4 * 128 * 128 + 128) + (128 * 43 + 43)
    assert counts("simple", (32, 32, 3), 43) == (expected, 0)
    assert len(build_network("simple", (32, 31, 3), 43).layers) == 7
    assert len(build_network("simple", (32, 32, 3), 43).layers) == 9


def test_resnet9_by_hand() -> None:
    convolutions = [(3, 64), (64, 128), (128, 128), (128, 128)]
    convolutions += [(128, 256), (256, 512), (512, 512), (512, 512)]
    channels = sum(filters for _, filters in convolutions)
    trained = sum(conv(3, *c) for c in convolutions) + 2 * channels + (512 * 10 + 10)
    assert counts("resnet9", (32, 32, 3), 10) == (trained, 2 * channels)
    assert trained == 6_573_130


def test_resnet18_has_as_many_parameters_as_published() -> None:
    # He et al.'s network with the projection shortcuts: 11,689,512 for ImageNet
    trained, kept = counts("resnet18", (224, 224, 3), 1000)
    assert trained == 11_689_512
    assert kept == 2 * 4800  # two statistics per channel of its 20 convolutions
    # with the 3×3 stem for small images: 11,173,962 for CIFAR-10
    assert counts("resnet18", (32, 32, 3), 10) == (11_173_962, 9600)


@pytest.mark.parametrize(
    ("shape", "shapes"),
    [
        ((32, 32, 3), [(32, 32, 64), (32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512)]),
        ((224, 200, 3), [(56, 50, 64), (56, 50, 64), (28, 25, 128), (14, 13, 256), (7, 7, 512)]),
        ((95, 95, 1), [(95, 95, 64), (95, 95, 64), (48, 48, 128), (24, 24, 256), (12, 12, 512)]),
    ],
)
def test_stages_of_resnet18(shape: Any, shapes: Any) -> None:
    network = build_network("resnet18", shape, 10)
    network.build(shape)
    assert [layer.output_shape for layer in network.layers[:5]] == shapes


def test_stages_of_resnet9() -> None:
    network = build_network("resnet9", (33, 32, 1), 7)
    network.build((33, 32, 1))
    assert [layer.output_shape for layer in network.layers] == [
        (33, 32, 64), (16, 16, 128), (16, 16, 128), (8, 8, 256), (4, 4, 512), (4, 4, 512),
        (512,), (7,),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [
        (64, 1.0, 64),
        (64, 0.5, 32),
        (64, 2.0, 128),
        (64, 0.3, 16),  # 19.2, to a multiple of 8
        (64, 0.1, 6),  # too few for that
        (64, 0.125, 8),
        (512, 0.33, 168),
        (64, 0.001, 1),
    ],
)
def test_widths(channels: int, width: float, expected: int) -> None:
    assert scaled(channels, width) == expected


def test_width_scales_the_channels() -> None:
    convolutions = [(3, 32), (32, 64), (64, 64), (64, 64)]
    convolutions += [(64, 128), (128, 256), (256, 256), (256, 256)]
    channels = sum(filters for _, filters in convolutions)
    trained = sum(conv(3, *c) for c in convolutions) + 2 * channels + (256 * 10 + 10)
    assert counts("resnet9", (32, 32, 3), 10, 0.5) == (trained, 2 * channels)


def test_paths_are_part_of_every_checkpoint() -> None:
    """Changing one of these makes old checkpoints unreadable."""
    paths = {}
    for name in NETWORKS:
        network = build_network(name, (32, 32, 3), 10)
        network.build((32, 32, 3))
        paths[name] = list(network.parameters())
    assert paths["simple"] == [
        f"{layer}.{kind}"
        for layer in ("conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1")
        for kind in ("kernel", "bias")
    ]
    norm = ["gamma", "beta", "moving_mean", "moving_variance"]
    assert paths["resnet9"][:5] == ["stem.conv.kernel", *(f"stem.bn.{n}" for n in norm)]
    assert paths["resnet9"][-2:] == ["head.kernel", "head.bias"]
    for path in (
        "stage1.stack.conv.kernel",
        "residual1.body.stack.conv.kernel",
        "residual2.body.stack_1.bn.moving_variance",
        "stage3.stack.bn.beta",
    ):
        assert path in paths["resnet9"]
    for path in (
        "stem.stack.conv.kernel",
        "stage1.stack.residual.body.stack.conv.kernel",
        "stage2.stack.residual.shortcut.bn.gamma",
        "stage4.stack_1.residual.body.stack_1.bn.moving_mean",
        "head.bias",
    ):
        assert path in paths["resnet18"]
    assert not any("stage1.stack.residual.shortcut" in path for path in paths["resnet18"])


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_predict_probabilities(name: str) -> None:
    model = Model.from_layer(build_network(name, (16, 16, 3), 5, width=0.125), (16, 16, 3))
    y = model.predict(np.zeros((3, 16, 16, 3), np.uint8))
    assert y.shape == (3, 5)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"'resnet8'.*Did you mean 'resnet.*'\?.*simple, resnet9"):
        build_network("resnet8", (32, 32, 3), 10)
    with pytest.raises(UsageError, match=r"'xyz'\. Known networks"):
        build_network("xyz", (32, 32, 3), 10)


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_a_width_is_a_positive_number(width: float) -> None:
    with pytest.raises(UsageError, match="width"):
        build_network("simple", (32, 32, 3), 10, width=width)


def test_images_that_are_too_small_name_the_layer() -> None:
    with pytest.raises(ShapeError, match=r"layer 'stage3\.max_pooling2d'.*2×2.*1×1"):
        build_network("resnet9", (4, 4, 3), 10).build((4, 4, 3))


def test_networks_are_stacks_anyone_can_change() -> None:
    for name in NETWORKS:
        assert isinstance(build_network(name, (32, 32, 3), 10), Stack)
