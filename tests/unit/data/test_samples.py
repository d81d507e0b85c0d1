from pathlib import Path

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.data.images.decode import decode
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.samples import SHAPES, draw_sample, write_sample_images


def pixels(root: Path) -> dict[str, np.ndarray]:
    return {p.relative_to(root).as_posix(): decode(p, 3) for p in sorted(root.rglob("*.png"))}


def test_it_writes_a_folder_that_can_be_trained_on(tmp_path: Path) -> None:
    root = tmp_path / "new" / "shapes"
    write_sample_images(root, per_class=8, size=20, seed=3)
    folder = scan_folder(root)
    assert folder.classes == ("circle", "cross", "square", "star", "triangle")
    assert set(folder.count("train").values()) == {8}
    assert set(folder.count("test").values()) == {2}
    assert folder.ignored == ()
    images = pixels(root)
    assert {image.shape for image in images.values()} == {(20, 20, 3)}
    assert len({image.tobytes() for image in images.values()}) == len(images)


def test_the_seed_decides_every_pixel(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_sample_images(tmp_path / name, per_class=2, size=16, seed=seed)
    first, again, other = (pixels(tmp_path / name) for name in "abc")
    assert first.keys() == again.keys() == other.keys()
    for name, image in first.items():
        np.testing.assert_array_equal(image, again[name])
        assert (image != other[name]).any()


def test_an_unsplit_folder(tmp_path: Path) -> None:
    write_sample_images(tmp_path, per_class=2, size=16, splits=(("", 1.0),))
    assert set(scan_folder(tmp_path).count("all").values()) == {2}


@pytest.mark.parametrize("label", SHAPES)
def test_outlines_fit_the_unit_circle_and_hold_its_centre(label: str) -> None:
    side = np.linspace(-1.2, 1.2, 97)
    x, y = side[None, :], side[:, None]
    inside = SHAPES[label](x, y) < 0
    assert inside[48, 48]
    assert not (inside & (np.hypot(x, y) > 1.01)).any()
    assert 0.15 < inside.mean() * 2.4**2 / np.pi < 1.0


def test_mean_colours_hardly_tell_the_classes_apart() -> None:
    images = [
        [draw_sample(label, 24, Philox(0, f"{label}/{number}")) for number in range(60)]
        for label in SHAPES
    ]
    colours = np.mean(images, axis=(2, 3))  # (classes, images, 3)
    centres = colours.mean(axis=1)
    distances = np.linalg.norm(colours[:, :, np.newaxis] - centres, axis=-1)
    correct = distances.argmin(axis=-1) == np.arange(len(SHAPES))[:, np.newaxis]
    assert correct.mean() < 0.5


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    for root in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(UsageError, match="not an empty folder"):
            write_sample_images(root)
    with pytest.raises(UsageError, match="size >= 16"):
        write_sample_images(tmp_path / "new", size=4)
