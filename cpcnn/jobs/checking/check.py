"""Check a folder of images: read it as training would, look at every file, say what is wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...data.augmentation.augment import Augmentation
from ...data.images.file_facts import FileFacts, image_format_of, inspect_files, misnamed
from ...data.layouts.image_folder import Sample
from ...data.layouts.walk import Ignored
from ..augment_presets import augmentation_keywords
from ..events import Progress
from ..new_file import write_new_file
from ..preview import preview_files, write_preview
from .catalogue import Catalogue
from .check_layout import Layout, read_layout
from .check_page import check_page
from .check_report import CheckReport
from .check_settings import CheckSettings
from .class_balance import balance_findings
from .copies import exact_findings, find_copies, near_findings
from .findings import ERROR, Finding, FoundImage, in_order
from .fix_list import fix_list
from .near_copies import find_near_copies

READING = "Reading files"
KIB, MIB = 1 << 10, 1 << 20
# Pictures that training does not read; a reader of the report may know the extension.
FOREIGN_EXTENSIONS = ".avif .cr2 .cr3 .dng .eps .heic .heif .jp2 .jxl .nef .orf .psd .svg .tga"
FOREIGN = frozenset(FOREIGN_EXTENSIONS.split())
NOT_AN_IMAGE = "not an image"  # how a walker's reason begins


def check_folder(settings: CheckSettings, progress: Progress | None = None) -> CheckReport:
    """Read a folder as training would, look at every file of it, and report what was found.

    Where training would refuse the folder, that is a finding, and the rest is reported as far as
    it can be told. Pixels are decoded and dropped, a file a thread at a time. The page and the
    list that the settings ask for are written at the end; the folder itself is never written to.
    `progress` hears (activity, done, total). Raises DataError when there is no folder, or nothing
    in it, and UsageError for a setting that cannot be meant.
    """
    started = time.perf_counter()
    layout = read_layout(settings)
    images = Catalogue(layout.splits)
    facts = inspect_files(
        images.paths(),
        workers=settings.workers,
        progress=None if progress is None else lambda *done: progress(READING, *done),
    )
    findings = [
        *_file_findings(images, facts, fail=settings.on_error == "fail"),
        *_ignored_findings(layout.ignored),
        *_copy_findings(settings, images, facts, progress),
    ]
    report = _report(settings, layout, images, facts, findings, started)
    if settings.fix_list is not None:
        write_new_file(settings.fix_list, "fix_list", fix_list(report))
    if settings.html is not None:
        write_new_file(settings.html, "html", check_page(report))
    if settings.preview is not None and (samples := _readable(layout, images, facts)):
        preset = Augmentation(**augmentation_keywords(settings.augment))
        write_preview(settings.preview, preview_files(samples, preset, seed=settings.seed))
    return report


def _readable(layout: Layout, images: Catalogue, facts: Sequence[FileFacts]) -> list[Sample]:
    """Return the images to train on that can be read."""
    bad = {image.path for image, file in zip(images, facts, strict=True) if file.fault}
    return [sample for sample in layout.splits.get(layout.trained, ()) if sample.path not in bad]


def _report(
    settings: CheckSettings,
    layout: Layout,
    images: Catalogue,
    facts: Sequence[FileFacts],
    findings: Sequence[Finding],
    started: float,
) -> CheckReport:
    readable = [(image, file) for image, file in zip(images, facts, strict=True) if not file.fault]
    trained = Counter(image.label for image, _ in readable if image.split == layout.trained)
    to_train = {name: trained[name] for name in layout.classes}
    found = [*_layout_findings(settings, layout, to_train), *findings]
    return CheckReport(
        root=layout.root,
        source=layout.source,
        classes=layout.classes,
        counts=_counts(layout, images),
        trained=layout.trained,
        readable=to_train,
        drawn=layout.drawn,
        bytes=sum(file.bytes for file in facts),
        sizes=Counter((file.width, file.height) for _, file in readable),
        modes=Counter(file.mode for _, file in readable),
        formats=Counter(file.format for _, file in readable),
        findings=in_order(found),
        notes=layout.notes,
        near=settings.near,
        seconds=time.perf_counter() - started,
    )


def _counts(layout: Layout, images: Catalogue) -> dict[str, dict[str, int]]:
    counts = Counter((image.split, image.label) for image in images)
    names = [*layout.classes, *([""] if any(not image.label for image in images) else [])]
    return {split: {name: counts[split, name] for name in names} for split in layout.splits}


# ---- Classes and splits ------------------------------------------------------------------------


def _layout_findings(
    settings: CheckSettings, layout: Layout, to_train: dict[str, int]
) -> Iterator[Finding]:
    if layout.fault is not None:
        kind = "one-class" if len(layout.classes) == 1 else "layout"
        yield Finding(kind, layout.fault.message, advice=layout.fault.suggestion)
    if layout.fault is None or any(to_train.values()):
        yield from balance_findings(to_train, allow_empty=settings.allow_empty_classes)
    if layout.fault is None and not layout.splits.get("validation"):
        yield Finding("no-validation", "no class has an image to spare for validation")


# ---- Files -------------------------------------------------------------------------------------


def _file_findings(
    images: Catalogue, facts: Sequence[FileFacts], *, fail: bool
) -> Iterator[Finding]:
    for image, file in zip(images, facts, strict=True):
        if file.fault:
            yield Finding(file.fault, file.reason, (image,), level=ERROR if fail else "")
            continue
        if file.huge:
            yield Finding("huge", _huge(file), (image,))
        if file.animated:
            yield Finding("animated", f"a {file.format} of several frames", (image,))
        if misnamed(image.path, file):
            detail = f"named {image.path.suffix}, its content is {file.format}"
            yield Finding("misnamed", detail, (image,))
        if file.orientation != 1:
            yield Finding("exif-rotated", f"EXIF orientation {file.orientation}", (image,))


def _huge(file: FileFacts) -> str:
    pixels = file.width * file.height / 1e6
    return f"{file.width}x{file.height} are {pixels:.0f} million pixels ({file_size(file.bytes)})"


def file_size(size: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{-(-size // KIB)} KiB"


def _ignored_findings(ignored: Sequence[Ignored]) -> Iterator[Finding]:
    """Yield what training passes over; what seems to be an image is worth a warning."""
    for path, reason in ignored:
        detail, advice = _passed_over(path, reason)
        if detail:
            yield Finding("passed-over", detail, (FoundImage(path),), advice=advice)
        else:
            yield Finding("ignored", reason, (FoundImage(path),))


def _passed_over(path: Path, reason: str) -> tuple[str, str]:
    """Say why a file that is an image is passed over, and what to do; nothing if it is none."""
    if not reason.startswith(NOT_AN_IMAGE):
        return (reason, "") if reason.startswith(("an image outside", "not in ")) else ("", "")
    suffix = path.suffix.lower()
    if suffix in FOREIGN:
        return f"a picture, but {suffix} is not read", "Convert it to JPEG or PNG."
    content = image_format_of(path)
    if content:
        named = f"named {suffix}" if suffix else "it has no extension"
        ending = ".jpg" if content == "JPEG" else f".{content.lower()}"
        return f"its content is {content}, but {named}", f"Rename it to end in {ending}."
    return "", ""


# ---- Copies ------------------------------------------------------------------------------------


def _copy_findings(
    settings: CheckSettings,
    images: Catalogue,
    facts: Sequence[FileFacts],
    progress: Progress | None,
) -> Iterator[Finding]:
    same = find_copies([file.sha256 for file in facts], images.places)
    yield from exact_findings(same, images)
    if settings.near:
        alike = find_near_copies(images, facts, same, workers=settings.workers, progress=progress)
        yield from near_findings(alike, images)
