"""The device `gpu` without a GPU: streams, errors and launches on a double of CuPy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import DeviceError, DeviceMemoryError
from cpcnn.devices.cuda import kernel as kernels
from cpcnn.devices.cuda.geometry import linear
from cpcnn.devices.cuda.gpu import CudaDevice
from cpcnn.devices.cuda.kernel import Kernel

from .lazy_cupy import CUDARuntimeError, LazyCupy


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> LazyCupy:
    double = LazyCupy()
    monkeypatch.setitem(sys.modules, "cupy", double)  # type: ignore[arg-type]
    return double


@pytest.fixture
def device(cupy: LazyCupy) -> CudaDevice:
    return CudaDevice()


# ---- Streams ---------------------------------------------------------------------------------


def test_work_in_scope_follows_what_was_begun_outside(cupy: LazyCupy, device: CudaDevice) -> None:
    done: list[str] = []
    cupy.null.enqueue(lambda: done.append("before"))
    with device.scope():
        stream = cupy.current[-1]
        assert stream is not cupy.null
        stream.enqueue(lambda: done.append("inside"))
        with device.scope():  # nested: the same stream, and nothing to wait for
            assert cupy.current[-1] is stream
            stream.enqueue(lambda: done.append("nested"))
    cupy.null.enqueue(lambda: done.append("after"))
    cupy.null.advance()
    assert done == ["before", "inside", "nested", "after"]


def test_the_surrounding_stream_waits_also_after_an_error(
    cupy: LazyCupy, device: CudaDevice
) -> None:
    done: list[str] = []

    def fail() -> None:
        with device.scope():
            cupy.current[-1].enqueue(lambda: done.append("inside"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    cupy.null.advance()
    assert done == ["inside"]
    assert cupy.current == [cupy.null]


def test_arrays_come_and_go(device: CudaDevice) -> None:
    host = np.arange(6, dtype=np.int64).reshape(2, 3)
    array = device.put(host)
    host[...] = 0
    assert device.get(array).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert device.get(device.zeros((2,), "float32")).tolist() == [0, 0]
    assert device.empty((3, 4), "float64").shape == (3, 4)


# ---- What people see -------------------------------------------------------------------------


def test_what_it_says_of_itself(device: CudaDevice) -> None:
    assert device.name == "gpu"
    assert device.description == (
        "A GPU, 1 GiB, compute capability 9.0, CuPy 14.2.0 for CUDA 12.9, driver for CUDA 13.0"
    )
    assert CudaDevice(1).name == "gpu:1"
    assert device.memory() == (5, 1 << 30)


@pytest.mark.parametrize("method", ["empty", "zeros"])
def test_no_memory_is_a_typed_error(cupy: LazyCupy, device: CudaDevice, method: str) -> None:
    with pytest.raises(DeviceMemoryError, match=r"gpu is out of memory.*--batch-size"):
        getattr(device, method)((1 << 40,), "float32")
    assert cupy.emptied == 1
    # and it goes on
    assert device.get(device.put(np.ones(3))).tolist() == [1, 1, 1]


def test_no_memory_inside_an_op_too(cupy: LazyCupy, device: CudaDevice) -> None:
    with pytest.raises(DeviceMemoryError), device.scope():
        cupy.empty((1 << 40,), "float32")
    assert cupy.current == [cupy.null]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("cudaErrorIllegalAddress", DeviceError), ("CUBLAS_STATUS_ALLOC_FAILED", DeviceMemoryError)],
)
def test_errors_of_the_gpu_are_translated(device: CudaDevice, text: str, kind: type) -> None:
    with pytest.raises(DeviceError, match=text) as caught, device.scope():
        raise CUDARuntimeError(text)
    assert type(caught.value) is kind


def test_other_errors_are_left_alone(device: CudaDevice) -> None:
    with pytest.raises(RuntimeError, match="mine") as caught, device.scope():
        raise RuntimeError("mine")
    assert type(caught.value) is RuntimeError


# ---- Launches --------------------------------------------------------------------------------


@pytest.fixture
def doubling(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    (tmp_path / "doubling.cu").write_text(
        "template <typename T> __global__ void __launch_bounds__(256) doubling(\n"
        "    const T* x, T* y, const T* other,  // or null\n    int count) {}\n"
    )
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    monkeypatch.setattr(Kernel, "known", [])
    kernels.read_source.cache_clear()
    return Kernel("doubling.cu", "doubling", [("float",), ("double",)])


def launch(device: CudaDevice, kernel: Kernel, x: Any, y: Any, c_type: str = "float") -> None:
    kernel(Context(device), linear(300), (c_type,), x=x, y=y, other=None, count=300)


def test_a_kernel_is_compiled_once_for_each_instance(
    cupy: LazyCupy, device: CudaDevice, doubling: Kernel
) -> None:
    cupy.modules.clear()
    x, y = device.put(np.ones(300, np.float32)), device.empty((300,), "float32")
    launch(device, doubling, x, y)
    launch(device, doubling, x, y)
    (module,) = cupy.modules
    assert module.code == doubling.source
    assert module.names == ("doubling<float>",)
    assert module.options == ("-std=c++17",)
    first, second = module.launches
    assert first == second == ((2, 1, 1), (256, 1, 1), (x, y, np.uint64(0), np.int32(300)))
    assert type(first[2][3]) is np.int32
    assert type(first[2][2]) is np.uint64  # a null pointer has the width of a pointer
    wide = device.put(np.ones(300))
    launch(device, doubling, wide, wide, "double")
    assert len(cupy.modules) == 2


def test_arrays_of_another_place_are_refused(device: CudaDevice, doubling: Kernel) -> None:
    y = device.empty((300,), "float32")
    with pytest.raises(DeviceError, match=r"given an array of numpy.*device\.put"):
        launch(device, doubling, np.ones(300, np.float32), y)
    elsewhere = device.empty((300,), "float32")
    elsewhere.device.id = 3
    with pytest.raises(DeviceError, match=r"lies on gpu:3.*model\.to"):
        launch(device, doubling, elsewhere, y)


def test_a_source_that_does_not_compile_names_the_kernel(
    device: CudaDevice, doubling: Kernel
) -> None:
    path = kernels.FOLDER / "doubling.cu"
    path.write_text(path.read_text() + "#error here\n")
    x = device.empty((300,), "float32")
    with pytest.raises(DeviceError, match=r"doubling<float> of doubling\.cu.*line 3: an error"):
        launch(device, doubling, x, x)
