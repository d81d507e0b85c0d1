"""What a device is: a scope, a namespace, a table of fast implementations, and host transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..core.typing import Namespace, Shape
from ..ops import REFERENCE
from ..ops.table import Ops, Table, merge


class Memory(NamedTuple):
    """Bytes in use by this process, and bytes the device has in all."""

    used: int
    total: int


class Device:
    """A place to compute. Subclasses set `name` and `xp`, and what differs from NumPy arrays.

    `fast` lists implementations by op name; what is missing falls to the reference. With `exact`
    none is chosen that rounds more than plain sums do, as Winograd's convolution does.
    """

    name: str = "device"
    fast: ClassVar[Table] = {}
    exact: bool = False

    def __init__(self, fast: Table | None = None) -> None:
        """Make the device; `fast` is for one whose implementations depend on the machine."""
        self.table = merge(self.fast if fast is None else fast, REFERENCE)

    @property
    def xp(self) -> Namespace:
        """The array API namespace."""
        return np

    @property
    def description(self) -> str:
        """One line about the hardware and the libraries, for people."""
        return self.name

    def bind(self, ctx: Context) -> Ops:
        """Return this device's ops for a context."""
        return Ops(self.table, ctx)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Surround all work on this device: which GPU, which stream, how many BLAS threads."""
        yield

    def empty(self, shape: Shape, dtype: Any) -> Any:
        return self.xp.empty(shape, dtype=self._dtype(dtype))

    def zeros(self, shape: Shape, dtype: Any) -> Any:
        return self.xp.zeros(shape, dtype=self._dtype(dtype))

    def put(self, host: NDArray[Any]) -> Any:
        """Copy a host array to the device (or share it, when the device is the host)."""
        return self.xp.asarray(host)

    def get(self, array: Any) -> NDArray[Any]:
        """Copy a device array to the host (or share it, when the device is the host)."""
        return np.asarray(array)

    def share(self, images: int, weights: Iterable[Shape]) -> list[slice]:
        """Cut a batch for a network of weights of these shapes: here all images make one pass."""
        return [slice(0, images)]

    def run(self, work: Callable[[slice], None], pieces: list[slice]) -> None:
        """Call `work` on every piece, at the same time where the device has threads."""
        for piece in pieces:
            work(piece)

    def recorder(self, x: Any, parts: int) -> Any:
        """Return what can take down a pass that starts at x, one of so many of a batch.

        None: nothing is repeated here.
        """
        return None

    def synchronize(self) -> None:
        """Wait for all work that was started on this device."""

    def memory(self) -> Memory | None:
        """Memory figures, or None where they mean nothing."""
        return None

    def _dtype(self, dtype: Any) -> Any:
        return getattr(self.xp, dtype) if isinstance(dtype, str) else dtype

    def __repr__(self) -> str:
        return f"<Device {self.name}>"


Factory = TypeVar("Factory", bound=Callable[..., Device])


def makes(device_class: str) -> Callable[[Factory], Factory]:
    """Tell which class a factory makes, as "package.module:Class", imported only when asked for.

    With it the implementations of a device are known where the device itself cannot be used.
    """

    def mark(factory: Factory) -> Factory:
        factory.__dict__["makes"] = device_class
        return factory

    return mark
