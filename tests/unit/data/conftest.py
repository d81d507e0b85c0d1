"""Image folders that the data tests make for themselves."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpcnn.core.random import Philox

Plant = Callable[[Mapping[str, int]], Path]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Return a function that writes `count` small images into each folder named, below tmp_path.

    The images differ from each other; their names run over all folders, `0.png`, `1.png`, ….
    """

    def write(folders: Mapping[str, int]) -> Path:
        number = 0
        for name, count in folders.items():
            folder = tmp_path / name
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                pixels = Philox(number, "test image").words(np.arange(12 * 3)).astype(np.uint8)
                Image.fromarray(pixels.reshape(12, 12, 1)[:, :, 0]).save(folder / f"{number}.png")
                number += 1
        return tmp_path

    return write
