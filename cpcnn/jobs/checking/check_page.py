"""The report of a check as one page of HTML: no script, nothing loaded, pictures inside."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.images.decode import BadImage
from ...data.images.thumbnail import thumbnail_jpeg
from ...data.layouts.image_folder import counted
from ..printable import printable
from .check_report import CheckReport, Size, common_sizes, spread
from .findings import KINDS, LEVELS, Finding, FoundImage

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "check.html"
THUMBNAIL_SIDE = 112  # pixels; shown at most this large
PICTURES = 240  # in the whole page: a megabyte or so
PICTURES_A_KIND = 48
FINDINGS_A_KIND, IMAGES_A_FINDING = 100, 8
SIZES_SHOWN, DOTS = 8, 400
WITHOUT_PICTURES = frozenset({"huge", "zero-byte", "truncated", "unreadable", "ignored"})
LEVEL_WORDS = {"error": "Errors", "warning": "Warnings", "note": "Notes"}


@dataclass(frozen=True)
class ShownImage:
    """A file as the page shows it; `picture` is a data URL, or empty."""

    name: str
    split: str
    label: str
    picture: str


@dataclass(frozen=True)
class ShownFinding:
    """A finding, its first images, and how many more there are."""

    detail: str
    images: list[ShownImage]
    more: int


@dataclass(frozen=True)
class ShownKind:
    """The first findings of a kind, and how many more there are."""

    name: str
    title: str
    level: str
    advice: str
    total: int
    findings: list[ShownFinding]
    more: int

    @property
    def shots(self) -> bool:
        """Whether any of the images has a picture."""
        return any(image.picture for finding in self.findings for image in finding.images)


def check_page(report: CheckReport) -> str:
    """Return the report as one HTML page that works offline and follows light and dark.

    It has small pictures of the images in question, so their files are read once more. Names come
    from strangers: every text is escaped, and made printable.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": "{:,}".format, "printable": printable}
    return environment.get_template(TEMPLATE).render(
        report=report,
        source=str(report.source),
        verdict=_verdict(report),
        levels=_levels(report),
        classes=_classes(report),
        splits=list(report.counts),
        widest=max((sum(row["counts"]) for row in _classes(report)), default=0) or 1,
        seen=[
            f"{seen:,} of the {sum(report.counts[split].values()):,} images in {split} are, or "
            "look like, images to train on."
            for split, seen in report.seen.items()
            if seen
        ],
        sizes=[(_size(size), count) for size, count in common_sizes(report.sizes, SIZES_SHOWN)],
        spreads=[("width", spread(report.sizes, 0)), ("height", spread(report.sizes, 1))],
        dots=list(_dots(report.sizes)),
        axis=_axis(report.sizes),
    )


def _verdict(report: CheckReport) -> str:
    errors, warnings = report.total("error"), report.total("warning")
    if errors:
        return f"Training on this folder would be unsound: {counted(errors, 'error')}."
    if warnings:
        return f"Training would be sound; {counted(warnings, 'warning')} to look at."
    return "Training would be sound; nothing to object to."


def _classes(report: CheckReport) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for counts in report.counts.values() for name in counts))
    return [
        {"name": name, "counts": [counts[name] for counts in report.counts.values()]}
        for name in names
    ]


# ---- Findings ----------------------------------------------------------------------------------


def _levels(report: CheckReport) -> list[tuple[str, str, list[ShownKind]]]:
    pictures = _Pictures()
    found = {level: report.at_level(level) for level in LEVELS}
    return [
        (level, LEVEL_WORDS[level], [_kind(report, findings, pictures) for findings in kinds])
        for level in LEVELS
        if (kinds := list(found[level].values()))
    ]


def _kind(report: CheckReport, findings: Sequence[Finding], pictures: _Pictures) -> ShownKind:
    name, level = findings[0].kind, findings[0].level
    pictures.begin(name)
    advices = {finding.advice for finding in findings}
    shown = [_finding(report, finding, pictures) for finding in findings[:FINDINGS_A_KIND]]
    return ShownKind(
        name=name,
        title=KINDS[name].title,
        level=level,
        advice=advices.pop() if len(advices) == 1 else KINDS[name].advice,
        total=len(findings),
        findings=shown,
        more=len(findings) - len(shown),
    )


def _finding(report: CheckReport, finding: Finding, pictures: _Pictures) -> ShownFinding:
    images = [
        ShownImage(report.name(image), image.split, image.label, pictures.of(image))
        for image in finding.images[:IMAGES_A_FINDING]
    ]
    return ShownFinding(finding.detail, images, len(finding.images) - len(images))


class _Pictures:
    """Makes pictures until the page, or the part of it for a kind of finding, has enough."""

    def __init__(self) -> None:
        self._left = PICTURES
        self._left_of_kind = 0

    def begin(self, kind: str) -> None:
        """Begin with the findings of a kind."""
        self._left_of_kind = 0 if kind in WITHOUT_PICTURES else PICTURES_A_KIND

    def of(self, image: FoundImage) -> str:
        """Return a data URL of an image, or nothing."""
        if not self._left or not self._left_of_kind:
            return ""
        try:
            content = thumbnail_jpeg(image.path, THUMBNAIL_SIDE)
        except BadImage:
            return ""
        self._left -= 1
        self._left_of_kind -= 1
        return f"data:image/jpeg;base64,{b64encode(content).decode('ascii')}"


# ---- Sizes -------------------------------------------------------------------------------------


def _size(size: Size) -> str:
    return f"{size[0]} × {size[1]}"


def _axis(sizes: Counter[Size]) -> int:
    """Return the side of the square plot of sizes, in pixels of the images."""
    return max((max(size) for size in sizes), default=0)


def _dots(sizes: Counter[Size]) -> Iterator[dict[str, Any]]:
    """Yield the most common sizes as dots of a plot of 100 by 100, larger for more images."""
    side, total = _axis(sizes), sizes.total()
    for (width, height), count in common_sizes(sizes, DOTS):
        yield {
            "x": round(100 * width / side, 2),
            "y": round(100 - 100 * height / side, 2),
            "radius": round(0.8 + 4.2 * (count / total) ** 0.5, 2),
            "tip": f"{width} × {height}: {counted(count, 'image')}",
        }
