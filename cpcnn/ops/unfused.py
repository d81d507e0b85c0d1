"""An activation that its op cannot take along, as an op of its own behind it."""

from __future__ import annotations

from typing import Any, ClassVar

from ..core.context import Context
from ..core.typing import Array, Saved
from .activations import keeps_input
from .table import Op


class Unfused(Op):
    """The op `name` without its activation, then the activation.

    For activations whose gradient needs their input, where an op with the activation in it would
    keep its output in vain. It stands in REFERENCE before the definition, so that it is asked after
    a device's fast implementations, and these do all but the activation.
    """

    name: ClassVar[str]

    @classmethod
    def supports(cls, ctx: Context, *args: Any, activation: Any = None, **options: Any) -> bool:
        return keeps_input(activation)

    @classmethod
    def forward(
        cls, ctx: Context, *args: Any, activation: str, **options: Any
    ) -> tuple[Array, Saved]:
        before, record = getattr(ctx.ops, cls.name)(*args, **options)
        y, last = ctx.ops.activation(before, activation)
        return y, (record, last)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Any:
        record, last = saved
        return ctx.ops.backward(ctx.ops.backward(dy, last), record)


class UnfusedConv2D(Unfused):
    name = "conv2d"


class UnfusedDense(Unfused):
    name = "dense"


class UnfusedBatchNorm(Unfused):
    name = "batch_norm"
