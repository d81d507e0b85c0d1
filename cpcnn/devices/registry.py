"""Finding devices: the entry point group `cpcnn.devices`, and devices registered by hand."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import TypeAlias

from ..core.errors import DeviceError
from ..ops import REFERENCE
from ..ops.table import Table, merge
from .base import Device

# Called with the index after the colon in a name such as "gpu:1", and the number of threads;
# raises DeviceError with the cause when the device cannot be used.
Factory: TypeAlias = Callable[[int | None, int | None], Device]

GROUP = "cpcnn.devices"
PREFERENCE = ("gpu", "cpu", "numpy")  # what "auto" tries, in this order
_registered: dict[str, Factory] = {}


@dataclass(frozen=True)
class DeviceStatus:
    """Whether a device can be used here: `description` if so, `reason` if not."""

    name: str
    usable: bool
    description: str = ""
    reason: str = ""


def register_device(name: str, factory: Factory) -> None:
    """Make a device known by name, before any of the same name that is installed."""
    _registered[name] = factory


def get_device(
    spec: str | Device = "auto", *, threads: int | None = None, exact: bool = False
) -> Device:
    """Return the device named "auto", "cpu", "numpy", "gpu", "gpu:N" or by a plug-in.

    "auto" is the first of gpu, cpu, numpy that can be used. With `exact` the device uses no
    algorithm that rounds more than plain sums do. DeviceError for an unknown name, or with the
    cause for a device that cannot be used.
    """
    if isinstance(spec, Device):
        return spec
    if not isinstance(spec, str):
        raise DeviceError(f"a device is given by its name, or as a Device, not as {spec!r}.")
    device = _first_usable(threads) if spec == "auto" else _make(spec, threads)
    device.exact = exact
    return device


def available_devices() -> list[DeviceStatus]:
    """Every known device, preferred ones first, each usable or with the reason why not."""
    names = _names()
    ordered = [*(n for n in PREFERENCE if n in names), *(n for n in names if n not in PREFERENCE)]
    return [_status(name) for name in ordered]


def implementations(spec: str) -> dict[str, list[str]]:
    """Return who may compute each op on a device, in the order in which they are asked.

    They are names of classes; what `ops` has for every device, the definition of the op last, is
    called "reference". DeviceError for an unknown name, and for a device that cannot be used here
    and whose factory does not say what it `makes`.
    """
    table = _table(spec)
    return {
        op: [*(own.__name__ for own in table[op] if own not in REFERENCE[op]), "reference"]
        for op in REFERENCE
    }


def _make(spec: str, threads: int | None) -> Device:
    name, index = _parse(spec)
    return _factory(name)(index, threads)


def _table(spec: str) -> Table:
    name, index = _parse(spec)
    factory = _factory(name)
    try:
        return factory(index, None).table
    except DeviceError:
        device_class = getattr(factory, "makes", None)
        if device_class is None:
            raise
        return merge(resolve_name(device_class).fast, REFERENCE)


def _status(name: str) -> DeviceStatus:
    try:
        return DeviceStatus(name, True, description=get_device(name).description)
    except DeviceError as error:
        return DeviceStatus(name, False, reason=str(error))


def _first_usable(threads: int | None) -> Device:
    reasons = []
    for name in PREFERENCE:
        try:
            return _factory(name)(None, threads)
        except DeviceError as error:
            reasons.append(f"{name}: {error.message}")
    raise DeviceError(
        f"no device can be used ({'; '.join(reasons)}).",
        suggestion="Reinstall cpcnn: the cpu device comes with it.",
    )


def _parse(spec: str) -> tuple[str, int | None]:
    name, colon, index = spec.partition(":")
    if not colon:
        return name, None
    if not (index.isascii() and index.isdigit()):
        raise DeviceError(
            f"device {spec!r} is not a device name.",
            suggestion='Write a name, or a name and a number such as "gpu:1".',
        )
    return name, int(index)


@cache
def _installed() -> dict[str, object]:
    # the scan takes tens of milliseconds, so it waits until a device is asked for
    return {point.name: point for point in entry_points(group=GROUP)}


def _names() -> list[str]:
    return sorted({*_registered, *_installed()})


def _factory(name: str) -> Factory:
    if name in _registered:
        return _registered[name]
    point = _installed().get(name)
    if point is None:
        close = difflib.get_close_matches(name, ["auto", *_names()], n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DeviceError(
            f"there is no device named {name!r}.{hint}",
            suggestion=f"Known devices: auto, {', '.join(_names())}.",
        )
    try:
        factory: Factory = point.load()  # type: ignore[attr-defined]
    except ImportError as error:
        raise DeviceError(f"device {name!r} cannot be loaded: {error}.") from None
    return factory
