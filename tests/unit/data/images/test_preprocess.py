import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpcnn.core.errors import CheckpointError, DataError, UsageError
from cpcnn.data.images.decode import Header, decode
from cpcnn.data.images.preprocess import Preprocessing, choose_channels, choose_size, read_headers
from cpcnn.data.images.resize import INTERPOLATIONS, resize

Plant = Callable[[dict[str, int]], Path]

CONFIG: dict[str, Any] = {
    "height": 8,
    "width": 6,
    "channels": 1,
    "resize": "pad",
    "mean": [100.5],
    "std": [50.25],
}


@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
def test_load_decodes_and_resizes(tmp_path: Path, mode: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    loaded = Preprocessing(8, 10, channels, mode).load(path)
    np.testing.assert_array_equal(loaded, resize(decode(path, channels), 8, 10, mode))
    assert loaded.shape == (8, 10, channels)


def test_config_round_trip_through_json() -> None:
    preprocessing = Preprocessing(8, 6, 1, "pad", (100.5,), (50.25,))
    config = json.loads(json.dumps(preprocessing.to_config()))
    assert config == CONFIG
    assert Preprocessing.from_config(config) == preprocessing


def test_the_default_interpolation_is_left_out_of_the_config() -> None:
    nearest = Preprocessing(8, 6, 1, "pad", (100.5,), (50.25,), interpolation="nearest")
    config = json.loads(json.dumps(nearest.to_config()))
    assert config == CONFIG | {"interpolation": "nearest"}
    assert Preprocessing.from_config(config) == nearest
    explicit = Preprocessing.from_config(CONFIG | {"interpolation": "bilinear"})
    assert explicit.to_config() == CONFIG


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
def test_load_resamples_as_asked(tmp_path: Path, interpolation: str, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 14), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    # the aspect ratio is the image's own, so that no mode crops or pads
    loaded = Preprocessing(9, 6, 1, mode, interpolation=interpolation).load(path)
    expected = Image.fromarray(pixels).resize((6, 9), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(loaded[:, :, 0], np.asarray(expected))


def test_default_statistics_map_to_0_1() -> None:
    assert Preprocessing(4, 4).mean == (0.0, 0.0, 0.0)
    assert Preprocessing(4, 4).std == (255.0, 255.0, 255.0)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": 10**9},
        {"width": "8"},
        {"width": 8.0},
        {"width": True},
        {"channels": 2},
        {"channels": None},
        {"resize": "stretch"},
        {"resize": ["crop"]},
        {"mean": [1.0, 2.0]},
        {"mean": [float("nan")]},
        {"mean": ["x"]},
        {"mean": 3.0},
        {"mean": None},
        {"std": [0.0]},
        {"std": [-1.0]},
        {"std": [float("inf")]},
        {"interpolation": "cubic"},
        {"interpolation": None},
        {"extra": 1},
    ],
)
def test_damaged_config(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="preprocessing"):
        Preprocessing.from_config(CONFIG | change)


@pytest.mark.parametrize("config", [None, [], "x", {}, {"height": 3}])
def test_foreign_config(config: object) -> None:
    with pytest.raises(CheckpointError, match="must hold exactly channels, height"):
        Preprocessing.from_config(config)


def test_wrong_arguments_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="height must be a whole number from 1 to 16384, not 0"):
        Preprocessing(0, 4)


def headers(*sizes: tuple[int, int]) -> list[Header]:
    return [Header(width, height, grey=False) for height, width in sizes]


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(150, 200)] * 3, (150, 200)),
        ([(256, 256)], (256, 256)),
        ([(257, 256)], (224, 224)),
        ([(1, 1)], (1, 1)),
        ([(25, 30), (40, 38), (141, 99)], (32, 32)),
        ([(100, 300), (90, 500), (400, 130)], (96, 96)),
        ([(100, 300), (127, 128)], (96, 96)),
        ([(17, 17), (20, 20)], (32, 32)),
        ([(2000, 3000), (3000, 2000)], (224, 224)),
    ],
)
def test_choose_size(sizes: list[tuple[int, int]], chosen: tuple[int, int]) -> None:
    assert choose_size(headers(*sizes)) == chosen


def test_choose_channels() -> None:
    grey, colour = Header(4, 4, grey=True), Header(4, 4, grey=False)
    assert choose_channels([grey, grey]) == 1
    assert choose_channels([grey, colour]) == 3


def test_read_headers_takes_evenly_spaced_files_and_skips_bad_ones(plant: Plant) -> None:
    root = plant({"a": 10})
    paths = [root / "a" / f"{number}.png" for number in range(10)]
    for number in (0, 4, 6):
        Image.new("RGB", (number + 1, 1)).save(paths[number])
    paths[8].write_bytes(b"")
    widths = [header.width for header in read_headers(paths, limit=5)]
    assert widths == [1, 12, 5, 7]
    assert len(read_headers(paths)) == 9


def test_no_readable_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"none of 1 sampled files .*a\.png: it is empty"):
        read_headers([tmp_path / "a.png"])
    with pytest.raises(DataError, match="none of 0"):
        read_headers([])
