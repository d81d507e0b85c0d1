"""Two libraries on one device: waiting for both, and memory that neither gives back by itself."""

from __future__ import annotations

import gc
from typing import Any

from cpcnn.core.errors import DeviceError

TIGHT = 1 / 3  # of a GPU's memory; with less of it free, caches are emptied between turns


class SharedDevice:
    """Our `device` and, unless `torch` is None, the same one in PyTorch's hands.

    `place` is PyTorch's name for it. DeviceError when PyTorch cannot use it.
    """

    def __init__(self, device: Any, torch: Any = None) -> None:
        self.device = device
        self.is_gpu = hasattr(device, "index")
        self._torch: Any = torch if self.is_gpu else None
        self.place = "cpu"
        if self._torch is not None:
            self._check()
            self.place = f"cuda:{device.index}"

    def _check(self) -> None:
        if not self._torch.cuda.is_available():
            raise DeviceError(
                f"PyTorch {self._torch.__version__} finds no GPU: it was built for CUDA "
                f"{self._torch.version.cuda}.",
                suggestion="Install a build for this driver, or measure --only kernels.",
            )

    def wait(self) -> None:
        """Wait until both sides have done all that they were asked for."""
        self.device.synchronize()
        if self._torch is not None:
            self._torch.cuda.synchronize(self.place)

    def make_room(self) -> None:
        """Empty the caches if memory is short: each library keeps what the other may need."""
        if self._torch is not None:
            free, total = self._torch.cuda.mem_get_info(self.place)
            if free < TIGHT * total:
                self.empty_caches()

    def empty_caches(self) -> None:
        """Give the GPU all memory back that no array uses."""
        gc.collect()
        if self.is_gpu:
            import cupy

            with self.device.scope():
                cupy.get_default_memory_pool().free_all_blocks()
        if self._torch is not None:
            self._torch.cuda.empty_cache()
