"""A table of a network's layers, as text."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.param import Param
from .base import Layer

HEADER = ("Layer (type)", "Output shape", "Parameters")


def summary_lines(root: Layer, params: Mapping[str, Param]) -> list[str]:
    """Describe every layer of a built root that is not a container, in order, and the totals."""
    rows = [
        (
            f"{path} ({type(layer).__name__})",
            str(layer.output_shape),
            f"{sum(p.size for p in layer.params().values()):,}",
        )
        for path, layer in root.walk()
        if not layer.children() and path
    ]
    widths = [max(len(row[i]) for row in [HEADER, *rows]) for i in range(3)]

    def line(cells: tuple[str, ...]) -> str:
        return f"{cells[0]:<{widths[0]}}  {cells[1]:<{widths[1]}}  {cells[2]:>{widths[2]}}"

    trainable = sum(p.size for p in params.values() if p.trainable)
    total = sum(p.size for p in params.values())
    rule = "─" * (sum(widths) + 4)
    return [
        line(HEADER),
        rule,
        *(line(row) for row in rows),
        rule,
        f"Parameters: {total:,} ({total * 4 / 2**20:.2f} MiB), trainable: {trainable:,}",
    ]
