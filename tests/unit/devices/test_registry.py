"""Finding devices, and plugging one in."""

from __future__ import annotations

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import DeviceError
from cpcnn.devices import Device, available_devices, get_device, register_device, registry
from cpcnn.devices.base import makes
from cpcnn.devices.registry import implementations
from cpcnn.ops import REFERENCE
from cpcnn.ops.table import Action, Op, Ops, merge


@pytest.fixture(autouse=True)
def forget_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def test_devices_that_come_with_cpcnn() -> None:
    status = {device.name: device for device in available_devices()}
    assert list(status)[:3] == ["gpu", "cpu", "numpy"]  # in order of preference
    assert status["numpy"].usable
    assert np.__version__ in status["numpy"].description
    assert status["cpu"].usable
    assert "thread" in status["cpu"].description


def test_auto_is_the_first_that_can_be_used() -> None:
    usable = [device.name for device in available_devices() if device.usable]
    assert get_device("auto").name == usable[0]
    assert get_device().name == usable[0]


def test_a_device_stands_for_itself() -> None:
    device = get_device("numpy")
    assert get_device(device) is device


def test_the_number_of_threads() -> None:
    assert get_device("cpu", threads=3).threads == 3
    assert get_device("cpu").threads >= 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cup", ["'cup'", "Did you mean 'cpu'?", "auto", "numpy"]),
        ("tpu9000", ["'tpu9000'", "Known devices"]),
        ("", ["''"]),
        ("gpu:", ["'gpu:'", "gpu:1"]),
        ("gpu:x", ["'gpu:x'"]),
        ("gpu:-1", ["'gpu:-1'"]),
        ("gpu:²", ["'gpu:²'"]),
    ],
)
def test_names_that_are_no_device(name: str, words: list[str]) -> None:
    with pytest.raises(DeviceError) as caught:
        get_device(name)
    for word in words:
        assert word in str(caught.value)


def test_a_device_that_cannot_be_used_says_why() -> None:
    def create(index: int | None, threads: int | None) -> Device:
        raise DeviceError("the tpu device is unplugged.", suggestion="Plug it in.")

    register_device("tpu", create)
    with pytest.raises(DeviceError, match="unplugged"):
        get_device("tpu")
    status = {device.name: device for device in available_devices()}["tpu"]
    assert not status.usable
    assert status.reason == "the tpu device is unplugged. Plug it in."


class Doubling(Op):
    """A max_pool that is none, to see who ran."""

    @staticmethod
    def supports(ctx: Context, x: np.ndarray, *args: object) -> bool:
        return x.ndim == 4

    @staticmethod
    def forward(ctx: Context, x: np.ndarray, *args: object) -> tuple[np.ndarray, object]:
        return x * 2, None

    @staticmethod
    def backward(ctx: Context, dy: np.ndarray, saved: object) -> np.ndarray:
        return dy * 2


class Plugged(Device):
    name = "plugged"
    fast = {"global_max_pool": (Doubling,)}  # noqa: RUF012


def test_a_plug_in_is_found_by_name_and_index() -> None:
    made = []

    def create(index: int | None, threads: int | None) -> Device:
        made.append((index, threads))
        return Plugged()

    register_device("plugged", create)
    assert get_device("plugged:2", threads=5).name == "plugged"
    assert made == [(2, 5)]
    assert "plugged" in {device.name for device in available_devices()}


def unplugged(index: int | None, threads: int | None) -> Device:
    raise DeviceError("the plugged device is unplugged.")


def test_who_computes_on_a_device() -> None:
    ops = implementations("cpu")
    assert list(ops) == list(REFERENCE)
    assert ops["conv2d"] == ["WinogradConv2D", "DepthwiseConv2D", "GatherConv2D", "reference"]
    assert set(map(tuple, implementations("numpy").values())) == {("reference",)}
    register_device("plugged", lambda index, threads: Plugged())
    assert implementations("plugged:1")["global_max_pool"] == ["Doubling", "reference"]
    assert implementations("plugged")["conv2d"] == ["reference"]


def test_who_would_compute_on_a_device_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register_device("plugged", unplugged)
    with pytest.raises(DeviceError, match="unplugged"):
        implementations("plugged")
    monkeypatch.setattr(registry, "OtherDevice", Plugged, raising=False)
    register_device("plugged", makes("cpcnn.devices.registry:OtherDevice")(unplugged))
    assert implementations("plugged")["global_max_pool"] == ["Doubling", "reference"]
    with pytest.raises(DeviceError, match="no device named 'plucked'"):
        implementations("plucked")


def test_a_registered_device_goes_before_an_installed_one() -> None:
    register_device("cpu", lambda index, threads: Plugged())
    assert get_device("cpu").name == "plugged"


def test_backward_runs_where_forward_ran() -> None:
    ctx = Context(Plugged(), grad=True)
    x = np.ones((1, 2, 2, 1))
    y, record = ctx.ops.global_max_pool(x)
    assert y.shape == x.shape
    assert (ctx.ops.backward(y, record) == 4).all()
    # what it has no implementation for, it takes from the reference
    y, record = ctx.ops.global_average_pool(x)
    assert y.tolist() == [[1.0]]
    assert ctx.ops.backward(y, record).tolist() == np.full((1, 2, 2, 1), 0.25).tolist()


def test_a_table_names_only_known_ops() -> None:
    with pytest.raises(KeyError, match="conv2b"):
        merge({"conv2b": (Doubling,)}, REFERENCE)
    merged = merge(Plugged.fast, REFERENCE)
    assert merged["global_max_pool"] == (Doubling, *REFERENCE["global_max_pool"])


def test_an_unknown_op_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="conv3d"):
        _ = Context(get_device("numpy")).ops.conv3d


def test_arguments_that_nobody_takes() -> None:
    class Never(Action):
        @staticmethod
        def supports(ctx: Context, *args: object, **options: object) -> bool:
            return False

    with pytest.raises(NotImplementedError, match="move"):
        Ops({"move": (Never,)}, Context(get_device("numpy"))).move(1)
