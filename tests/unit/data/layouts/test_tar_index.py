"""The index of tar files: what Python's own reader finds, and files that mean harm."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import DataError
from cpcnn.data.layouts.tar_index import Member, tar_members

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def write(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], kind: int) -> None:
    with tarfile.open(path, "w", format=kind) as file:
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def contents(path: Path) -> list[tuple[str, bytes]]:
    data = path.read_bytes()
    return [(m.name, data[m.offset : m.offset + m.size]) for m in tar_members(path) if not m.kind]


NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: not name.endswith("/"))
LONG = st.builds(lambda name, times: "/".join([name] * times), NAMES, st.integers(1, 9))


@pytest.mark.parametrize("kind", FORMATS)
@given(members=st.lists(st.tuples(LONG, st.binary(max_size=1100)), max_size=5))
def test_it_finds_what_python_wrote(
    tmp_path_factory: pytest.TempPathFactory, kind: str, members: list[tuple[str, bytes]]
) -> None:
    if kind == "ustar":  # which has no room for longer ones
        members = [(name, content) for name, content in members if len(name.encode()) < 90]
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    write(path, [(tarfile.TarInfo(name), content) for name, content in members], FORMATS[kind])
    assert contents(path) == members


def test_a_name_in_two_parts(tmp_path: Path) -> None:
    name = "/".join(["folder" * 3] * 8) + "/1.jpg"
    assert len(name) > 100
    write(tmp_path / "x.tar", [(tarfile.TarInfo(name), b"content")], tarfile.USTAR_FORMAT)
    assert contents(tmp_path / "x.tar") == [(name, b"content")]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (b"Z", "a member of an unknown kind"),
    ],
)
def test_what_is_no_regular_file(tmp_path: Path, kind: bytes, word: str) -> None:
    info = tarfile.TarInfo("odd")
    info.type, info.linkname = kind, "/etc/passwd"
    members = [(info, b""), (tarfile.TarInfo("1.jpg"), b"after")]
    write(tmp_path / "x.tar", members, tarfile.GNU_FORMAT)
    found = list(tar_members(tmp_path / "x.tar"))
    assert found[0].name.rstrip("/") == "odd"
    assert (found[0].size, found[0].kind) == (0, word)
    assert contents(tmp_path / "x.tar") == [("1.jpg", b"after")]


def test_sparse_files_are_told(tmp_path: Path) -> None:
    info = tarfile.TarInfo("gaps.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "gaps.jpg"}
    write(tmp_path / "x.tar", [(info, b"map")], tarfile.PAX_FORMAT)
    assert [m.kind for m in tar_members(tmp_path / "x.tar")] == ["a file with gaps"]


# ---- Hostile files -------------------------------------------------------------------------------


def header(name: bytes = b"1.jpg", size: bytes = b"00000000005", kind: bytes = b"0") -> bytearray:
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    return signed(block)


def signed(block: bytearray) -> bytearray:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return block


CONTENT = b"12345".ljust(512, b"\0")
END = bytes(1024)


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        list(tar_members(path))
    return f"{caught.value.message} {caught.value.suggestion}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * 600, "is no tar file (a number in a header is none)"),
        (b"x" * 100, "is no tar file (it is cut short in a header)"),
        (b"\x1f\x8b" + b"x" * 600, "is no tar file, but a compressed one. Uncompress it (gunzip)"),
        (b"\x01" + bytes(header())[1:], "is no tar file (the checksum of a header is wrong)"),
        (header() + CONTENT + b"y" * 512, "is damaged at byte 1,024: a number in a header"),
        (header() + CONTENT[:3], "it is cut short: 3 of the 5 bytes of '1.jpg'"),
        (header() + CONTENT + header()[:200], "at byte 1,024: it is cut short in a header"),
        (header(size=b"77777777777"), "0 of the 8,589,934,591 bytes of '1.jpg'"),
        (header(size=b"\x80" + b"\xff" * 11), "bytes of '1.jpg'"),
        (header(size=b"\xff" * 12), "a number in a header is none"),
        (header(size=b"-0000000001"), "a number in a header is none"),
        (header(size=b"0x000000005"), "a number in a header is none"),
        (header(size=b"77777777777", kind=b"L"), "a header claims 8,589,934,591 bytes"),
        (header(size=b"00003777777", kind=b"x"), "it is cut short in a header"),
        (header(size=b"\x80" + b"\xff" * 11, kind=b"x"), "a header claims"),
    ],
)
def test_files_that_are_damaged_or_lie(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refusal(tmp_path / "x.tar", bytes(data))


def pax(records: bytes) -> bytes:
    size = b"%011o" % len(records)
    return bytes(header(b"pax", size, b"x")) + records.ljust(-(-len(records) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (b"9999 path=x\n", "a pax record has a wrong length"),
        (b"3 path=x\n", "a pax record has a wrong length"),
        (b"0 path=x\n", "a pax record has a wrong length"),
        (b"-5 path=x\n", "a pax record has a wrong length"),
        (b"path=x\n", "a pax record has a wrong length"),
        (b"11 size=-5\n", "a size is no number"),
        (b"12 size=1e9\n", "a size is no number"),
        (b"32 size=99999999999999999999999\n", "a size is no number"),
        (b"17 size=99999999\n", "bytes of '1.jpg'"),
    ],
)
def test_pax_records_that_lie(tmp_path: Path, records: bytes, message: str) -> None:
    data = pax(records) + bytes(header()) + CONTENT + END
    assert message in refusal(tmp_path / "x.tar", data)


def test_pax_records_are_about_the_next_member_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(
        pax(b"16 path=new.png\n") + bytes(header()) + CONTENT + bytes(header()) + CONTENT + END
    )
    assert contents(path) == [("new.png", b"12345"), ("1.jpg", b"12345")]


def test_what_comes_after_the_end_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(bytes(header()) + CONTENT + END + b"garbage" * 100)
    assert contents(tmp_path / "x.tar") == [("1.jpg", b"12345")]
    (tmp_path / "y.tar").write_bytes(bytes(header()) + CONTENT)  # no end at all
    assert contents(tmp_path / "y.tar") == [("1.jpg", b"12345")]
    (tmp_path / "z.tar").write_bytes(b"")
    assert list(tar_members(tmp_path / "z.tar")) == []


@given(data=st.binary(max_size=1600), at=st.integers(0, 1100), patch=st.binary(max_size=40))
def test_no_bytes_do_harm(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, patch: bytes
) -> None:
    """Any bytes, and any change of a good file, are read to an end or refused."""
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    good = bytearray(bytes(header()) + CONTENT + END)
    good[at : at + len(patch)] = patch
    fixed = signed(bytearray(good[:512])) + good[512:]
    for content in (data, bytes(good), bytes(fixed)):
        path.write_bytes(content)
        try:
            found = list(tar_members(path))
        except DataError:
            continue
        assert all(isinstance(member, Member) for member in found)
        assert all(m.offset + m.size <= len(content) for m in found if not m.kind)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*No such file"):
        list(tar_members(tmp_path / "no.tar"))
