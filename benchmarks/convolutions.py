"""One convolution on both sides: forward, the gradient of its weights, and both gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from contenders import LAYOUTS
from geometries import BOTH, FORWARD, WEIGHTS, Geometry, Shape
from gpu_report import HALF, OURS, THEIRS
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.devices import Device

TOLERANCE = 1e-4  # of a result in float32, relative to its norm
CHECKED_IMAGES = 64


@dataclass(frozen=True)
class Numbers:
    """Random numbers for images, weights and the output's gradient, repeated to fill a shape.

    Weights are small enough for outputs of the order of 1.
    """

    x: NDArray[np.float32]
    w: NDArray[np.float32]
    dy: NDArray[np.float32]

    @classmethod
    def draw(cls, geometry: Geometry) -> Numbers:
        rng = np.random.default_rng(0)
        # odd, so that no two images or pixels are alike
        x, w, dy = (rng.standard_normal((1 << 20) + 1, np.float32) for _ in range(3))
        inputs = np.prod(geometry.kernel_shape[:3])
        return cls(x, w / np.sqrt(inputs, dtype=np.float32), dy)


class OurConvolution:
    """The op `conv2d` of a device, in one dtype. To be called in the device's scope."""

    def __init__(self, geometry: Geometry, numbers: Numbers, device: Device, dtype: str) -> None:
        self.geometry = geometry
        kind = device.empty((0,), dtype).dtype

        def put(block: NDArray[Any], shape: Shape) -> Any:
            return device.put(np.resize(block.astype(kind), shape))

        self.x = put(numbers.x, geometry.input_shape)
        self.w = put(numbers.w, geometry.kernel_shape)
        self.dy = put(numbers.dy, geometry.output_shape)
        self._ctx = Context(device, training=True, grad=True)
        self._first_layer = Context(device, training=True, grad=True, input_gradient=False)
        self._record = self._run()[1]

    def _run(self) -> tuple[Any, Any]:
        geometry = self.geometry
        return self._ctx.ops.conv2d(self.x, self.w, None, geometry.window, groups=geometry.groups)

    def forward(self) -> Any:
        return self._run()[0]

    def weight_gradient(self) -> Any:
        return self._first_layer.ops.backward(self.dy, self._record)[1]

    def both_gradients(self) -> tuple[Any, Any]:
        return self._ctx.ops.backward(self.dy, self._record)[:2]

    def results(self) -> list[NDArray[Any]]:
        """Output and gradients on the host, in our layout."""
        return [self._ctx.host(array) for array in (self.forward(), *self.both_gradients())]


class TheirConvolution:
    """PyTorch's, images and weights in one layout.

    `tf32` lets cuDNN round the factors of float32 products.
    """

    def __init__(
        self,
        geometry: Geometry,
        numbers: Numbers,
        place: str,
        dtype: str,
        *,
        layout: str = "channels_last",
        tf32: bool = False,
    ) -> None:
        self.geometry = geometry
        self._tf32 = tf32
        memory_format = LAYOUTS[layout]
        kind = getattr(torch, dtype)

        def put(block: NDArray[Any], shape: Shape, axes: tuple[int, ...]) -> torch.Tensor:
            tensor = torch.from_numpy(np.resize(block, shape)).to(place, kind)
            return tensor.permute(axes).contiguous(memory_format=memory_format)

        self.x = put(numbers.x, geometry.input_shape, (0, 3, 1, 2))
        self.w = put(numbers.w, geometry.kernel_shape, (3, 2, 0, 1))
        self.dy = put(numbers.dy, geometry.output_shape, (0, 3, 1, 2))
        self._window: Any = tuple(
            [length, length] for length in (geometry.stride, geometry.padding, geometry.dilation)
        )

    def forward(self) -> torch.Tensor:
        torch.backends.cudnn.allow_tf32 = self._tf32
        with torch.no_grad():
            return torch.nn.functional.conv2d(
                self.x, self.w, None, *self._window, self.geometry.groups
            )

    def _gradients(self, *wanted: bool) -> Any:
        torch.backends.cudnn.allow_tf32 = self._tf32
        return torch.ops.aten.convolution_backward(
            self.dy,
            self.x,
            self.w,
            None,
            *self._window,
            False,
            [0, 0],
            self.geometry.groups,
            [*wanted, False],
        )

    def weight_gradient(self) -> torch.Tensor:
        return self._gradients(False, True)[1]

    def both_gradients(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._gradients(True, True)[:2]

    def results(self) -> list[NDArray[Any]]:
        """Output and gradients on the host, in our layout."""
        dx, dw = self.both_gradients()
        images = [t.permute(0, 2, 3, 1).cpu().numpy() for t in (self.forward(), dx)]
        return [*images, dw.permute(2, 3, 1, 0).cpu().numpy()]


def make_contenders(
    geometry: Geometry, device: Device, place: str, *, half: bool
) -> dict[str, OurConvolution | TheirConvolution]:
    """Make both sides in float32, and with `half` those in TF32 and bfloat16 as well."""
    numbers = Numbers.draw(geometry)
    ours = {"float32": OurConvolution(geometry, numbers, device, "float32")}
    theirs = {"float32": TheirConvolution(geometry, numbers, place, "float32")}
    if half:
        ours[HALF] = OurConvolution(geometry, numbers, device, HALF)
        theirs["TF32"] = TheirConvolution(geometry, numbers, place, "float32", tf32=True)
        theirs[HALF] = TheirConvolution(geometry, numbers, place, HALF)
    return {f"{OURS} {dtype}": contender for dtype, contender in ours.items()} | {
        f"{THEIRS} {dtype}": contender for dtype, contender in theirs.items()
    }


def make_cpu_contenders(
    geometry: Geometry, device: Device
) -> dict[str, OurConvolution | TheirConvolution]:
    """Make both sides in float32, theirs in every layout. To be called in the device's scope."""
    numbers = Numbers.draw(geometry)
    theirs = {
        f"{THEIRS} {layout}": TheirConvolution(geometry, numbers, "cpu", "float32", layout=layout)
        for layout in LAYOUTS
    }
    return {OURS: OurConvolution(geometry, numbers, device, "float32"), **theirs}


def calls_of(contenders: Mapping[str, Any]) -> dict[str, dict[str, Callable[[], object]]]:
    """Return the calls of all contenders, for each of the three things that are measured."""
    methods = {FORWARD: "forward", WEIGHTS: "weight_gradient", BOTH: "both_gradients"}
    return {
        title: {name: getattr(contender, method) for name, contender in contenders.items()}
        for title, method in methods.items()
    }


def compare_results(
    geometry: Geometry, device: Device, place: str, layouts: Sequence[str] = ("channels_last",)
) -> float:
    """Return how much the sides differ in float32: the norm relative to theirs, at worst.

    A few images are enough, so many that their columns still come in several chunks.
    """
    few = geometry.of(min(geometry.images, CHECKED_IMAGES))
    numbers = Numbers.draw(few)
    ours = OurConvolution(few, numbers, device, "float32").results()
    differences = []
    for layout in layouts:
        theirs = TheirConvolution(few, numbers, place, "float32", layout=layout).results()
        norm = np.linalg.norm
        for mine, other in zip(ours, theirs, strict=True):
            differences.append(norm(mine - other) / norm(other))
    # NumPy's maximum, because Python's would pass over NaN
    return float(np.max(differences))
