"""The members of a tar file: names, and where their bytes lie; nothing is unpacked or copied.

POSIX.1-1988 (ustar), POSIX.1-2001 (pax) and GNU headers, as far as they name regular files. A file
is read with suspicion: checksums are verified, numbers and lengths bounded, and whatever a header
says, reading goes forward and ends with the file.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...core.errors import DataError

BLOCK = 512
END = bytes(BLOCK)
ADLER = 65521  # the modulus of Adler-32
LARGEST_HEADER = 1 << 20  # bytes of a name or of pax records
REGULAR = frozenset({b"\0", b"0", b"7"})
# Links, devices, folders and pipes, which have no bytes of their own.
EMPTY_KINDS = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
}
OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*\Z")
PAX_RECORD = re.compile(rb"([0-9]{1,7}) ")


class Member(NamedTuple):
    """One member: its name, its bytes' offset and size, and what it is if no regular file."""

    name: str
    offset: int
    size: int
    kind: str = ""


def tar_members(path: Path) -> Iterator[Member]:
    """Yield the members of a tar file in order; DataError if it is none, damaged or cut short."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}).") from error
    try:
        yield from _TarReader(path, file).members()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}).") from error
    finally:
        os.close(file)


class _TarReader:
    """Reads headers one after the other; a long name or pax records are about the next member."""

    def __init__(self, path: Path, file: int) -> None:
        self._path, self._file = path, file
        self._length = os.fstat(file).st_size
        self._at = 0

    def members(self) -> Iterator[Member]:
        long_name, records = "", {}
        while (header := self._header()) is not None:
            kind, size = header[156:157], self._number(header[124:136])
            if kind in b"LKxg":
                content = self._content(size)
                if kind == b"L":
                    long_name = _text(content)
                elif kind == b"x":
                    records = self._records(content)
                continue
            name = records.get("path") or long_name or _name(header)
            if "size" in records:
                size = self._number(records["size"].encode(), decimal=True)
            yield self._member(name, kind, size, header, records)
            long_name, records = "", {}

    def _member(
        self, name: str, kind: bytes, size: int, header: bytes, records: dict[str, str]
    ) -> Member:
        sparse = kind == b"S" or any(key.startswith("GNU.sparse") for key in records)
        if kind == b"S" and header[482]:
            self._skip_sparse_map()
        if kind in EMPTY_KINDS:
            return Member(name, self._at, 0, EMPTY_KINDS[kind])
        offset = self._at
        if size > self._length - offset:
            left = self._length - offset
            raise self._damaged(f"it is cut short: {left:,} of the {size:,} bytes of {name!a}")
        self._at = offset + -(-size // BLOCK) * BLOCK
        if sparse:
            return Member(name, offset, size, "a file with gaps")
        if kind in REGULAR:
            return Member(name, offset, size, "a folder" if name.endswith("/") else "")
        return Member(name, offset, size, "a member of an unknown kind")

    def _header(self) -> bytes | None:
        """Return the next header, None at the end: at a block of zeros, or of the file."""
        block = os.pread(self._file, BLOCK, self._at)
        if not block or block == END:
            return None
        if len(block) < BLOCK:
            raise self._damaged("it is cut short in a header")
        total = self._number(block[148:156])
        # The sum of all bytes, with spaces for the checksum itself; Adler-32 sums fast.
        found = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 8 * ord(" ")
        if (found - total) % ADLER:
            raise self._damaged("the checksum of a header is wrong")
        self._at += BLOCK
        return block

    def _content(self, size: int) -> bytes:
        """Return what a header of more than one block says."""
        if size > LARGEST_HEADER:
            raise self._damaged(f"a header claims {size:,} bytes")
        content = os.pread(self._file, size, self._at)
        if len(content) < size:
            raise self._damaged("it is cut short in a header")
        self._at += -(-size // BLOCK) * BLOCK
        return content

    def _skip_sparse_map(self) -> None:
        more = True
        while more:
            block = os.pread(self._file, BLOCK, self._at)
            if len(block) < BLOCK:
                raise self._damaged("it is cut short in a header")
            self._at += BLOCK
            more = bool(block[504])

    def _records(self, content: bytes) -> dict[str, str]:
        """Return pax records, each `<length> <key>=<value>` and a line end."""
        records = {}
        at = 0
        while at < len(content) and content[at]:
            match = PAX_RECORD.match(content, at)
            end = at + int(match[1]) if match else 0
            if match is None or not match.end() < end <= len(content):
                raise self._damaged("a pax record has a wrong length")
            key, _, value = content[match.end() : end - 1].partition(b"=")
            records[_text(key)] = _text(value)
            at = end
        return records

    def _number(self, field: bytes, *, decimal: bool = False) -> int:
        """Return a number in octal digits, or in GNU's binary form, or in a pax record."""
        if decimal:
            if not (field.isdigit() and len(field) < 20):
                raise self._damaged("a size is no number")
            return int(field)
        if field[0] == 0x80:
            return int.from_bytes(field[1:], "big")
        digits = OCTAL.match(field.partition(b"\0")[0])
        if digits is None:
            raise self._damaged("a number in a header is none")
        return int(digits[1] or b"0", 8)

    def _damaged(self, reason: str) -> DataError:
        if self._at == 0:
            gzipped = os.pread(self._file, 2, 0) == b"\x1f\x8b"
            return DataError(
                f"{self._path} is no tar file"
                + (", but a compressed one." if gzipped else f" ({reason})."),
                suggestion="Uncompress it (gunzip): images are read where they lie."
                if gzipped
                else "Look at it with `tar -tf`.",
            )
        return DataError(
            f"{self._path} is damaged at byte {self._at:,}: {reason}.",
            suggestion="Was it copied or downloaded whole? `tar -tf` lists what is in it.",
        )


def _name(header: bytes) -> str:
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and header[345]:
        return f"{_text(header[345:500])}/{name}"
    return name


def _text(field: bytes) -> str:
    """Return text up to the first NUL; bytes that are not UTF-8 are kept, as in names of files."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
