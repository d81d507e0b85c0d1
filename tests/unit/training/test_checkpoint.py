"""Checkpoint files: written whole or not at all, read with suspicion."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from cpcnn.core.errors import CheckpointError
from cpcnn.layers import Dense, Dropout, Flatten, Stack
from cpcnn.models import Model, load_model
from cpcnn.training import Checkpoint, load_checkpoint, save_checkpoint
from cpcnn.training.checkpoint import to_checkpoint

Members = dict[str, bytes]


def small_checkpoint(**changes: Any) -> Checkpoint:
    model = Model.from_layer(Stack([Flatten(), Dropout(0.1), Dense(2)]), (2, 2, 1))
    model.build(device="numpy")
    checkpoint = to_checkpoint(model, {"epoch": 3, "history": []}, {"velocity/x": np.ones(3)})
    checkpoint.classes = ("a", "b")
    checkpoint.preprocessing = {"height": 2}
    for name, value in changes.items():
        setattr(checkpoint, name, value)
    return checkpoint


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a good checkpoint."""
    path = tmp_path_factory.mktemp("checkpoint") / "good.cpcnn"
    save_checkpoint(path, small_checkpoint())
    return path.read_bytes()


@pytest.fixture
def members(content: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[..., str]:
    """Return a function that expects file content to be refused, and gives the message."""

    def check(content: bytes | Members, **options: Any) -> str:
        path = tmp_path / "bad.cpcnn"
        path.write_bytes(content if isinstance(content, bytes) else packed(content, **options))
        with pytest.raises(CheckpointError) as caught:
            load_model(path, device="numpy")
        return str(caught.value)

    return check


def packed(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def changed(members: Members, name: str, **changes: Any) -> Members:
    return members | {name: json.dumps(json.loads(members[name]) | changes).encode()}


# --- what is written is read --------------------------------------------------------------------


def test_everything_survives(tmp_path: Path) -> None:
    path = tmp_path / "model.cpcnn"
    checkpoint = small_checkpoint()
    save_checkpoint(path, checkpoint)
    again = load_checkpoint(path)
    assert again.model_config == json.loads(json.dumps(checkpoint.model_config))
    assert again.classes == ("a", "b")
    assert again.preprocessing == {"height": 2}
    assert again.training == {"epoch": 3, "history": []}
    for name in ("weights", "optimizer_state"):
        found, wanted = getattr(again, name), getattr(checkpoint, name)
        assert found.keys() == wanted.keys()
        for key, value in found.items():
            assert value.dtype == wanted[key].dtype
            assert np.array_equal(value, wanted[key])


def test_equal_checkpoints_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_checkpoint(tmp_path / name, small_checkpoint())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "model.cpcnn"
    save_checkpoint(path, small_checkpoint(classes=None, preprocessing=None, optimizer_state={}))
    again = load_checkpoint(path)
    assert (again.classes, again.preprocessing, again.optimizer_state) == (None, None, {})


@pytest.mark.parametrize("name", ["café ✓ 日本", 'quo"te\\', "line\nbreak", "not utf-8: \udcff"])
def test_any_class_name_survives(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.cpcnn"
    save_checkpoint(path, small_checkpoint(classes=(name, "b")))
    assert load_checkpoint(path).classes == (name, "b")


def test_arrays_of_any_layout_survive(tmp_path: Path) -> None:
    path = tmp_path / "model.cpcnn"
    array = np.arange(24.0).reshape(4, 6)[::2, ::3].T
    save_checkpoint(path, small_checkpoint(weights={"w": array}))
    assert np.array_equal(load_checkpoint(path).weights["w"], array)


def test_the_file_is_plain(content: bytes) -> None:
    """Anybody can read it with a zip tool; nothing in it is packed or pickled."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [
            "model.json", "training.json", "weights.safetensors", "optimizer.safetensors",
        ]  # fmt: skip
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("model.json"))["format"] == "cpcnn-checkpoint"


# --- written whole or not at all ----------------------------------------------------------------


class Crash(BaseException):
    """What no handler expects."""


@pytest.mark.parametrize("error", [Crash, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "zipfile.ZipFile.writestr"])
def test_a_crash_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: type[BaseException]
) -> None:
    path = tmp_path / "model.cpcnn"
    save_checkpoint(path, small_checkpoint())
    before = path.read_bytes()

    def crash(*args: Any, **options: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, crash)
        with pytest.raises(error):
            save_checkpoint(path, small_checkpoint(classes=("c", "d")))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.cpcnn"]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.cpcnn"
    save_checkpoint(path, small_checkpoint())
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"model\.cpcnn.*No space left") as caught:
            save_checkpoint(path, small_checkpoint(classes=("c", "d")))
    assert "kept" in caught.value.suggestion
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.cpcnn"]


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for place in ("missing/model.cpcnn", "file/model.cpcnn", "folder"):
        with pytest.raises(CheckpointError, match=place.partition("/")[0]):
            save_checkpoint(tmp_path / place, small_checkpoint())
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_read_only_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="ermission denied"):
            save_checkpoint(tmp_path / "model.cpcnn", small_checkpoint())
    finally:
        tmp_path.chmod(0o700)


# --- read with suspicion ------------------------------------------------------------------------


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*missing\.cpcnn"):
        load_checkpoint(tmp_path / "missing.cpcnn")
    with pytest.raises(CheckpointError, match="folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "foreign", [b"", b"PK", b"\x80\x04\x95pickle", b"\x89PNG\r\n\x1a\n", b"x" * 5000, b"PK\x05\x06"]
)
def test_foreign_files(refuse: Callable[..., str], foreign: bytes) -> None:
    assert "bad.cpcnn" in refuse(foreign)


def test_a_foreign_zip(refuse: Callable[..., str]) -> None:
    assert "model.json is missing" in refuse({"README.txt": b"hello"})
    assert "model.json is missing" in refuse({})


def cut_offsets(length: int) -> list[int]:
    return sorted({*range(0, length, 37), *range(max(length - 60, 0), length)})


def test_truncated_files(content: bytes, refuse: Callable[..., str]) -> None:
    for offset in cut_offsets(len(content)):
        refuse(content[:offset])


def test_files_without_their_beginning(content: bytes, tmp_path: Path) -> None:
    for offset in range(1, len(content), 97):
        expect_only_checkpoint_errors(tmp_path, content[offset:])


def expect_only_checkpoint_errors(folder: Path, content: bytes) -> None:
    """Load a damaged file: it may still be readable, but nothing else may be raised."""
    path = folder / "damaged.cpcnn"
    path.write_bytes(content)
    with suppress(CheckpointError):
        load_model(path, device="numpy")


def spoil(content: bytes, place: float, junk: bytes) -> bytes:
    start = int(place * len(content))
    return content[:start] + junk + content[start + len(junk) :]


damage = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage)
def test_damaged_files(content: bytes, tmp_path: Path, damage: Any) -> None:
    for place, junk in damage:
        content = spoil(content, place, junk)
    expect_only_checkpoint_errors(tmp_path, content)


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage)
def test_damaged_files_in_numbers(content: bytes, tmp_path: Path, damage: Any) -> None:
    for place, junk in damage:
        content = spoil(content, place, junk)
    expect_only_checkpoint_errors(tmp_path, content)


@pytest.mark.long
def test_every_single_byte(content: bytes, tmp_path: Path) -> None:
    for offset in range(len(content)):
        for junk in (0x00, 0xFF, content[offset] ^ 0x20):
            spoiled = content[:offset] + bytes([junk]) + content[offset + 1 :]
            expect_only_checkpoint_errors(tmp_path, spoiled)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_members_in_an_intact_zip(content: bytes, tmp_path: Path, data: Any) -> None:
    """Behind correct checksums, where the zip reader cannot help."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = data.draw(st.sampled_from(sorted(members)))
    for place, junk in data.draw(damage):
        members[name] = spoil(members[name], place, junk)
    expect_only_checkpoint_errors(tmp_path, packed(members))


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"{", b"null", b"[]", b"3", b'"model"', b"\xff\xfe", b"{" * 10_000,
        b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"epoch": ' + b"9" * 5000 + b"}", b"{} trailing",
    ],
    ids=lambda junk: repr(junk[:12]),
)  # fmt: skip
@pytest.mark.parametrize("name", ["model.json", "training.json"])
def test_json_that_is_none(
    refuse: Callable[..., str], members: Members, name: str, junk: bytes
) -> None:
    refuse(members | {name: junk})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "not a cpcnn checkpoint"),
        ({"format": None}, "not a cpcnn checkpoint"),
        ({"version": 2}, "version 2, this cpcnn reads up to 1. Update cpcnn."),
        ({"version": 0}, "version 0"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"version": None}, "version"),
        ({"classes": "ab"}, "class names"),
        ({"classes": [1, 2]}, "class names"),
        ({"classes": {"a": 1}}, "class names"),
        ({"preprocessing": [1]}, "damaged"),
        ({"preprocessing": "x"}, "damaged"),
        ({"model": None}, "damaged"),
        ({"model": []}, "damaged"),
        ({"model": "resnet"}, "damaged"),
        ({"model": {}}, "input shape"),
        ({"model": {"input_shape": [2, 2, 1]}}, "description"),
        ({"model": {"input_shape": [2, 2, 1], "root": []}}, "description"),
    ],
)
def test_descriptions_that_make_no_sense(
    refuse: Callable[..., str], members: Members, changes: Any, words: str
) -> None:
    assert words in refuse(changed(members, "model.json", **changes))


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"type": kind, "config": config}


DENSE = layer("Dense", units=2)
BILLION = 10**9


@pytest.mark.parametrize(
    "root",
    [
        layer("Stack", layers=[layer("Conv2D", filters=2, kernel_size=99)]),
        layer("Stack", layers=[layer("Dense", units=2, name=5)]),
        layer("Stack", layers=[layer("Dense", units=2, name="a.b")]),
        layer("Stack", layers=[DENSE, layer("Add"), DENSE]),
        layer("Stack", layers=[]),
        layer("Dense", units=2, kernel_initializer=5),
        layer("Dense", units=10**12),
        layer("Dense", units=10**400),
        layer("Conv2D", filters=BILLION, kernel_size=[BILLION, BILLION], padding=BILLION),
        layer("Conv2D", filters=2, kernel_size=1, padding=["a", "b"]),
        layer("Conv2D", filters=2, kernel_size=1, padding={}),
        layer("MaxPooling2D", padding=5),
        layer("Graph", layers=[layer("Add")], steps=[[0, [0, 0]]]),
        layer("Add"),
    ],
    ids=range(14),
)
def test_networks_that_cannot_be(refuse: Callable[..., str], members: Members, root: Any) -> None:
    refuse(changed(members, "model.json", model={"input_shape": [2, 2, 1], "root": root}))


def test_an_initializer_that_cannot_make_its_parameter(
    refuse: Callable[..., str], members: Members
) -> None:
    """Names and shapes of the weights agree; it shows when the parameters are allocated."""
    orthogonal = {"initializer": "Orthogonal", "config": {}}
    dense = layer("Dense", units=2, bias_initializer=orthogonal)
    root = layer("Stack", layers=[layer("Flatten"), dense])
    model = {"input_shape": [2, 2, 1], "root": root}
    assert "Orthogonal needs two axes" in refuse(changed(members, "model.json", model=model))


@pytest.mark.parametrize(
    "shape",
    [None, [], [2, 3], [2, 2, 0], [2, 2, -1], [2, 2, "1"], [2, 2, 1.0], 4, {"a": 1}, [9, 9, 9]],
)
def test_input_shapes_that_do_not_fit(
    refuse: Callable[..., str], members: Members, shape: Any
) -> None:
    model = json.loads(members["model.json"])["model"]
    refuse(changed(members, "model.json", model=model | {"input_shape": shape}))


def tensors(**entries: Any) -> bytes:
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        tensors(a={"dtype": "F32", "shape": [10**18], "data_offsets": [0, 4 * 10**18]}),
        tensors(a={"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}),
        tensors(a={"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}),
        tensors(a={"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}),
        tensors(a={"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}),
        tensors(a={"dtype": "F99", "shape": [0], "data_offsets": [0, 0]}),
        tensors(a={"dtype": "F32", "shape": [0] * 70, "data_offsets": [0, 0]}),
        tensors(a={"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}) + b"\x00" * 8,
    ],
    ids=range(13),
)
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors"])
def test_tensors_that_are_none(
    refuse: Callable[..., str], members: Members, name: str, junk: bytes
) -> None:
    if name == "optimizer.safetensors":
        # an optimizer's state of no elements is odd, but only its owner can tell
        members = members | {"weights.safetensors": junk}
    refuse(members | {name: junk})


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F8_E4M3", "F8_E5M2", "C64", "BOOL", "I8", "U64"])
def test_weights_of_odd_types(tmp_path: Path, members: Members, dtype: str) -> None:
    sizes = {"F16": 2, "BF16": 2, "C64": 8, "U64": 8}
    size = sizes.get(dtype, 1)
    header = {
        "dense.bias": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]},
        "dense.kernel": {"dtype": dtype, "shape": [4, 2], "data_offsets": [2 * size, 10 * size]},
    }
    content = members | {"weights.safetensors": tensors(**header) + b"\x00" * 10 * size}
    expect_only_checkpoint_errors(tmp_path, packed(content))


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"dense.kernel": np.zeros((4, 2), "f4")},
        {"dense.kernel": np.zeros((2, 4), "f4"), "dense.bias": np.zeros(2, "f4")},
        {"dense.kernel": np.zeros((4, 2), "f4"), "dense.bias": np.zeros((), "f4")},
        {
            "dense.kernel": np.zeros((4, 2), "f4"),
            "dense.bias": np.zeros(2, "f4"),
            "../../etc/passwd": np.zeros(2, "f4"),
        },
    ],
)
def test_weights_of_another_network(
    refuse: Callable[..., str], members: Members, weights: Any
) -> None:
    message = refuse(members | {"weights.safetensors": save(weights)})
    assert "weight" in message


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members(refuse: Callable[..., str], members: Members, method: int) -> None:
    assert "packed or too large" in refuse(members, compression=method)


def test_a_bomb_is_not_unpacked(refuse: Callable[..., str], members: Members) -> None:
    bomb = members | {"model.json": b" " * (100 << 20)}
    assert "packed or too large" in refuse(bomb, compression=zipfile.ZIP_DEFLATED)


def test_a_size_that_the_file_does_not_have(content: bytes, refuse: Callable[..., str]) -> None:
    """The directory at the end of a zip says how large its members are; it may lie."""
    for size in (2**31, 2**32 - 2, 60 << 20):
        start = content.index(b"PK\x01\x02")
        lie = struct.pack("<II", size, size)
        refuse(content[: start + 20] + lie + content[start + 28 :])


def test_encrypted_members(content: bytes, refuse: Callable[..., str]) -> None:
    start = content.index(b"PK\x01\x02")
    refuse(content[: start + 8] + b"\x01" + content[start + 9 :])


def test_names_like_paths_are_never_written(
    tmp_path: Path, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd.cpcnn"
    path.write_bytes(packed({"../evil": b"x", "/evil": b"x", "C:\\evil": b"x"} | members))
    load_model(path, device="numpy")  # strangers in the archive are not looked at
    assert os.listdir(tmp_path) == ["odd.cpcnn"]
    assert not (tmp_path.parent / "evil").exists()
