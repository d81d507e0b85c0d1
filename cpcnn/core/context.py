"""What a layer knows about the call it is in: device, ops, mode and randomness."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .param import Param
from .random import Philox
from .typing import Array, Namespace, Shape


class DeviceLike(Protocol):
    """The part of a device that core and layers rely on."""

    name: str
    exact: bool

    @property
    def xp(self) -> Namespace: ...
    def bind(self, ctx: Context) -> Any: ...
    def scope(self) -> AbstractContextManager[None]: ...
    def empty(self, shape: Shape, dtype: str) -> Any: ...
    def share(self, images: int, weights: Iterable[Shape]) -> list[slice]: ...
    def run(self, work: Callable[[slice], None], pieces: list[slice]) -> None: ...
    def recorder(self, x: Any, parts: int) -> Any: ...
    def zeros(self, shape: Shape, dtype: str) -> Any: ...
    def put(self, host: NDArray[Any]) -> Any: ...
    def get(self, array: Any) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Policy:
    """Types of numbers: `parameters` for what is stored, `compute` for what layers work in."""

    parameters: str = "float32"
    compute: str = "float32"


class Context:
    """One pass over a model: where it runs, and in which mode.

    `training` selects batch statistics and dropout; `grad` keeps what backward needs;
    `input_gradient` says whether the model's own input needs a gradient (it seldom does);
    `update_statistics` whether layers move their running statistics in training (not when a pass
    is computed a second time).
    """

    def __init__(
        self,
        device: DeviceLike,
        *,
        training: bool = False,
        grad: bool = False,
        input_gradient: bool = True,
        policy: Policy | None = None,
        rng: Philox | None = None,
    ) -> None:
        self.device = device
        self.training = training
        self.grad = grad
        self.input_gradient = input_gradient
        self.update_statistics = True
        self.policy = policy or Policy()
        self.rng = rng or Philox(0, "context")
        self.undivided = False  # this pass has a thread of its own: its ops use no others
        self.recorder: Any = None  # takes down what ops do, where the device can repeat it
        self.ops = device.bind(self)
        self._interior: Context | None = None

    @property
    def xp(self) -> Namespace:
        return self.device.xp

    @property
    def interior(self) -> Context:
        """The same context for layers that do not touch the model's input."""
        if self.input_gradient:
            return self
        if self._interior is None:
            self._interior = self.variant(input_gradient=True)
        return self._interior

    def variant(self, **changes: Any) -> Context:
        """The same pass with other attributes, such as `grad` or `rng`."""
        other = copy.copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        other.ops = self.device.bind(other)
        other._interior = None
        return other

    def empty(self, shape: Shape, dtype: Any) -> Any:
        """Allocate an uninitialised array on the device."""
        return self.device.empty(shape, dtype)

    def use(self, param: Param | None) -> Array | None:
        """Return a parameter's value in the compute dtype; None stays None."""
        if param is None:
            return None
        if self.policy.compute == self.policy.parameters:
            return param.value
        return self.xp.astype(param.value, getattr(self.xp, self.policy.compute))

    def host(self, array: Any) -> NDArray[Any]:
        """Copy an array to the host."""
        return np.asarray(self.device.get(array))
