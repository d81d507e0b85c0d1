"""NumPy arrays, computed in blocks that fit the cache, by threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.typing import Shape
from ...ops.table import Table
from ..base import Device
from .convolution import Im2colConv2D, PointwiseConv2D
from .dense import BlockedDense
from .elementwise import ParallelActivation, ParallelAdd
from .input_stage import ParallelInputStage
from .normalization import TwoPassBatchNorm
from .pooling import ParallelMaxPool
from .recycler import Recycler
from .updates import (
    BlockedAdamUpdate,
    BlockedAverageUpdate,
    BlockedClipGradient,
    BlockedGradientScale,
    BlockedNadamUpdate,
    BlockedRMSpropUpdate,
    BlockedSGDUpdate,
)
from .workers import Workers, usable_cores


class CpuDevice(Device):
    """Host memory, `threads` worker threads, and BLAS limited to one thread inside each."""

    name = "cpu"
    fast: ClassVar[Table] = {
        "conv2d": (PointwiseConv2D, Im2colConv2D),
        "dense": (BlockedDense,),
        "max_pool": (ParallelMaxPool,),
        "batch_norm": (TwoPassBatchNorm,),
        "activation": (ParallelActivation,),
        "add": (ParallelAdd,),
        "sgd_update": (BlockedSGDUpdate,),
        "adam_update": (BlockedAdamUpdate,),
        "nadam_update": (BlockedNadamUpdate,),
        "rmsprop_update": (BlockedRMSpropUpdate,),
        "clip_gradient": (BlockedClipGradient,),
        "gradient_scale": (BlockedGradientScale,),
        "average_update": (BlockedAverageUpdate,),
        "input_stage": (ParallelInputStage,),
    }

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.workers = Workers(threads or usable_cores())
        self._recycler = Recycler()
        self._blas: Any = None

    @property
    def threads(self) -> int:
        return self.workers.threads

    @property
    def description(self) -> str:
        plural = "" if self.threads == 1 else "s"
        return f"{self.threads} thread{plural}, {self._blas_name()}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Hold BLAS at one thread (ours are the threads) and keep NumPy's warnings quiet."""
        with self._controller().limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
            yield

    def empty(self, shape: Shape, dtype: Any) -> NDArray[Any]:
        return self._recycler.empty(shape, dtype)

    def _controller(self) -> Any:
        if self._blas is None:  # finding the libraries takes a millisecond: once
            from threadpoolctl import ThreadpoolController

            self._blas = ThreadpoolController()
        return self._blas

    def _blas_name(self) -> str:
        libraries = self._controller().select(user_api="blas").info()
        names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}
        for library in libraries:
            name = names.get(library["internal_api"], library["internal_api"])
            return f"{name} {library.get('version') or ''}".strip()
        return "NumPy's own BLAS"


def create(index: int | None = None, threads: int | None = None) -> Device:
    """Make the device with `threads` threads (default: the cores this process may use)."""
    return CpuDevice(threads)
