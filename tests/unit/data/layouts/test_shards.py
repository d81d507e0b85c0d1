"""Shards in WebDataset's form: labels, splits, fields, reading in place, and what is refused."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpcnn.core.errors import DataError
from cpcnn.data.images.decode import BadImage, decode, read_header
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.layouts.image_folder import ImageFolder
from cpcnn.data.layouts.shard_path import ShardPath
from cpcnn.data.manifest import sha256_of
from cpcnn.data.splits.grouping import choose_grouping, group_images
from cpcnn.data.splits.split import stable_name


def png(level: int = 0, side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, members: Mapping[str, bytes | str | dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            data = json.dumps(content) if isinstance(content, dict) else content
            info = tarfile.TarInfo(name)
            data = data.encode() if isinstance(data, str) else data
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def labels(folder: ImageFolder) -> dict[str, dict[str, str]]:
    return {
        split: {sample.name_in(folder.root): sample.label for sample in samples}
        for split, samples in folder.splits.items()
    }


def refusal(data: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        scan_folder(data, **options)
    return f"{caught.value.message} {caught.value.suggestion}"


TWO = {"1.jpg": png(), "1.cls": "cat\n", "2.png": png(), "2.cls": " dog "}


# ---- Layouts -------------------------------------------------------------------------------------


def test_a_tar_file_is_data(tmp_path: Path) -> None:
    data = shard(tmp_path / "x.tar", TWO | {"3.WEBP": png(), "3.CLS": "dog", "1.txt": "a cat"})
    folder = scan_folder(data)
    assert (folder.root, folder.source, folder.table) == (data, data, None)
    assert labels(folder) == {"all": {"1.jpg": "cat", "2.png": "dog", "3.WEBP": "dog"}}
    assert folder.ignored == ()
    assert str(folder.splits["all"][0].path) == f"{data}/1.jpg"


def test_a_folder_of_shards(tmp_path: Path) -> None:
    shard(tmp_path / "a-0.tar", TWO)
    shard(tmp_path / "a-1.tar", {"in/1.png": png(), "in/1.cls": "7"})
    (tmp_path / "README.md").touch()
    folder = scan_folder(tmp_path)
    assert labels(folder) == {
        "all": {"a-1.tar/in/1.png": "7", "a-0.tar/1.jpg": "cat", "a-0.tar/2.png": "dog"}
    }
    assert dict(folder.ignored) == {tmp_path / "README.md": "not an image (.md)"}
    left = scan_folder(tmp_path, training=False, exclude=["a-0.tar", "*.jpg"])
    assert labels(left) == {"all": {"a-1.tar/in/1.png": "7"}}
    assert dict(left.ignored)[tmp_path / "a-0.tar"] == "excluded"
    assert labels(scan_folder(tmp_path, training=False, include=["*.jpg"])) == {
        "all": {"a-0.tar/1.jpg": "cat"}
    }
    assert "leave out all of the 3 images" in refusal(tmp_path, include=["*.gif"])


def test_split_folders_of_shards(tmp_path: Path) -> None:
    shard(tmp_path / "train/0.tar", TWO)
    shard(tmp_path / "val/0.tar", {"1.jpg": png(), "1.cls": "cat"})
    assert labels(scan_folder(tmp_path)) == {
        "train": {"train/0.tar/1.jpg": "cat", "train/0.tar/2.png": "dog"},
        "validation": {"val/0.tar/1.jpg": "cat"},
    }


def test_splits_in_the_names_of_shards(tmp_path: Path) -> None:
    shard(tmp_path / "train-000.tar", TWO)
    shard(tmp_path / "train-001.tar", {"1.jpg": png(), "1.cls": "cat"})
    shard(tmp_path / "Val_0.tar", {"1.jpg": png(), "1.cls": "cat"})
    folder = scan_folder(tmp_path)
    assert {split: len(part) for split, part in folder.splits.items()} == {
        "train": 3,
        "validation": 1,
    }
    shard(tmp_path / "other.tar", TWO)
    assert "others (other.tar). Name all of them like train-000.tar" in refusal(tmp_path)


def test_class_folders_go_before_tar_files_beside_them(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", TWO)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    folder = scan_folder(tmp_path)
    assert folder.classes == ("a", "b")
    assert dict(folder.ignored) == {tmp_path / "x.tar": "not an image (.tar)"}
    assert scan_folder(tmp_path, use_table=False) == folder


def test_fields(tmp_path: Path) -> None:
    members = {
        "1.jpg": png(),
        "1.json": {"label": 3, "class_name": "cat", "patient": 7, "box": [1], "seen": True},
        "2.jpg": png(),
        "2.json": {"class": "dog", "patient": 8},
        "3.jpg": png(),
        "3.cls": "eel",
        "3.json": {"label": "dog", "patient": 7},
        "4.jpg": png(),
        "4.cls": "eel",
    }
    folder = scan_folder(shard(tmp_path / "x.tar", members))
    assert labels(folder)["all"] == {"1.jpg": "cat", "2.jpg": "dog", "3.jpg": "eel", "4.jpg": "eel"}
    grouping = choose_grouping(folder, "patient")
    assert grouping is not None
    grouped, _ = group_images(folder, grouping)
    assert [sample.group for sample in grouped.splits["all"]] == ["7", "8", "7", ""]
    assert grouped.splits["all"][0].read_bytes() == png()


def test_a_field_may_be_the_split(tmp_path: Path) -> None:
    members: dict[str, Any] = {}
    for number, (label, split) in enumerate([("a", "train"), ("b", "train"), ("a", "test")]):
        members |= {f"{number}.jpg": png(), f"{number}.json": {"label": label, "split": split}}
    folder = scan_folder(shard(tmp_path / "x.tar", members))
    assert labels(folder) == {"train": {"0.jpg": "a", "1.jpg": "b"}, "test": {"2.jpg": "a"}}


def test_an_image_and_its_companions(tmp_path: Path) -> None:
    members = {
        "1.mask.png": png(1),
        "1.jpg": png(2),
        "1.cls": "a",
        "2.seg.png": png(),
        "2.cls": "b",
    }
    folder = scan_folder(shard(tmp_path / "x.tar", members))
    assert labels(folder)["all"] == {"1.jpg": "a", "2.seg.png": "b"}


def test_names_decide_the_split_whatever_the_shard(tmp_path: Path) -> None:
    one = scan_folder(
        shard(tmp_path / "a/x.tar", {"cat/1.jpg": png(), "cat/1.cls": "cat"}), training=False
    )
    two = scan_folder(
        shard(tmp_path / "b/y.tar", {"cat/1.jpg": png(), "cat/1.cls": "cat"}).parent, training=False
    )
    names = {stable_name(folder.splits["all"][0], folder.root) for folder in (one, two)}
    assert names == {"cat/1.jpg"}


# ---- Hostile members -----------------------------------------------------------------------------


def test_what_is_passed_over(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "x.tar",
        TWO
        | {
            "/etc/1.jpg": png(),
            "../2.jpg": png(),
            "a/../../3.jpg": png(),
            "a//4.jpg": png(),
            "._1.jpg": b"",
            "__MACOSX/1.jpg": b"",
            "9.cls": "eel",
        },
    )
    with tarfile.open(path, "a") as file:
        for kind, name in ((tarfile.SYMTYPE, "5.jpg"), (tarfile.FIFOTYPE, "6.jpg")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        file.addfile(tarfile.TarInfo("./7.txt"))
    folder = scan_folder(path)
    assert labels(folder)["all"] == {"1.jpg": "cat", "2.png": "dog"}
    reasons = {str(p.relative_to(path)): reason for p, reason in folder.ignored}
    leads = "a name that leads out of the tar file"
    assert reasons == {
        "etc/1.jpg": leads,
        "../2.jpg": leads,
        "a/../../3.jpg": leads,
        "a/4.jpg": leads,
        "._1.jpg": "hidden",
        "__MACOSX/1.jpg": "hidden",
        "5.jpg": "not a regular file (a link)",
        "6.jpg": "not a regular file (a pipe)",
        "9": "a label without an image",
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"3.jpg": b"x"}, "3.jpg: it has no label"),
        ({"3.jpg": b"x", "3.cls": " \n"}, "3.jpg: it has no label"),
        ({"3.jpg": b"x", "3.cls": "a\tb"}, r"3.jpg: the label 'a\tb' has control characters"),
        ({"3.jpg": b"x", "3.cls": b"\xff"}, "not UTF-8"),
        ({"3.jpg": b"x", "3.cls": "x" * 5000}, "'3.cls' has 5,000 bytes, which is no class"),
        ({"3.jpg": b"x", "3.json": "{"}, "'3.json' is no JSON"),
        ({"3.jpg": b"x", "3.json": "[" * 100_000}, "'3.json' is no JSON"),
        ({"3.jpg": b"x", "3.json": "[1]"}, "'3.json' is no JSON object"),
        ({"3.jpg": b"x", "3.json": {"labels": "a"}}, "3.jpg: it has no label"),
        ({"3.jpg": b"x", "3.json": {"label": ["a"]}}, "3.jpg: it has no label"),
        ({"3.jpg": b"x", "3.json": "0" * (2 << 20)}, "more than a label's"),
        ({"3.jpg": b"x", "3.png": b"x", "3.cls": "a"}, "it has two images"),
    ],
)
def test_samples_that_cannot_be_used(tmp_path: Path, members: dict[str, Any], message: str) -> None:
    refused = refusal(shard(tmp_path / "x.tar", TWO | members))
    assert "of the samples in shards cannot be used" in refused
    assert message in refused


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", TWO)
    with tarfile.open(path, "a") as file:
        file.addfile(tarfile.TarInfo("1.jpg"))
    assert "'1.jpg' stands in x.tar twice" in refusal(path)


def test_shards_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"\x1f\x8b" + b"x" * 600)
    assert "but a compressed one. Uncompress it" in refusal(tmp_path / "x.tar")
    (tmp_path / "x.tar").write_bytes(b"")
    assert "there are no images in" in refusal(tmp_path / "x.tar")
    (tmp_path / "x.tar.gz").touch()
    assert "make it a .tar (gunzip)" in refusal(tmp_path / "x.tar.gz")


# ---- Reading in place ----------------------------------------------------------------------------


def test_images_are_read_where_they_lie(tmp_path: Path) -> None:
    members = {f"{level}.png": png(level, 4 + level) for level in range(5)}
    members |= {f"{level}.cls": f"{level % 2}" for level in range(5)}
    folder = scan_folder(shard(tmp_path / "x.tar", members))
    for sample in folder.splits["all"]:
        level = int(sample.path.stem)
        content = members[sample.path.name]
        assert sample.read_bytes() == sample.open().read() == content
        assert sample.path.stat().st_size == len(content)
        assert sample.path.stat().st_mtime_ns == (tmp_path / "x.tar").stat().st_mtime_ns
        assert sample.path.is_file()
        assert sample.path.exists()
        assert read_header(sample.path).width == 4 + level
        np.testing.assert_array_equal(decode(sample.path, 3)[0, 0], [level, 0, 0])
        (tmp_path / "plain.png").write_bytes(content)
        assert sha256_of(sample.path) == sha256_of(tmp_path / "plain.png")
        again = pickle.loads(pickle.dumps(sample.path))
        assert again == sample.path
        assert again.read_bytes() == content


def test_a_bad_image_is_named_in_its_shard(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "x.tar",
        TWO | {"3.png": b"no image", "3.cls": "dog", "4.png": b"", "4.cls": "dog"},
    )
    for sample, reason in zip(
        scan_folder(path).splits["all"][2:], ("begins with", "is empty"), strict=True
    ):
        with pytest.raises(BadImage, match=f"x.tar/{sample.path.name}: .*{reason}"):
            decode(sample.path, 3)


def test_part_of_a_file_is_a_file(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", {"1.png": b"0123456789", "1.cls": "a"})
    sample = scan_folder(path, training=False).splits["all"][0]
    with sample.open() as file:
        assert (file.read(3), file.tell(), file.seek(-2, 2), file.read()) == (b"012", 3, 8, b"89")
        assert (file.seek(100), file.read()) == (100, b"")
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
    with pytest.raises(ValueError, match="only be opened to read bytes"):
        sample.path.open("w")
    path.write_bytes(path.read_bytes()[:514])
    with pytest.raises(OSError, match=r"x\.tar has become shorter"):
        sample.read_bytes()
    path.unlink()
    assert not sample.path.exists()
    with pytest.raises(BadImage, match="cannot be opened"):
        decode(sample.path, 3)
    assert isinstance(sample.path, ShardPath)
