"""What an optimizer is: hyper-parameters, flat state buffers, and the op that updates them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from ..core.context import Context
from ..core.errors import CheckpointError, UsageError
from ..core.param import ParamStore
from ..core.typing import Array


@dataclass(kw_only=True)
class Optimizer:
    """Describes an update; the update itself is an op over the flat parameter buffers.

    Weight decay applies to kernels, not to biases and normalisation parameters. With
    `global_clipnorm` the gradients of all parameters together are shortened to that norm when they
    are longer, and a step whose gradients are not all finite changes nothing; inf never shortens.
    """

    learning_rate: float
    weight_decay: float = 0.0
    global_clipnorm: float | None = None

    slots: ClassVar[tuple[str, ...]] = ()  # names of the state buffers
    buffers: dict[str, Array] = field(default_factory=dict, init=False, repr=False)
    step: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._check("learning_rate", self.learning_rate > 0)
        self._check("weight_decay", self.weight_decay >= 0)
        if self.global_clipnorm is not None and not self.global_clipnorm > 0:
            raise self._refusal("global_clipnorm")

    def _check(self, option: str, valid: bool) -> None:
        if not (valid and math.isfinite(getattr(self, option))):
            raise self._refusal(option)

    def _refusal(self, option: str) -> UsageError:
        return UsageError(f"{type(self).__name__}: {option} cannot be {getattr(self, option)!r}.")

    def prepare(self, store: ParamStore) -> None:
        """Start the state at zero for the parameters in `store`."""
        shape = (store.trainable_size,)
        self.buffers = {name: store.device.zeros(shape, store.dtype) for name in self.slots}
        self.step = 0

    def update(self, ctx: Context, store: ParamStore, learning_rate: float) -> None:
        """Change all trainable parameters by their gradients, in place."""
        self.step += 1
        scale = None
        if self.global_clipnorm is not None:
            scale = ctx.ops.gradient_scale(store.grads, max_norm=self.global_clipnorm)
        for segment in store.segments:
            here = slice(segment.start, segment.stop)
            self.apply(
                ctx,
                store.values[here],
                store.grads[here],
                *(self.buffers[name][here] for name in self.slots),
                learning_rate=learning_rate,
                weight_decay=self.weight_decay if segment.decay else 0.0,
                scale=scale,
            )

    def apply(
        self,
        ctx: Context,
        *arrays: Array,
        learning_rate: float,
        weight_decay: float,
        scale: Array | None,
    ) -> None:
        """Call the op on (value, grad, *state buffers); the op takes `scale` as it is."""
        raise NotImplementedError

    def get_state(self, store: ParamStore) -> dict[str, NDArray[Any]]:
        """Copy the state to the host, keyed `slot/path`."""
        return {
            f"{name}/{path}": array
            for name in self.slots
            for path, array in store.unflatten(store.device.get(self.buffers[name])).items()
        }

    def set_state(self, store: ParamStore, state: Mapping[str, NDArray[Any]], step: int) -> None:
        """Continue from a state that `get_state` returned."""
        for name in self.slots:
            prefix = f"{name}/"
            slot = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            try:
                host = store.flatten(slot)
            except (KeyError, ValueError) as error:
                raise CheckpointError(
                    f"the optimizer state {name!r} does not fit the model ({error})."
                ) from None
            self.buffers[name] = store.device.put(host)
        self.step = step
