"""What an optimizer is: hyper-parameters, flat state buffers, and the op that updates them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from ..core.context import Context
from ..core.errors import CheckpointError, UsageError
from ..core.options import check_number, check_whole
from ..core.param import ParamStore, Segment
from ..core.typing import Array
from ..schedules import Constant, Schedule

AVERAGE = "average"  # the buffer of the moving average of the weights


@dataclass(kw_only=True)
class Optimizer:
    """Describes an update; the update itself is an op over the flat parameter buffers.

    `learning_rate` is a number, or a schedule: a function of the number of updates before.
    `weight_decay` applies to kernels, not to biases and normalisation parameters.

    One of three options limits the gradients, those of a whole update: `clipvalue` each element,
    `clipnorm` the norm of each parameter's gradient, `global_clipnorm` that of all together. With
    a norm, even inf, a gradient that is not all finite changes nothing: that parameter, or with
    `global_clipnorm` the whole step, is left out.

    `gradient_accumulation_steps` is the number of batches for an update. With `use_ema` training
    ends with the moving average of the weights, which keeps `ema_momentum` of itself at each
    update; it begins with the weights after the first. Running statistics are not averaged.
    """

    learning_rate: float | Schedule
    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    gradient_accumulation_steps: int | None = None

    by_parameter: ClassVar[bool] = False  # whether an update takes one parameter at a time
    buffers: dict[str, Array] = field(default_factory=dict, init=False, repr=False)
    step: int = field(default=0, init=False)  # updates done

    def __post_init__(self) -> None:
        if not callable(self.learning_rate):
            check_number(self, "learning_rate", above=0)
        if self.weight_decay is not None:
            check_number(self, "weight_decay", least=0)
        self._check_clipping()
        check_number(self, "ema_momentum", least=0, most=1)
        if self.gradient_accumulation_steps is not None:
            check_whole(self, "gradient_accumulation_steps", least=1)

    def _check_clipping(self) -> None:
        options = ("clipnorm", "clipvalue", "global_clipnorm")
        given = [option for option in options if getattr(self, option) is not None]
        if len(given) > 1:
            raise UsageError(
                f"{type(self).__name__}: {' and '.join(given)} cannot be given together.",
                suggestion="Choose one way to clip gradients.",
            )
        for option in given:
            if getattr(self, option) != math.inf:
                check_number(self, option, above=0)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state buffers, in the order in which the op takes them."""
        return ()

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a function of the number of updates before."""
        rate = self.learning_rate
        return rate if callable(rate) else Constant(rate)

    def prepare(self, store: ParamStore) -> None:
        """Start the state at zero for the parameters in `store`."""
        shape = (store.trainable_size,)
        self.buffers = {name: store.device.zeros(shape, store.dtype) for name in self.slots}
        self.step = 0

    def update(
        self, ctx: Context, store: ParamStore, learning_rate: float, batches: int = 1
    ) -> None:
        """Change all trainable parameters by their gradients, in place.

        The gradients are sums over `batches` batches; the update uses, and clips, their mean.
        `clipvalue` leaves clipped gradients in the store, otherwise they stay as they are.
        """
        self.step += 1
        if self.clipvalue is not None:
            ctx.ops.clip_gradient(store.grads, limit=self.clipvalue * batches)
        scale = _scale(ctx, store.grads, self.global_clipnorm, batches)
        for piece in self._pieces(store):
            here = slice(piece.start, piece.stop)
            grad = store.grads[here]
            if self.clipnorm is not None:
                scale = _scale(ctx, grad, self.clipnorm, batches)
            self.apply(
                ctx,
                store.values[here],
                grad,
                *(self.buffers[name][here] for name in self.slots),
                learning_rate=learning_rate,
                weight_decay=(self.weight_decay or 0.0) if piece.decay else 0.0,
                scale=scale,
            )
        if self.use_ema:
            self._update_average(ctx, store)

    def apply(self, ctx: Context, *arrays: Array, **options: Any) -> None:
        """Call the op on (value, grad, *state buffers).

        `options` are learning_rate, weight_decay and scale, which every update takes as they are.
        """
        raise NotImplementedError

    def _pieces(self, store: ParamStore) -> Sequence[Segment]:
        """The runs of the flat buffers that are updated one by one: as few as may be."""
        if not self.by_parameter and self.clipnorm is None:
            return store.segments
        return [
            Segment(start, start + param.size, param.decay)
            for path, param in store.params.items()
            if param.trainable
            for start in (store.offsets[path],)
        ]

    # --- the moving average ---------------------------------------------------------------

    def _update_average(self, ctx: Context, store: ParamStore) -> None:
        values = _trainable(store)
        if AVERAGE in self.buffers:
            ctx.ops.average_update(self.buffers[AVERAGE], values, decay=self.ema_momentum)
        else:
            self.buffers[AVERAGE] = _copy(store, values)

    @contextmanager
    def averaged(self, store: ParamStore) -> Iterator[None]:
        """Within it the store holds the averaged weights, and afterwards its own again.

        Nothing changes without `use_ema`, and before the first update.
        """
        if AVERAGE not in self.buffers:
            yield
            return
        with store.device.scope():
            kept = _copy(store, _trainable(store))
        self.finish(store)
        try:
            yield
        finally:
            with store.device.scope():
                _trainable(store)[...] = kept

    def finish(self, store: ParamStore) -> None:
        """Put the averaged weights into the store for good, as Keras does when training ends."""
        if AVERAGE in self.buffers:
            with store.device.scope():
                _trainable(store)[...] = self.buffers[AVERAGE]

    # --- the state ------------------------------------------------------------------------

    def get_state(self, store: ParamStore) -> dict[str, NDArray[Any]]:
        """Copy the state to the host, keyed `slot/path`; the moving average is one of the slots."""
        return {
            f"{name}/{path}": array
            for name, buffer in self.buffers.items()
            for path, array in store.unflatten(store.device.get(buffer)).items()
        }

    def set_state(self, store: ParamStore, state: Mapping[str, NDArray[Any]], step: int) -> None:
        """Continue from a state that `get_state` returned.

        A state without a moving average is taken too: the average then begins at the next update.
        """
        names = list(self.slots)
        if self.use_ema and any(key.startswith(f"{AVERAGE}/") for key in state):
            names.append(AVERAGE)
        self.buffers = {name: _read_slot(store, state, name) for name in names}
        self.step = step


def _scale(ctx: Context, grads: Array, max_norm: float | None, batches: int) -> Array | None:
    """Return the factor from a sum of gradients to their clipped mean; None where it is 1."""
    if max_norm is not None:
        scale: Array = ctx.ops.gradient_scale(grads, max_norm=max_norm * batches)
        return scale if batches == 1 else scale * (1 / batches)
    if batches == 1:
        return None
    mean: Array = ctx.xp.full((1,), 1 / batches, dtype=grads.dtype)
    return mean


def _trainable(store: ParamStore) -> Any:
    return store.values[: store.trainable_size]


def _copy(store: ParamStore, array: Array) -> Array:
    copy: Array = store.device.empty(array.shape, store.dtype)
    copy[...] = array
    return copy


def _read_slot(store: ParamStore, state: Mapping[str, NDArray[Any]], name: str) -> Array:
    prefix = f"{name}/"
    slot = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    try:
        host = store.flatten(slot)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"the optimizer state {name!r} does not fit the model ({error})."
        ) from None
    buffer: Array = store.device.put(host)
    return buffer
