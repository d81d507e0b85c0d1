"""The tables of `cpu_vs_torch.py`, in Markdown, from its JSON document."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cases import Case
from gpu_report import NOTHING, OURS, THEIRS, Entries, convolution_passes, markdown, measured
from latency import PERCENTILES
from loading import ALONE, FILES, MEMORY, SAME
from paired_timing import Comparison

PARTS = ("networks", "convolutions", "latency", "memory", "scaling")
COMPILE = "torch.compile"
PREDICT = f"{OURS} predict"
LAYOUTS = ("NCHW", "channels_last")
RIVALS = (*LAYOUTS, *(f"compiled {layout}" for layout in LAYOUTS))
ENOUGH = 0.9  # of PyTorch's speed, for a convolution to count as no slower
MIB = 1 << 20
RATIO_NOTE = f"Ratio: {THEIRS}'s time / {OURS}'s, above 1 {OURS} is faster"


def tables(document: dict[str, Any]) -> str:
    """Return all that a run measured, and what it did not, and why."""
    parts = [heading(document)]
    parts += [
        table(entries)
        for section, table in SECTIONS.items()
        if (entries := measured(document, section))
    ]
    parts.append(not_measured(document))
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(document: dict[str, Any]) -> str:
    machine = document["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    took = f", {document['seconds']} s" if "seconds" in document else ""
    return (
        f"{document['date']} · {machine['processor']}, {machine['cores']} cores · "
        f"{machine['device']}, the same number of {THEIRS}'s\n{packages}\n"
        f"`{document['command']}`{took}"
    )


# ---- Networks --------------------------------------------------------------------------------


def network_tables(entries: Entries) -> str:
    parts = [
        f"### {title}: images per second\n\n{network_table(entries, mode)}"
        for mode, title in (("training", "Training step"), ("inference", "Inference"))
    ]
    note = (
        f"{RATIO_NOTE}; to {THEIRS}'s best, which is bold. In brackets the middle half of rounds."
    )
    return "\n\n".join([*parts, note])


def network_table(entries: Entries, mode: str) -> str:
    header = ("network", "image", "batch", OURS, *(f"{THEIRS} {name}" for name in RIVALS), "ratio")
    rows = []
    for entry in entries:
        if entry["mode"] == mode:
            case, timing = Case(**entry["case"]), Comparison(entry["seconds"])
            rows.append((*case_cells(case), *speed_cells(case, timing)))
    return markdown(header, rows, left=2)


def case_cells(case: Case) -> tuple[str, str, int]:
    return case.network_name, case.image_name, case.batch_size


def speed_cells(case: Case, timing: Comparison) -> list[str]:
    best = timing.fastest(THEIRS)
    low, high = timing.quartiles(best, OURS)
    cells = [speed(case, timing, OURS)]
    for rival in RIVALS:
        name = f"{THEIRS} {rival}"
        cell = speed(case, timing, name) if name in timing.seconds else NOTHING
        cells.append(f"**{cell}**" if name == best else cell)
    return [*cells, f"{timing.ratio(best, OURS):.2f} ({low:.2f}–{high:.2f})"]


def speed(case: Case, timing: Comparison, name: str) -> str:
    return f"{case.batch_size / timing.median(name):,.0f}"


# ---- Convolutions ----------------------------------------------------------------------------


def convolution_table(entries: Entries) -> str:
    columns = ("convolution", "images", "pass", f"{OURS}, ms", *(f"{THEIRS} {x}" for x in LAYOUTS))
    rows, slow = [], []
    for entry in entries:
        for title, timing in convolution_passes(entry["passes"]):
            ratio, cells = convolution_cells(timing)
            rows.append((entry["title"], entry["images"], title, *cells))
            if not ratio >= ENOUGH:
                slow.append((entry["title"], entry["images"], f"{title}: {cells[-1]}"))
    slow_geometries = {name[:2] for name in slow}
    count = (
        f"At least {ENOUGH} times as fast as {THEIRS}'s better layout: {len(rows) - len(slow)} of "
        f"{len(rows)} passes; in all three passes {len(entries) - len(slow_geometries)} of "
        f"{len(entries)} geometries."
    )
    below = "".join(f"\n- {', '.join(name)}" for name in slow)
    return (
        f"### Convolutions: milliseconds\n\n{markdown((*columns, 'ratio'), rows, left=3)}\n\n"
        f"{RATIO_NOTE}. The data gradient is what both gradients take more than that of the "
        f"weights alone, on both sides, round by round.\n\n{count}"
        + (f" The others:\n{below}" if slow else "")
    )


def convolution_cells(timing: Comparison) -> tuple[float, list[str]]:
    """Return the ratio, not a number where a difference is lost in the noise; and the cells."""
    names = (OURS, *(f"{THEIRS} {layout}" for layout in LAYOUTS))
    medians = [timing.median(name) for name in names]
    cells = [f"{median * 1000:.3f}" if median > 0 else NOTHING for median in medians]
    if min(medians) <= 0:
        return math.nan, [*cells, NOTHING]
    best = timing.fastest(THEIRS)
    if min(timing.seconds[OURS] + timing.seconds[best]) > 0:
        ratio = timing.ratio(best, OURS)
    else:  # a round whose difference is below zero has no ratio
        ratio = timing.median(best) / timing.median(OURS)
    return ratio, [*cells, f"{ratio:.2f}"]


# ---- Latency ---------------------------------------------------------------------------------


def latency_table(entries: Entries) -> str:
    numbers = [f"p{number}" for number in PERCENTILES]
    header = (
        *("network", "image", "calls", OURS, *(f"{name}, ms" for name in numbers)),
        *(THEIRS, *(f"{name}, ms" for name in numbers)),
        *(f"ratio {name}" for name in numbers),
    )
    rows = []
    for entry in entries:
        case, found = Case(**entry["case"]), entry["percentiles"]
        mine, other = (best_latency(found, side) for side in (OURS, THEIRS))
        ratios = [b / a for a, b in zip(found[mine], found[other], strict=True)]
        rows.append(
            (
                *(case.network_name, case.image_name, entry["calls"]),
                *(WAYS.get(mine, mine), *milliseconds(found[mine])),
                *(other.removeprefix(f"{THEIRS} "), *milliseconds(found[other])),
                *(f"{ratio:.2f}" for ratio in ratios),
            )
        )
    return (
        f"### Latency of one image\n\n{markdown(header, rows, left=2)}\n\n{RATIO_NOTE}. Of each "
        "side its way with the lowest median."
    )


WAYS = {PREDICT: "`predict`", OURS: "`predict_batches`"}


def best_latency(found: dict[str, list[float]], side: str) -> str:
    return min((name for name in found if name.startswith(side)), key=lambda name: found[name][0])


def milliseconds(seconds: Sequence[float]) -> list[str]:
    return [f"{value * 1000:.2f}" for value in seconds]


# ---- Memory ----------------------------------------------------------------------------------


def memory_table(entries: Entries) -> str:
    header = (
        "network",
        "image",
        "batch",
        "",
        "MiB for the step",
        "after imports",
        "total",
        "ratio",
    )
    rows = []
    for entry in entries:
        bytes_of = entry["bytes"]
        steps = {name: found["peak"] - found["ready"] for name, found in bytes_of.items()}
        for name, found in bytes_of.items():
            ratio = f"{steps[name] / steps[OURS]:.2f}" if name != OURS else NOTHING
            amounts = (steps[name], found["peak"] - found["imported"], found["peak"])
            cells = (f"{amount / MIB:,.0f}" for amount in amounts)
            rows.append((*case_cells(Case(**entry["case"])), name, *cells, ratio))
    return (
        f"### Peak memory of a training step: MiB\n\n{markdown(header, rows, left=4)}\n\n"
        "For the step: peak resident minus resident after a step of a tiny network, which loads "
        "what a library loads at first use. After imports: the peak minus what was resident when "
        f"all was imported. Ratio: of the step's memory to {OURS}'s, above 1 {OURS} takes less."
    )


# ---- Scaling ---------------------------------------------------------------------------------


def scaling_table(entries: Entries) -> str:
    header = ("network", "image", "batch", "threads", OURS, "gain", f"{THEIRS} best", "gain")
    rows = []
    for entry in entries:
        case, timing = Case(**entry["case"]), Comparison(entry["seconds"])
        first = fastest_with(timing, entry["threads"][0])
        for count in entry["threads"]:
            mine, other = fastest_with(timing, count)
            gains = [
                f"{timing.ratio(name, now):.2f}"
                for name, now in zip(first, (mine, other), strict=True)
            ]
            cells = (speed(case, timing, mine), gains[0], speed(case, timing, other), gains[1])
            rows.append((*case_cells(case), count, *cells, f"{timing.ratio(other, mine):.2f}"))
    return (
        "### Threads: images per second in training\n\n"
        f"{markdown((*header, 'ratio'), rows, left=2)}\n\n"
        f"Gain: over the fewest threads. {RATIO_NOTE}."
    )


def fastest_with(timing: Comparison, threads: int) -> tuple[str, str]:
    """Return ours and PyTorch's faster layout with so many threads."""
    theirs = [f"{THEIRS} {layout}, {threads}" for layout in LAYOUTS]
    return f"{OURS}, {threads}", min(theirs, key=timing.median)


def loading_table(entries: Entries) -> str:
    header = (
        *("network", "image", "batch", "images", "images/s in training", "kept"),
        *("loading alone, images/s", "one after the other, images/s"),
    )
    rows = []
    for entry in entries:
        case, timing = Case(**entry["case"]), Comparison(entry["seconds"])
        alone = {source: name for name, source in ALONE.items()}
        for source in (SAME, MEMORY, FILES):
            kept = f"{timing.ratio(SAME, source):.2f}"
            cells = [speed(case, timing, source), kept, NOTHING, NOTHING]
            if source in alone:
                both = timing.median(SAME) + timing.median(alone[source])
                cells[2:] = [speed(case, timing, alone[source]), f"{case.batch_size / both:,.0f}"]
            rows.append((*case_cells(case), source, *cells))
    return (
        f"### The loader beside training\n\n{markdown(header, rows, left=2)}\n\n"
        "Same batch: no loader; kept: the share of its speed. All batches are augmented. "
        "One after the other: if loading, with all threads, took its time from training; no "
        "loader that uses the same cores can do much better."
    )


# ---- All of them -----------------------------------------------------------------------------


def not_measured(document: dict[str, Any]) -> str:
    """Return a list of what was left out or went wrong."""
    lines = [
        f"- {section}: {entry['title']}: {entry['reason']}"
        for section in SECTIONS
        for entry in document.get(section, ())
        if "reason" in entry
    ]
    return "\n".join(["Not measured:", "", *lines]) if lines else ""


SECTIONS: dict[str, Callable[[Entries], str]] = {
    "networks": network_tables,
    "convolutions": convolution_table,
    "latency": latency_table,
    "memory": memory_table,
    "scaling": scaling_table,
    "loading": loading_table,
}
