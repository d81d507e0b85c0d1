"""Channel counts that scale with a width factor."""

from __future__ import annotations


def scaled(channels: int, width: float) -> int:
    """Return channels * width, rounded to a multiple of 8 when it is at least 8, and at least 1."""
    wanted = channels * width
    return max(8, round(wanted / 8) * 8) if wanted >= 8 else max(1, round(wanted))
