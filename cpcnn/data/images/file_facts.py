"""What one file is: an image or not, of which kind and size, and what is odd about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..manifest import sha256_of
from .decode import CUT_SHORT, BadImage, decoded, displayed_size, opened_image, orientation_of

if TYPE_CHECKING:
    from PIL.Image import Image

HUGE_PIXELS = 50_000_000  # 150 MB as RGB, and several times that while it is decoded
HUGE_BYTES = 100 << 20
CHUNK = 32  # files a task

ZERO_BYTE, TRUNCATED, UNREADABLE = "zero-byte", "truncated", "unreadable"

# Content -> the extensions that say so.
EXTENSIONS_OF: dict[str, frozenset[str]] = {
    "JPEG": frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
    "PNG": frozenset({".png"}),
    "WEBP": frozenset({".webp"}),
    "BMP": frozenset({".bmp"}),
    "GIF": frozenset({".gif"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "PPM": frozenset({".pbm", ".pgm", ".pnm", ".ppm"}),
}
# What Pillow calls kinds of JPEG and BMP that hold more, or less, than the plain ones.
SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}
ANIMATIONS = frozenset({"GIF", "PNG", "TIFF", "WEBP"})  # a JPEG's second picture is a preview

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
LONGEST_SIGNATURE = 12

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What one file is. `format` is that of its content, whatever its name says.

    `width` and `height` are in pixels, as displayed; `mode` is Pillow's word for the pixels as
    stored; `orientation` is EXIF's, 1 for upright. `sha256` is of the file's bytes, empty if it
    cannot be read. `fault` is "zero-byte", "truncated", "unreadable" or empty, and `reason` says
    more. The pixels of a huge image are not decoded here, so that memory stays bounded.
    """

    bytes: int
    sha256: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    animated: bool = False
    fault: str = ""
    reason: str = ""

    @property
    def huge(self) -> bool:
        """Whether decoding it takes memory, or reading it time, out of all proportion."""
        return self.bytes > HUGE_BYTES or self.width * self.height > HUGE_PIXELS


def inspect_file(path: Path) -> FileFacts:
    """Look at one file that ought to be an image, decoding it as training would; never raises."""
    try:
        size = path.stat().st_size
    except OSError as error:
        reason = f"it cannot be opened ({error.strerror or error})"
        return FileFacts(0, fault=UNREADABLE, reason=reason)
    try:
        with opened_image(path) as image:
            facts = _facts(path, size, image)
            if facts.width * facts.height <= HUGE_PIXELS:
                decoded(image, 3)
            return replace(facts, animated=_animated(image, facts.format))
    except BadImage as bad:
        fault = TRUNCATED if bad.reason.startswith(CUT_SHORT) else UNREADABLE
        return FileFacts(size, fault=fault if size else ZERO_BYTE, reason=bad.reason)


def _facts(path: Path, size: int, image: Image) -> FileFacts:
    kind = SAME_FORMAT.get(image.format or "", image.format or "")
    width, height = displayed_size(image)
    return FileFacts(
        bytes=size,
        sha256=sha256_of(path),
        format=kind,
        mode=image.mode,
        width=width,
        height=height,
        orientation=orientation_of(image),
    )


def _animated(image: Image, kind: str) -> bool:
    """Say whether there are more frames; looking for them comes last, as it reads on in the file.

    What is wrong with a second frame is nobody's concern: training reads the first.
    """
    try:
        return kind in ANIMATIONS and bool(getattr(image, "is_animated", False))
    except Exception:  # as when opening: Pillow's parsers are left through almost any exception
        return False


def inspect_files(
    paths: Sequence[Path], *, workers: int = 2, progress: Progress | None = None
) -> list[FileFacts]:
    """Look at every file, in `workers` threads; `progress(done, total)` is called here.

    The result is in the order of `paths`, whose items are asked for when it is their turn. Of the
    files themselves nothing is kept.
    """
    from concurrent.futures import ThreadPoolExecutor

    found: list[FileFacts] = []
    chunks = [range(start, min(start + CHUNK, len(paths))) for start in range(0, len(paths), CHUNK)]

    def inspect(chunk: range) -> list[FileFacts]:
        return [inspect_file(paths[position]) for position in chunk]

    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="cpcnn-check")
    try:
        for facts in pool.map(inspect, chunks):
            found.extend(facts)
            if progress is not None:
                progress(len(found), len(paths))
    finally:
        # After Ctrl-C only the few files in progress are waited for.
        pool.shutdown(wait=True, cancel_futures=True)
    return found


def misnamed(path: Path, facts: FileFacts) -> bool:
    """Say whether a file's extension is that of another kind of image."""
    return path.suffix.lower() not in EXTENSIONS_OF.get(facts.format, {path.suffix.lower()})


def image_format_of(path: Path) -> str:
    """Return which image a file begins like, whatever its name; empty for none of those known."""
    try:
        with path.open("rb") as file:
            start = file.read(LONGEST_SIGNATURE)
    except OSError:
        return ""
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return "WEBP"
    return next((kind for signature, kind in SIGNATURES if start.startswith(signature)), "")
