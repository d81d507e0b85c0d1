"""A device that computes by our kernels; where they run is the launcher's business."""

from __future__ import annotations

from typing import Any, ClassVar

from ...ops.table import Table
from ..base import Device
from .kernel import Launcher
from .table import FAST


class KernelDevice(Device):
    """Arrays of a NumPy-like namespace, kernels on a `launcher`, and matrix products.

    Subclasses set `launcher`: CuPy's on a GPU; tests have one that emulates the GPU on the host.
    """

    fast: ClassVar[Table] = FAST
    launcher: Launcher

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        """Multiply two matrices of one type; sums are taken in float32, or float64 for float64.

        `out` is contiguous and of the same type.
        """
        # of two matrices dot is the product, and in CuPy writes it straight to `out`
        return self.xp.dot(a, b, out=out)

    def _dtype(self, dtype: Any) -> Any:
        if dtype == "bfloat16":  # a type that NumPy and CuPy learn of from this package
            import ml_dtypes

            return ml_dtypes.bfloat16
        return super()._dtype(dtype)
