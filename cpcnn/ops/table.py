"""Dispatch: an op is a name with an ordered list of implementations, the last one the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

from ..core.context import Context
from ..core.typing import Array, Saved


class Op:
    """One implementation of an op: whether it takes a call, what it computes, and its gradient.

    `supports` looks at dtypes, shapes and contiguity only, never at values. `forward` returns
    (result, saved); `backward` takes the result's gradient and `saved`, and returns one gradient
    per differentiable argument, in their order. Neither modifies an array it was given, unless
    its docstring says which.

    `repeats`: a recorder of the device takes down all that `forward` does at inference.
    """

    repeats: ClassVar[bool] = False

    @staticmethod
    def supports(ctx: Context, *args: Any, **options: Any) -> bool:
        return True

    forward: Callable[..., tuple[Any, Saved]]
    backward: Callable[..., Any]


class Action:
    """An op without a gradient: `run` computes, and its result is returned as it is."""

    @staticmethod
    def supports(ctx: Context, *args: Any, **options: Any) -> bool:
        return True

    run: Callable[..., Any]


Implementation: TypeAlias = type[Op] | type[Action]
Table: TypeAlias = Mapping[str, Sequence[Implementation]]


class Record(NamedTuple):
    """What backward needs: who ran forward, and what it kept."""

    op: type[Op]
    saved: Saved


class Ops:
    """The ops of a device, bound to a context: `ctx.ops.conv2d(x, w, b, window)`."""

    def __init__(self, table: Table, ctx: Context) -> None:
        self._table = table
        self._ctx = ctx

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            implementations = self._table[name]
        except KeyError:
            raise AttributeError(f"there is no op named {name!r}") from None

        ctx = self._ctx

        def call(*args: Any, **options: Any) -> Any:
            for chosen in implementations:
                if chosen.supports(ctx, *args, **options):
                    break
            else:
                raise NotImplementedError(f"no implementation of {name} takes these arguments")
            if issubclass(chosen, Action):
                return chosen.run(ctx, *args, **options)
            result, saved = chosen.forward(ctx, *args, **options)
            if ctx.recorder is not None:
                ctx.recorder.finish(chosen, result)
            return result, Record(chosen, saved) if ctx.grad else None

        self.__dict__[name] = call
        return call

    def backward(self, dy: Array, record: Record) -> Any:
        """Run the gradient of the implementation that ran forward."""
        return record.op.backward(self._ctx, dy, record.saved)


def merge(fast: Table, reference: Table) -> dict[str, tuple[Implementation, ...]]:
    """Put a device's fast implementations before the reference of the same name."""
    unknown = fast.keys() - reference.keys()
    if unknown:
        raise KeyError(f"no reference op is named {', '.join(sorted(unknown))}")
    return {name: (*fast.get(name, ()), *reference[name]) for name in reference}
