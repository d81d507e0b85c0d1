"""A small folder of drawn images to try things on: shapes on coloured grounds, made in a moment.

Colour, place, size, turn and ground of a shape say nothing about its class, so a network has to
learn the outline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.random import Philox

Floats: TypeAlias = NDArray[np.float64]
Outline: TypeAlias = Callable[[Floats, Floats], Floats]

SMALLEST_SIDE = 16
DRAWS = 24
STROKES = 2
LEAN = np.radians(25.0)
NOISE = 7.0


def write_sample_images(
    root: Path | str,
    *,
    per_class: int = 100,
    size: int = 48,
    seed: int = 0,
    splits: Sequence[tuple[str, float]] = (("train", 1.0), ("test", 0.25)),
) -> None:
    """Write root/<split>/<class>/<number>.png: RGB images of `size` pixels in five classes.

    `splits` gives each split folder's name and its share of `per_class`, at least one image; the
    name "" makes an unsplit folder. The same seed draws the same images. `root` must be new or
    empty; raises UsageError otherwise.
    """
    root = Path(root)
    if per_class < 1 or size < SMALLEST_SIDE:
        raise UsageError(
            f"sample images need per_class >= 1 and size >= {SMALLEST_SIDE}; "
            f"found {per_class} and {size}."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(
            f"{root} exists and is not an empty folder.", suggestion="Choose a new folder."
        )
    for split, share in splits:
        for label in SHAPES:
            _write_class(
                root / split / label, split, label, max(1, round(share * per_class)), size, seed
            )


def _write_class(folder: Path, split: str, label: str, count: int, size: int, seed: int) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(count):
        random = Philox(seed, f"samples/{split}/{label}/{number}")
        Image.fromarray(draw_sample(label, size, random)).save(folder / f"{number:04d}.png")


def draw_sample(label: str, size: int, random: Philox) -> NDArray[np.uint8]:
    """Draw one image of a class of SHAPES: uint8 (size, size, 3)."""
    draws = iter(random.uniform(np.arange(DRAWS // 4), 4).ravel().tolist())

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(draws)

    ground_hue = between(0.0, 1.0)
    image = _ground(size, ground_hue, between(0.0, 2.0 * np.pi), between(0.3, 0.6))
    for _ in range(STROKES):
        distance = _line(size, between(0.0, np.pi), between(-0.35, 0.35) * size)
        colour = _colour(ground_hue + 0.5, 0.3, between(0.2, 0.7))
        image = _blend(image, colour, _coverage(distance - 0.012 * size))
    radius = between(0.26, 0.4) * size
    reach = size / 2 - radius
    place = (between(-reach, reach), between(-reach, reach))
    distance = _shape(label, size, place, radius, between(-LEAN, LEAN))
    colour = _colour(ground_hue + between(0.25, 0.75), between(0.3, 0.9), between(0.75, 1.0))
    shadow = np.clip(0.35 - 4.0 * distance / size, 0.0, 0.35)
    image = _blend(image, np.zeros(3), shadow)
    image = _blend(image, colour, _coverage(distance))
    noise = random.child("noise").normal((size, size, 3)) * NOISE
    pixels: NDArray[np.uint8] = np.rint(np.clip(image * 255.0 + noise, 0.0, 255.0)).astype(np.uint8)
    return pixels


# ---- Outlines: signed distances, negative inside, for shapes that fit the unit circle ----------


def _circle(x: Floats, y: Floats) -> Floats:
    return np.hypot(x, y) - 0.9


def _cross(x: Floats, y: Floats) -> Floats:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.95, y - 0.3), np.maximum(x - 0.3, y - 0.95))


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 0.7


def _star(x: Floats, y: Floats) -> Floats:
    """Five points; folded into the sector between a tip and the next notch, one edge is left."""
    sector = np.pi / 5
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    angle = np.abs((angle + sector) % (2 * sector) - sector)
    notch = 0.45 * np.array([np.cos(sector), np.sin(sector)])
    edge = (notch - [1.0, 0.0]) / np.hypot(*(notch - [1.0, 0.0]))
    distance: Floats = (radius * np.cos(angle) - 1.0) * edge[1] - radius * np.sin(angle) * edge[0]
    return distance


def _triangle(x: Floats, y: Floats) -> Floats:
    height = np.sqrt(0.75)
    slopes = np.maximum(0.5 * x + height * y, 0.5 * x - height * y)
    distance: Floats = np.maximum(-x, slopes) - 0.5
    return distance


SHAPES: dict[str, Outline] = {
    "circle": _circle,
    "cross": _cross,
    "square": _square,
    "star": _star,
    "triangle": _triangle,
}


# ---- Drawing -----------------------------------------------------------------------------------


def _grid(size: int) -> tuple[Floats, Floats]:
    """Return x (1, size) and y (size, 1) of the pixels' centres, from the image's centre."""
    side = np.arange(size, dtype=np.float64) - (size - 1) / 2
    return side[np.newaxis, :], side[:, np.newaxis]


def _shape(label: str, size: int, place: tuple[float, float], radius: float, turn: float) -> Floats:
    """Return the distance of every pixel to a shape's outline, in pixels."""
    x, y = _grid(size)
    x, y = (x - place[0]) / radius, (y - place[1]) / radius
    cosine, sine = np.cos(turn), np.sin(turn)
    return SHAPES[label](cosine * x + sine * y, cosine * y - sine * x) * radius


def _line(size: int, angle: float, offset: float) -> Floats:
    x, y = _grid(size)
    distance: Floats = np.abs(np.cos(angle) * x + np.sin(angle) * y - offset)
    return distance


def _coverage(distance: Floats) -> Floats:
    """Return how much of each pixel lies inside: a one-pixel ramp across the outline."""
    return np.clip(0.5 - distance, 0.0, 1.0)


def _ground(size: int, hue: float, direction: float, value: float) -> Floats:
    """Return a gradient of two neighbouring colours: float64 (size, size, 3) in 0..1."""
    x, y = _grid(size)
    slope = np.cos(direction) * x + np.sin(direction) * y
    light, dark = _colour(hue, 0.3, value), _colour(hue + 0.08, 0.5, value - 0.25)
    ground = np.broadcast_to(light, (size, size, 3))
    return _blend(ground, dark, np.clip(0.5 + slope / size, 0.0, 1.0))


def _blend(image: Floats, colour: Floats, amount: Floats) -> Floats:
    amount = amount[:, :, np.newaxis]
    return image * (1.0 - amount) + colour * amount


def _colour(hue: float, saturation: float, value: float) -> Floats:
    """Convert HSV, each in 0..1 (the hue wraps), to RGB in 0..1."""
    ramp = np.abs((hue * 6.0 + np.array([0.0, 4.0, 2.0])) % 6.0 - 3.0) - 1.0
    rgb = value * (1.0 - saturation + saturation * np.clip(ramp, 0.0, 1.0))
    return rgb
