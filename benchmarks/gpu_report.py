"""The tables of `gpu_vs_torch.py`, in Markdown, from its JSON document."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from cases import Case
from geometries import BOTH, FORWARD, WEIGHTS
from paired_timing import Comparison

Entries: TypeAlias = Sequence[dict[str, Any]]

OURS, THEIRS = "cpcnn", "PyTorch"
HALF = "bfloat16"
NETWORK_RIVALS = ("float32", "AMP", "compiled float32", "compiled AMP")
DATA = "data gradient"
NOTHING = "–"


def tables(document: dict[str, Any]) -> str:
    """Return all that a run measured, and what it did not, and why."""
    parts = [heading(document)]
    for section, table in SECTIONS.items():
        if entries := measured(document, section):
            parts.append(table(entries, document))
    parts.append(not_measured(document))
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(document: dict[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{document['date']} · {machine['device']} · driver {machine['driver'] or 'unknown'} · "
        f"{machine['processor']}, {machine['cores']} cores\n{packages}\n`{document['command']}`"
    )


# ---- Kernels ---------------------------------------------------------------------------------


def kernel_table(entries: Entries, document: dict[str, Any]) -> str:
    copy = document["copy"]
    peak = copy["bytes"] / statistics.median(copy["seconds"])
    rows = []
    for entry in entries:
        seconds = statistics.median(entry["seconds"])
        bandwidth = entry["bytes"] / seconds
        rows.append(
            (
                entry["title"],
                "×".join(map(str, entry["shape"])),
                entry["dtype"],
                f"{entry['bytes'] / 1e6:,.0f}",
                f"{seconds * 1e6:,.0f}",
                f"{bandwidth / 1e9:,.0f}",
                f"{bandwidth / peak:.0%}",
            )
        )
    header = ("kernel", "array", "dtype", "MB", "µs", "GB/s", "of copy")
    return (
        f"### Kernels: bandwidth; a copy moves {peak / 1e9:,.0f} GB/s, read and written\n\n"
        f"{markdown(header, rows, left=3)}"
    )


# ---- Convolutions ----------------------------------------------------------------------------


def convolution_table(entries: Entries, document: dict[str, Any]) -> str:
    header = (
        "convolution",
        "images",
        "pass",
        *(f"{OURS} float32, ms", f"{THEIRS} float32, ms", "ratio", f"{THEIRS} TF32, ms", "ratio"),
        *(f"{OURS} {HALF}, ms", f"{THEIRS} {HALF}, ms", "ratio"),
    )
    rows = []
    for entry in entries:
        for title, timing in convolution_passes(entry["passes"]):
            rows.append((entry["title"], entry["images"], title, *convolution_cells(timing)))
    return (
        f"### Convolutions: milliseconds\n\n{markdown(header, rows, left=3)}\n\n"
        f"ratio: {THEIRS}'s time / {OURS}'s time, above 1 {OURS} is faster. TF32 is compared with "
        f"our float32. The {DATA} is what both gradients take more than that of the weights alone, "
        "on both sides, round by round."
    )


def convolution_passes(passes: dict[str, dict[str, list[float]]]) -> list[tuple[str, Comparison]]:
    """Return forward, the data gradient as the difference, and the weight gradient."""
    difference = {
        name: [both - weights for both, weights in zip(turns, passes[WEIGHTS][name], strict=True)]
        for name, turns in passes[BOTH].items()
    }
    seconds = {FORWARD: passes[FORWARD], DATA: difference, WEIGHTS: passes[WEIGHTS]}
    return [(title, Comparison(turns)) for title, turns in seconds.items()]


def convolution_cells(timing: Comparison) -> list[str]:
    cells = []
    for ours, rivals in (("float32", ("float32", "TF32")), (HALF, (HALF,))):
        name = f"{OURS} {ours}"
        cells.append(milliseconds(timing, name))
        for rival in rivals:
            other = f"{THEIRS} {rival}"
            cells += [milliseconds(timing, other), ratio(timing, other, name)]
    return cells


# ---- Networks --------------------------------------------------------------------------------


def network_tables(entries: Entries, document: dict[str, Any]) -> str:
    parts = [
        f"### {title}: images per second, and the ratio to {OURS}\n\n{network_table(entries, mode)}"
        for mode, title in (("training", "Training step"), ("inference", "Inference"))
    ]
    note = (
        f"{OURS} computes in float32, without TF32: mixed precision is not part of it yet. "
        f"{THEIRS} runs in channels_last: float32 without TF32, AMP with bfloat16, both eagerly "
        f"and by torch.compile. Ratio: its time / ours in the same rounds, above 1 {OURS} is "
        "faster."
    )
    return "\n\n".join([*parts, note])


def network_table(entries: Entries, mode: str) -> str:
    rivals = [f"{THEIRS} {rival}" for rival in NETWORK_RIVALS]
    header = ("network", "image", "batch", f"{OURS} float32", *rivals)
    timings: dict[Case, list[Comparison]] = {}
    for entry in entries:
        if entry["mode"] == mode:
            timings.setdefault(Case(**entry["case"]), []).append(Comparison(entry["seconds"]))
    rows = [
        (
            case.network_name,
            case.image_name,
            case.batch_size,
            f"{case.batch_size / compared[0].median(OURS):,.0f}",
            *(rival_cell(case, compared, rival) for rival in rivals),
        )
        for case, compared in timings.items()
    ]
    return markdown(header, rows, left=2)


def rival_cell(case: Case, timings: Iterable[Comparison], rival: str) -> str:
    for timing in timings:
        if rival in timing.seconds:
            speed = case.batch_size / timing.median(rival)
            return f"{speed:,.0f} ({timing.ratio(rival, OURS):.2f})"
    return NOTHING


# ---- All of them -----------------------------------------------------------------------------


def measured(document: dict[str, Any], section: str) -> list[dict[str, Any]]:
    return [entry for entry in document.get(section, ()) if "reason" not in entry]


def not_measured(document: dict[str, Any]) -> str:
    """Return a list of what was left out or went wrong."""
    lines = [
        f"- {section}: {entry['title']}: {entry['reason']}"
        for section in SECTIONS
        for entry in document.get(section, ())
        if "reason" in entry
    ]
    return "\n".join(["Not measured:", "", *lines]) if lines else ""


def milliseconds(timing: Comparison, name: str) -> str:
    return f"{timing.median(name) * 1000:.3f}" if is_told(timing, name) else NOTHING


def ratio(timing: Comparison, other: str, ours: str) -> str:
    told = is_told(timing, other) and is_told(timing, ours)
    return f"{timing.ratio(other, ours):.2f}" if told else NOTHING


def is_told(timing: Comparison, name: str) -> bool:
    """Whether somebody was measured, and no difference of times is lost in the noise."""
    return name in timing.seconds and min(timing.seconds[name]) > 0


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int) -> str:
    """Return a table whose first `left` columns are words and the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


SECTIONS = {
    "kernels": kernel_table,
    "convolutions": convolution_table,
    "networks": network_tables,
}
