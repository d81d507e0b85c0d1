"""What was measured, as tables and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cases import Case
from paired_timing import Comparison

if TYPE_CHECKING:
    from contenders import Sameness

OURS, THEIRS = "cpcnn", "PyTorch"

COLUMNS = "{:<14} {:<10}{:>5}{:>11}{:>12} {:<7}{:>6}{:>13}"
HEADER = "\n".join(
    (
        COLUMNS.format("", "", "", OURS, THEIRS, "", "", "middle half"),
        COLUMNS.format(
            "network", "image", "batch", "images/s", "images/s", "layout", "ratio", "of rounds"
        ),
    )
)
FOOTNOTE = "ratio: PyTorch's time / cpcnn's time, above 1 cpcnn is faster"


@dataclass(frozen=True)
class Result:
    """What was measured of one case."""

    case: Case
    parameters: int
    sameness: Sameness
    training: Comparison
    inference: Comparison


def heading(facts: dict[str, Any]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    return (
        f"{facts['date']}  {machine['processor']}, {machine['cores']} cores\n"
        f"cpcnn {versions['cpcnn']}: {machine['device']}, NumPy {versions['numpy']}\n"
        f"PyTorch {versions['torch']}: the same number of threads, the better of two layouts\n"
    )


def table(name: str, rows: Sequence[tuple[Case, Comparison]]) -> str:
    """Return a table of at most 80 columns."""
    return "\n".join([name, HEADER, *(row(case, timing) for case, timing in rows), FOOTNOTE, ""])


def row(case: Case, timing: Comparison) -> str:
    best = timing.fastest(THEIRS)
    low, high = timing.quartiles(best, OURS)
    speeds = [f"{case.batch_size / timing.median(name):,.0f}" for name in (OURS, best)]
    return COLUMNS.format(
        case.network_name,
        case.image_name,
        case.batch_size,
        *speeds,
        "NHWC" if best.endswith("channels_last") else "NCHW",
        f"{timing.ratio(best, OURS):.2f}",
        f"{low:.2f}–{high:.2f}",
    )


def as_json(result: Result) -> dict[str, Any]:
    return {
        "case": asdict(result.case),
        "parameters": result.parameters,
        "differences": asdict(result.sameness),
        "training": timing_as_json(result.training, result.case.batch_size),
        "inference": timing_as_json(result.inference, result.case.batch_size),
    }


def timing_as_json(timing: Comparison, batch_size: int) -> dict[str, Any]:
    best = timing.fastest(THEIRS)
    return {
        "best_of_pytorch": best,
        "ratio": timing.ratio(best, OURS),
        "ratio_quartiles": timing.quartiles(best, OURS),
        "images_per_second": {name: batch_size / timing.median(name) for name in timing.seconds},
        "seconds": timing.seconds,
    }
