"""The report of a check, in 80 columns: in colour on a terminal, plain elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cpcnn.jobs.checking.check_report import CheckReport, Size, common_sizes, spread
from cpcnn.jobs.checking.check_settings import CheckSettings
from cpcnn.jobs.checking.findings import KINDS, LEVELS, Finding

from .progress import is_live
from .text import columns, counted, hung, printable, quoted, shorten

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

CLASSES_SHOWN = 20
EXAMPLES = 3  # of a kind of finding
FILES_OF_ONE = 3  # of an example
SIZES_SHOWN = 3
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
LONGEST_CLASS = 34
NO_CLASS = "(no class)"


def print_report(report: CheckReport, settings: CheckSettings) -> None:
    """Print a report on stdout."""
    click.echo(report_text(report, settings, colour=is_live(sys.stdout)), nl=False)


def report_text(report: CheckReport, settings: CheckSettings, *, colour: bool = False) -> str:
    """Return the whole report: images, classes, what was found, and the verdict."""
    from rich.console import Console

    text = io.StringIO()
    # The environment decides about colours (NO_COLOR), but the text goes through click.
    console = Console(
        file=text,
        width=columns(),
        force_terminal=colour,
        color_system="auto" if colour else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    _say(console, _overview(report))
    console.print()
    console.print(_class_table(report))
    _say(console, _balance_lines(report))
    for level in LEVELS:
        for heading, lines in _level(report, level):
            console.print()
            _say(console, hung("", heading), style=STYLES[level])
            _say(console, lines)
    console.print()
    style = "bold green" if report.sound else STYLES["error"]
    _say(console, hung("", _verdict(report)), style=style)
    _say(console, _kept_lines(settings))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _say(console: Console, lines: Iterable[str], style: str | None = None) -> None:
    for line in lines:
        console.print(line, style=style, soft_wrap=True)


# ---- What is there -----------------------------------------------------------------------------


def _overview(report: CheckReport) -> Iterator[str]:
    yield f"Data:    {printable(str(report.source))}"
    classes = counted(len(report.classes), "class", "classes")
    splits = [
        f"{sum(counts.values()):,} {split}" + (", held out" if _held_out(report, split) else "")
        for split, counts in report.counts.items()
        if split != "all"
    ]
    parts = f" ({'; '.join(splits)})" if splits else ""
    yield from hung("Images:  ", f"{report.images:,} of {classes}{parts}")
    if report.sizes:
        yield from hung("Sizes:   ", _sizes(report))
        for head, found in (("Modes:   ", report.modes), ("Formats: ", report.formats)):
            kinds = (f"{kind} {count:,}" for kind, count in found.most_common())
            yield from hung(head, ", ".join(kinds))
    for note in report.notes:
        yield from hung("Note:    ", note)


def _held_out(report: CheckReport, split: str) -> bool:
    return split == "validation" and report.drawn


def _sizes(report: CheckReport) -> str:
    def named(size: Size) -> str:
        return f"{size[0]}x{size[1]}"

    common = common_sizes(report.sizes, SIZES_SHOWN)
    listed_sizes = ", ".join(f"{named(size)} {count:,}" for size, count in common)
    if len(report.sizes) <= SIZES_SHOWN:
        return listed_sizes
    (narrow, width, wide), (low, height, high) = spread(report.sizes, 0), spread(report.sizes, 1)
    return (
        f"{len(report.sizes):,} different, width {narrow} to {wide} (median {width}), height {low} "
        f"to {high} (median {height}); most often {listed_sizes}"
    )


def _class_table(report: CheckReport) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("Class", no_wrap=True)
    for split in report.counts:
        table.add_column(split, justify="right", no_wrap=True)
    names = list(dict.fromkeys(name for counts in report.counts.values() for name in counts))
    for name in _shown(report, names):
        if name is None:
            table.add_row(f"… {len(names) - CLASSES_SHOWN:,} more")
        else:
            cells = [f"{counts[name]:,}" for counts in report.counts.values()]
            table.add_row(shorten(name or NO_CLASS, LONGEST_CLASS), *cells)
    return table


def _shown(report: CheckReport, names: Sequence[str]) -> list[str | None]:
    """Return all classes, or of many the largest and the smallest, with None between them."""
    if len(names) <= CLASSES_SHOWN:
        return list(names)
    totals = {name: sum(counts[name] for counts in report.counts.values()) for name in names}
    by_size = sorted(names, key=lambda name: (-totals[name], name))
    half = CLASSES_SHOWN // 2
    return [*by_size[:half], None, *by_size[-half:]]


def _balance_lines(report: CheckReport) -> Iterator[str]:
    if report.imbalance is not None:
        yield from hung("", f"Largest to smallest class to train on: {report.imbalance:.1f} to 1")
    for split, seen in report.seen.items():
        if seen:
            total = sum(report.counts[split].values())
            text = f"{seen:,} of {total:,} in {split} ({seen / total:.1%})"
            yield from hung("Like images to train on: ", text)


# ---- What was found ----------------------------------------------------------------------------


def _level(report: CheckReport, level: str) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield a heading and its lines for every kind of finding at a level."""
    for kind, findings in report.at_level(level).items():
        title = KINDS[kind].title
        heading = f"{level.capitalize()}: {title[0].lower()}{title[1:]} ({len(findings):,})"
        yield heading, _kind_lines(report, findings)


def _kind_lines(report: CheckReport, findings: Sequence[Finding]) -> Iterator[str]:
    for finding in findings[:EXAMPLES]:
        yield from _finding_lines(report, finding)
    if len(findings) > EXAMPLES:
        yield f"  … and {len(findings) - EXAMPLES:,} more"
    advices = {finding.advice for finding in findings}
    advice = advices.pop() if len(advices) == 1 else KINDS[findings[0].kind].advice
    yield from hung("  -> ", advice)


def _finding_lines(report: CheckReport, finding: Finding) -> Iterator[str]:
    names = [report.name(image) for image in finding.images]
    if len(names) == 1:
        yield from hung("  ", f"{shorten(names[0], columns() - 2)}: {finding.detail}")
        return
    yield from hung("  ", finding.detail)
    for name, image in list(zip(names, finding.images, strict=True))[:FILES_OF_ONE]:
        split = f" ({image.split})" if image.split not in ("", "all") else ""
        yield f"    {shorten(name, columns() - 4 - len(split))}{split}"
    if len(names) > FILES_OF_ONE:
        yield f"    … and {len(names) - FILES_OF_ONE:,} more"


def _verdict(report: CheckReport) -> str:
    levels = (level for level in LEVELS if report.total(level))
    found = ", ".join(counted(report.total(level), level) for level in levels)
    if not report.sound:
        return f"Unsound to train on: {found}."
    return f"Sound to train on: {found}." if found else "Sound to train on: nothing to object to."


def _kept_lines(settings: CheckSettings) -> Iterator[str]:
    if settings.html is not None:
        yield f"Page:     {quoted(settings.html)}"
    if settings.fix_list is not None:
        yield f"Fix list: {quoted(settings.fix_list)}"
    if settings.preview is not None and settings.preview.is_file():  # it is not without images
        yield f"Preview:  {quoted(settings.preview)}"
