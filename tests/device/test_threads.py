"""The cpu device gives the same bits with any number of threads, and keeps results apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import Device, get_device


def normal(*shape: int, stream: str = "x") -> Any:
    return Philox(0, stream).normal(shape)


def statistics(channels: int) -> tuple[Any, Any]:
    return normal(channels), np.ones(channels, np.float32)


SAME = Window((3, 3), padding=((1, 1), (1, 1)))
CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "conv2d": ("conv2d", (normal(11, 20, 20, 32), normal(3, 3, 32, 24), normal(24), SAME), {}),
    "conv2d, thin": ("conv2d", (normal(19, 28, 28, 1), normal(3, 3, 1, 32), None, SAME), {}),
    "conv2d, strided": (
        "conv2d",
        (normal(5, 21, 21, 32), normal(3, 3, 32, 24), None, Window((3, 3), (2, 2))),
        {"activation": "relu"},
    ),
    "conv2d, pointwise": (
        "conv2d",
        (normal(7, 17, 17, 32), normal(1, 1, 32, 24), normal(24), Window((1, 1))),
        {},
    ),
    "conv2d, few tiles": (
        "conv2d",
        (normal(2, 13, 10, 48), normal(3, 3, 48, 150), normal(150), SAME),
        {"activation": "relu6"},
    ),
    "conv2d, large weights": (
        "conv2d",
        (normal(7, 13, 15, 130), normal(3, 3, 130, 130), None, SAME),
        {"activation": "relu"},
    ),
    "conv2d, groups": (
        "conv2d",
        (normal(9, 20, 20, 48), normal(3, 3, 16, 72), normal(72), SAME),
        {"groups": 3, "activation": "softmax"},
    ),
    "conv2d, depthwise": (
        "conv2d",
        (normal(9, 20, 20, 48), normal(3, 3, 1, 48), normal(48), SAME),
        {"groups": 48, "activation": "tanh"},
    ),
    "conv2d, one large image": (
        "conv2d",
        (normal(1, 150, 140, 8), normal(5, 5, 8, 9), None, Window((5, 5))),
        {"activation": "relu"},
    ),
    "dense": ("dense", (normal(67, 500), normal(500, 30), normal(30)), {"activation": "relu"}),
    "max_pool": ("max_pool", (normal(37, 32, 32, 16), Window((2, 2), (2, 2))), {}),
    "max_pool, overlapping": (
        "max_pool",
        (normal(37, 31, 30, 19), Window((3, 3), (2, 2), padding=((1, 1), (1, 1)))),
        {},
    ),
    "average_pool": ("average_pool", (normal(37, 32, 32, 16), Window((2, 2), (2, 2))), {}),
    "average_pool, overlapping": (
        "average_pool",
        (normal(37, 31, 30, 19), Window((3, 3), (2, 2), padding=((1, 1), (1, 1)))),
        {},
    ),
    "global_average_pool": ("global_average_pool", (normal(37, 30, 30, 19),), {}),
    "global_max_pool": ("global_max_pool", (normal(37, 30, 30, 19),), {}),
    "batch_norm": (
        "batch_norm",
        (normal(31, 29, 27, 24), normal(24), normal(24), *statistics(24)),
        {"momentum": 0.9, "epsilon": 1e-3, "activation": "relu"},
    ),
    "batch_norm with a residual": (
        "batch_norm",
        (normal(31, 29, 27, 19), normal(19), None, *statistics(19)),
        {
            "momentum": 0.9,
            "epsilon": 1e-3,
            "activation": "relu",
            "residual": normal(31, 29, 27, 19, stream="residual"),
        },
    ),
    "activation": ("activation", (normal(13, 40, 40, 16), "relu"), {}),
    "add": ("add", ((normal(13, 40, 40, 16), normal(13, 40, 40, 16)),), {}),
    "softmax_cross_entropy": (
        "softmax_cross_entropy",
        (normal(7001, 10), np.arange(7001) % 10),
        {"label_smoothing": 0.1},
    ),
    "dropout": ("dropout", (normal(301, 333), 0.3, Philox(1, "dropout")), {}),
    "input_stage": (
        "input_stage",
        (
            (normal(37, 20, 20, 3) * 50).astype(np.uint8),
            np.array([1.0, 2.0, 3.0]),
            np.array([4.0, 5.0, 6.0]),
        ),
        {"affine": np.eye(2, 3, dtype=np.float32) + normal(37, 2, 3) / 9},
    ),
    "input_stage, nothing moved": (
        "input_stage",
        ((normal(90, 40, 30, 3) * 50).astype(np.uint8), np.ones(3), np.array([4.0, 5.0, 6.0])),
        {},
    ),
    "input_stage, moved": (
        "input_stage",
        ((normal(37, 40, 30, 3) * 50).astype(np.uint8), np.ones(3), np.array([4.0, 5.0, 6.0])),
        {"flip": np.arange(37) % 3 == 0, "channels": 4},
    ),
    "augmented_input": (
        "augmented_input",
        ((normal(37, 20, 20, 3) * 50).astype(np.uint8), np.ones(3), np.array([4.0, 5.0, 6.0])),
        {
            "affine": np.eye(2, 3, dtype=np.float32) + normal(37, 2, 3) / 9,
            "colour": np.eye(3, 4, dtype=np.float32) + normal(37, 3, 4, stream="colour") / 9,
            "tone": np.tile(np.array([200, 16], np.float32), (37, 1)),
            "erase": np.tile(np.array([3, 4, 9, 17], np.int32), (37, 1)),
            "partner": np.arange(37)[::-1].astype(np.int32),
            "share": np.linspace(0, 1, 37, dtype=np.float32),
            "box": np.tile(np.array([0, 7, 20, 20], np.int32), (37, 1)),
        },
    ),
    "filter_images": (
        "filter_images",
        (
            (normal(37, 40, 30, 3) * 50).astype(np.uint8),
            np.stack([np.arange(37) % 2, np.arange(37) % 3, 200 + np.arange(37)], 1).astype(
                "int32"
            ),
        ),
        {},
    ),
    "mean_colour": ("mean_colour", ((normal(90, 40, 30, 3) * 50).astype(np.uint8),), {}),
}


def copied(device: Device, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(copied(device, item) for item in value)
    return device.put(value.copy()) if isinstance(value, np.ndarray) else value


def results(device: Device, name: str, args: Any, options: Any) -> list[Any]:
    """Everything that forward and backward give."""
    args = copied(device, args)
    options = {key: copied(device, value) for key, value in options.items()}
    ctx = Context(device, training=True, grad=True)
    with device.scope():
        result = getattr(ctx.ops, name)(*args, **options)
        if not isinstance(result, tuple):
            return [result]
        y, record = result
        gradients = ctx.ops.backward(device.put(np.ones_like(y) + y), record)
    found = [y, *(gradients if isinstance(gradients, tuple) else [gradients])]
    return [*found, *(a for a in args[3:] if name == "batch_norm")]


@pytest.mark.parametrize("case", CALLS.values(), ids=CALLS.keys())
def test_the_number_of_threads_changes_no_bit(case: Any) -> None:
    alone = results(get_device("cpu", threads=1), *case)
    for threads in (2, 3, 4):
        together = results(get_device("cpu", threads=threads), *case)
        for one, other in zip(alone, together, strict=True):
            assert (one is None) == (other is None)
            assert one is None or one.tobytes() == other.tobytes()


def test_sums_of_rows_too() -> None:
    pytest.importorskip("numba")
    from cpcnn.devices.cpu.elementwise import masked_and_summed

    dy, y = normal(31, 29, 27, 19, stream="dy"), normal(31, 29, 27, 19)
    values = []
    for threads in (1, 2, 3):
        ctx = Context(get_device("cpu", threads=threads))
        masked, sums = masked_and_summed(ctx, dy, y)
        values.append(masked.tobytes() + sums.tobytes())
    assert values[0] == values[1] == values[2]


def test_optimizer_updates_too() -> None:
    values = []
    for threads in (1, 2, 3):
        arrays = [normal(600_000, stream=str(k)) for k in range(4)]
        arrays[3] = arrays[3] ** 2
        ctx = Context(get_device("cpu", threads=threads))
        ctx.ops.adam_update(
            *arrays, learning_rate=0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-8,
            weight_decay=0.1, step=3,
        )  # fmt: skip
        ctx.ops.sgd_update(
            *arrays[:3], learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.1
        )
        ctx.ops.average_update(arrays[3], arrays[0], decay=0.9)
        arrays.append(ctx.ops.gradient_scale(arrays[1], max_norm=1.0))
        values.append(b"".join(array.tobytes() for array in arrays))
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize("case", CALLS.values(), ids=CALLS.keys())
def test_results_in_hand_are_not_overwritten(case: Any) -> None:
    """The device uses memory again, but never memory that somebody still looks at."""
    device = get_device("cpu", threads=2)
    name, args, options = case
    first = results(device, name, args, options)
    # views are enough to hold on to memory
    views = [None if array is None else array[..., :1] for array in first]
    copies = [None if view is None else view.copy() for view in views]
    del first
    for _ in range(4):
        changed = tuple(
            a * 2 if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in args
        )
        results(device, name, changed, options)
    for view, copy in zip(views, copies, strict=True):
        assert view is None or np.array_equal(view, copy)


@pytest.mark.parametrize("case", CALLS.values(), ids=CALLS.keys())
def test_no_memory_of_others_is_touched(fenced_device: Any, case: Any) -> None:
    """Between fences and where nothing was written yet, results are the same."""
    found = results(fenced_device, *case)
    fenced_device.check()
    expected = results(get_device("cpu", threads=2), *case)
    for one, other in zip(found, expected, strict=True):
        assert one is other is None or one.tobytes() == other.tobytes()


def test_an_error_in_a_thread_arrives() -> None:
    ctx = Context(get_device("cpu", threads=2))
    with pytest.raises(ValueError, match="mismatch"):
        ctx.ops.dense(normal(70, 5), normal(6, 3), None)
    # and the threads are there for the next call
    y, _ = ctx.ops.dense(normal(70, 5), normal(5, 3), None)
    assert y.shape == (70, 3)
