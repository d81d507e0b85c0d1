"""Parameters, and the flat buffers that hold all of a model's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError
from .random import Philox
from .typing import Array, Shape

if TYPE_CHECKING:
    from .context import DeviceLike

Initializer: TypeAlias = Callable[[Shape, Philox], NDArray[Any]]
ALIGNMENT = 16  # elements: 64 bytes of float32, a cache line and the widest vector


class Param:
    """An array that a layer learns (`trainable`) or keeps up to date itself (running statistics).

    `value` and, when trainable, `grad` are views into the flat buffers of a ParamStore from
    `build` on. `decay` says whether weight decay applies (kernels yes, biases and norms no).
    A parameter that is `learned` is neither trained nor decayed while it is `frozen`.
    """

    def __init__(
        self, shape: Shape, initializer: Initializer, *, trainable: bool = True, decay: bool = True
    ) -> None:
        self.shape = shape
        self.initializer = initializer
        self.frozen = False
        self.learned = trainable
        self._decayed = decay and trainable
        self.value: Array = None  # type: ignore[assignment]
        self.grad: Array | None = None
        self.store: ParamStore | None = None

    @property
    def trainable(self) -> bool:
        return self.learned and not self.frozen

    @property
    def decay(self) -> bool:
        return self._decayed and not self.frozen

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def accumulate(self, gradient: Array | None) -> None:
        """Add a gradient of the parameter's shape; None adds nothing."""
        if gradient is not None and self.grad is not None:
            self.grad += gradient  # in place: a view of the flat buffer stays one

    def to_host(self) -> NDArray[Any]:
        """Copy the value to the host."""
        assert self.store is not None
        return np.array(self.store.device.get(self.value))

    def assign(self, value: NDArray[Any]) -> None:
        """Set the value from a host array of the parameter's shape."""
        assert self.store is not None
        device = self.store.device
        with device.scope():
            self.value[...] = device.put(np.ascontiguousarray(value, self.store.dtype))

    def __repr__(self) -> str:
        return f"Param(shape={self.shape}, trainable={self.trainable})"


@dataclass(frozen=True)
class Segment:
    """A run of the flat buffers that is updated with one weight-decay rule."""

    start: int
    stop: int
    decay: bool


class ParamStore:
    """Every Param of a model in one flat value buffer, and their gradients in another.

    The buffers are laid out as [decayed | trainable without decay | not trainable]; the gradient
    buffer ends where the trainable ones end. Paths such as `stage1.0.body.conv.kernel` are the
    keys of weights, optimizer state and messages.
    """

    def __init__(
        self, params: Mapping[str, Param], device: DeviceLike, dtype: str = "float32"
    ) -> None:
        self.params = dict(sorted(params.items(), key=lambda item: _rank(item[1])))
        self.dtype = dtype
        self.offsets: dict[str, int] = {}
        self.segments: list[Segment] = []
        self._lay_out()
        self._allocate(device)

    def _lay_out(self) -> None:
        position = 0
        ends = [0, 0, 0]
        for path, param in self.params.items():
            self.offsets[path] = position
            position += -(-param.size // ALIGNMENT) * ALIGNMENT
            ends[_rank(param)] = position
        decayed = ends[0]
        self.trainable_size = max(ends[:2])
        self.size = position
        for start, stop, decay in ((0, decayed, True), (decayed, self.trainable_size, False)):
            if stop > start:
                self.segments.append(Segment(start, stop, decay))

    def _allocate(self, device: DeviceLike) -> None:
        self.device = device
        self.values = device.zeros((self.size,), self.dtype)
        self.grads = device.zeros((self.trainable_size,), self.dtype)
        for path, param in self.params.items():
            start, stop = self.offsets[path], self.offsets[path] + param.size
            reshape = device.xp.reshape
            param.store = self
            param.value = reshape(self.values[start:stop], param.shape)
            param.grad = None  # a frozen one had a gradient before
            if param.trainable:
                param.grad = reshape(self.grads[start:stop], param.shape)

    def owns_params(self) -> bool:
        """Whether every Param still views this store, and not that of a model built later."""
        return all(param.store is self for param in self.params.values())

    def initialize(self, seed: int) -> None:
        """Draw every parameter from its own stream `init/<path>`."""
        self.set_weights(
            {
                path: param.initializer(param.shape, Philox(seed, f"init/{path}"))
                for path, param in self.params.items()
            }
        )

    def zero_grad(self) -> None:
        self.grads[...] = 0

    def to(self, device: DeviceLike) -> None:
        """Move all values to another device; gradients start at zero there."""
        host = self.device.get(self.values)
        self._allocate(device)
        self._fill(host)

    @property
    def num_trainable(self) -> int:
        return sum(param.size for param in self.params.values() if param.trainable)

    @property
    def num_parameters(self) -> int:
        return sum(param.size for param in self.params.values())

    def get_weights(self) -> dict[str, NDArray[Any]]:
        """Copy every parameter to the host, keyed by path."""
        return self.unflatten(self.device.get(self.values), trainable_only=False)

    def set_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Set every parameter from host arrays; CheckpointError unless names and shapes agree."""
        check_weights(self.params, weights)
        host = np.zeros(self.size, dtype=self.dtype)
        for path, param in self.params.items():
            start = self.offsets[path]
            host[start : start + param.size] = np.asarray(weights[path]).reshape(-1)
        self._fill(host)

    def _fill(self, host: NDArray[Any]) -> None:
        with self.device.scope():
            self.values[...] = self.device.put(host)

    def unflatten(
        self, flat: NDArray[Any], *, trainable_only: bool = True
    ) -> dict[str, NDArray[Any]]:
        """Cut a host buffer of this layout into arrays keyed by path."""
        return {
            path: flat[start : start + param.size].reshape(param.shape).copy()
            for path, param in self.params.items()
            if param.trainable or not trainable_only
            for start in (self.offsets[path],)
        }

    def flatten(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Join arrays of all trainable paths into a host buffer laid out like the gradients.

        KeyError for a missing path, ValueError for a shape that is not the parameter's.
        """
        host = np.zeros(self.trainable_size, dtype=self.dtype)
        for path, param in self.params.items():
            if param.trainable:
                if arrays[path].shape != param.shape:
                    raise ValueError(f"{path!r} has shape {arrays[path].shape}, not {param.shape}")
                start = self.offsets[path]
                host[start : start + param.size] = arrays[path].reshape(-1)
        return host


def check_weights(params: Mapping[str, Param], weights: Mapping[str, NDArray[Any]]) -> None:
    """Raise CheckpointError unless `weights` has exactly the params' paths, shapes and numbers."""
    missing = sorted(params.keys() - weights.keys())
    unknown = sorted(weights.keys() - params.keys())
    if missing or unknown:
        raise CheckpointError(
            f"weights do not match the model: {len(missing)} missing ({_first(missing)}), "
            f"{len(unknown)} unknown ({_first(unknown)}).",
            suggestion="The weights belong to another architecture.",
        )
    for path, param in params.items():
        found = np.asarray(weights[path])
        if found.shape != param.shape:
            raise CheckpointError(
                f"weight {path!r} has shape {found.shape}, the model expects {param.shape}.",
                suggestion="The weights belong to another architecture.",
            )
        if found.dtype.kind not in "fiu":
            raise CheckpointError(f"weight {path!r} holds {found.dtype}, not real numbers.")


def _rank(param: Param) -> int:
    return 0 if param.decay else 1 if param.trainable else 2


def _first(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return shown + (", …" if len(names) > limit else "")
