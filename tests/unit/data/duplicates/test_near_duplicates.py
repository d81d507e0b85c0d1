"""Near duplicates: changed copies are found, others are not, and crowds stay bounded."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from cpcnn.core.errors import UsageError
from cpcnn.data.duplicates import near_candidates
from cpcnn.data.duplicates.near_duplicates import find_near_pairs, groups_of
from cpcnn.data.duplicates.perceptual_hash import WORDS, hash_images

Hashes = NDArray[np.uint64]


def scene(seed: int, height: int, width: int, channels: int = 3) -> Image.Image:
    """A picture with coarse shapes and finer ones, no two seeds alike."""
    draw = np.random.default_rng(seed)
    image = np.zeros((height, width, channels))
    for grid, strength in ((4, 60), (9, 35), (20, 15)):
        for channel in range(channels):
            coarse = Image.fromarray(draw.normal(0, strength, (grid, grid)).astype(np.float32))
            image[..., channel] += np.asarray(coarse.resize((width, height), Resampling.BICUBIC))
    pixels = np.clip(image + 128, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0])


def hash_of(image: Image.Image) -> Hashes:
    pixels = np.asarray(image)
    return hash_images(pixels.reshape(1, *pixels.shape[:2], -1))


def hashes_of(images: list[Image.Image]) -> Hashes:
    return np.concatenate([hash_of(image) for image in images])


def scenes(count: int, first: int = 0, size: tuple[int, int] = (32, 32)) -> Hashes:
    return hashes_of([scene(first + number, *size) for number in range(count)])


def encoded(quality: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        content = io.BytesIO()
        image.save(content, "JPEG", quality=quality)
        return Image.open(content)

    return change


def resized(scale: float, resampling: Resampling) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize(
        (round(image.width * scale), round(image.height * scale)), resampling
    )


def brightened(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.point(
        [min(255, round(value * factor)) for value in range(256)] * len(image.getbands())
    )


def cropped(left: float, upper: float, share: float) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        width, height = image.width * share, image.height * share
        x, y = (image.width - width) * left, (image.height - height) * upper
        return image.resize(image.size, Resampling.BICUBIC, box=(x, y, x + width, y + height))

    return change


CHANGES = {
    "half": resized(0.6, Resampling.BOX),
    "double": resized(2.0, Resampling.LANCZOS),
    "quality 50": encoded(50),
    "quality 95": encoded(95),
    "brighter": brightened(1.15),
    "darker": brightened(0.87),
    "cropped in a corner": cropped(0.0, 1.0, 0.95),
    "cropped all round": cropped(0.5, 0.5, 0.95),
}
KINDS = {
    "28 grey": (28, 28, 1),
    "32 colour": (32, 32, 3),
    "wide": (64, 96, 3),
    "photo": (480, 640, 3),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found(kind: str, change: str) -> None:
    originals = [scene(seed, *KINDS[kind]) for seed in range(20)]
    copies = [CHANGES[change](image) for image in originals]
    pairs = find_near_pairs(hashes_of(originals + copies)).tolist()
    right = [[number, 20 + number] for number in range(20)]
    assert [pair for pair in pairs if pair not in right] == []
    assert len(pairs) >= 19


def test_other_images_are_not_found() -> None:
    assert find_near_pairs(scenes(400)).shape == (0, 2)


def test_another_colour_is_another_image() -> None:
    image = scene(1, 32, 32)
    other = Image.merge("RGB", image.split()[::-1])
    assert len(find_near_pairs(hashes_of([image, other]))) == 0


def test_smooth_light_alone_makes_no_copy() -> None:
    """A strong gradient is most of the contrast of both, small different things are the rest."""
    light = np.linspace(40, 220, 64)[:, np.newaxis] * np.ones(64)
    one, other = light.copy(), light.copy()
    one[20:28, 12:20] += 30
    other[36:44, 40:48] -= 30
    images = np.stack([one, other]).astype(np.uint8)[..., np.newaxis]
    assert len(find_near_pairs(hash_images(images))) == 0


# ---- The index -------------------------------------------------------------------------------


def test_the_index_finds_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    originals = [scene(seed, 32, 32) for seed in range(240)]
    changes = list(CHANGES.values())
    copies = [changes[number % len(changes)](image) for number, image in enumerate(originals)]
    hashes = hashes_of(originals + copies)
    every = find_near_pairs(hashes)
    assert len(every) == 240
    monkeypatch.setattr(near_candidates, "FEW", 0)
    monkeypatch.setattr(near_candidates, "ROWS_PER_PASS", 100)
    monkeypatch.setattr(near_candidates, "LOOKS_PER_PASS", 500)
    indexed = find_near_pairs(hashes)
    assert {tuple(pair) for pair in indexed.tolist()} <= {tuple(pair) for pair in every.tolist()}
    assert len(indexed) >= 0.97 * len(every)


def test_most_images_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_candidates, "FEW", 0)
    pictures = near_candidates.Pictures.of(scenes(1500))
    offered = near_candidates.candidates(pictures, np.arange(1500))
    assert sum(pairs.shape[1] for pairs in offered) < 1500 * 1499 / 2 / 20


def test_pairs_are_sorted_and_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.concatenate([scenes(50), scenes(50), scenes(20)])
    for few in (near_candidates.FEW, 0):
        monkeypatch.setattr(near_candidates, "FEW", few)
        pairs = find_near_pairs(hashes)
        assert pairs.dtype == np.int64
        assert (pairs[:, 0] < pairs[:, 1]).all()
        assert pairs.tolist() == sorted(map(list, {tuple(pair) for pair in pairs.tolist()}))
        np.testing.assert_array_equal(find_near_pairs(hashes), pairs)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_are_fine(count: int) -> None:
    assert find_near_pairs(scenes(count, size=(16, 16)) if count else _none()).shape == (0, 2)


def _none() -> Hashes:
    return np.empty((0, WORDS), np.uint64)


@pytest.mark.parametrize(
    "hashes", [np.zeros((3, WORDS), np.int64), np.zeros(3, np.uint64), np.zeros((3, 1), np.uint64)]
)
def test_other_arrays_are_refused(hashes: Hashes) -> None:
    with pytest.raises(UsageError, match=f"uint64 \\(N, {WORDS}\\)"):
        find_near_pairs(hashes)


# ---- Crowds ----------------------------------------------------------------------------------


def test_equal_images_are_paired_with_the_first() -> None:
    hashes = np.concatenate([scenes(1, first=7), np.repeat(scenes(1), 500, axis=0)])
    pairs = find_near_pairs(hashes)
    assert pairs.tolist() == [[1, later] for later in range(2, 501)]


def test_blank_images_are_paired_with_one_of_their_shade() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8), 20)
    images = np.broadcast_to(levels[:, np.newaxis, np.newaxis, np.newaxis], (5120, 8, 8, 1))
    pairs = find_near_pairs(hash_images(np.ascontiguousarray(images)))
    assert len(pairs) < 3 * len(images)
    apart = np.abs(np.diff(levels[pairs].astype(int), axis=1))
    assert apart.max() < 8
    groups = groups_of(pairs, len(images))
    assert sorted(image for group in groups for image in group) == list(range(len(images)))


def test_no_edge_of_a_shade_comes_between_blank_images() -> None:
    for level in range(255):
        images = np.array([level, level + 1], np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
        assert len(find_near_pairs(hash_images(images))) == 1, level


def test_black_white_and_red_are_not_alike() -> None:
    images = np.zeros((3, 16, 16, 3), np.uint8)
    images[1] = 255
    images[2] = (76, 76, 76)
    red = np.full((1, 16, 16, 3), (255, 0, 0), np.uint8)  # as dark as the grey
    assert len(find_near_pairs(hash_images(np.concatenate([images, red])))) == 0


@pytest.mark.parametrize("count", [600, 2600])
def test_a_crowd_of_copies_is_one_group_of_bounded_size(count: int) -> None:
    draw = np.random.default_rng(0)
    image = np.asarray(scene(3, 32, 32), np.float32)
    crowd = np.clip(image + draw.normal(0, 2, (count, 32, 32, 3)), 0, 255).astype(np.uint8)
    hashes = np.concatenate([hash_images(crowd), scenes(50, first=100)])
    pairs = find_near_pairs(hashes)
    assert len(pairs) < 70 * count
    groups = groups_of(pairs, len(hashes))
    assert len(groups) == 1
    assert len(groups[0]) > 0.99 * count
    assert max(groups[0]) < count


def test_a_kind_of_drawing_is_not_a_heap_of_copies() -> None:
    """Of hundreds of bars that only differ in place and width, few are more alike than usual."""
    draw = np.random.default_rng(0)
    images = np.zeros((600, 28, 28, 1), np.uint8)
    for image in images:
        left, width = draw.integers(7, 11), draw.integers(8, 12)
        image[4:24, left : left + width] = draw.integers(190, 250)
        image[4 : draw.integers(6, 12), 6:22] = draw.integers(150, 250)
        image += draw.integers(0, 6, (28, 28, 1), np.uint8)
    copy = np.asarray(encoded(80)(Image.fromarray(images[17, ..., 0])))[np.newaxis, ..., np.newaxis]
    pairs = find_near_pairs(hash_images(np.concatenate([images, copy])))
    assert [17, 600] in pairs.tolist()
    assert len(pairs) < 2 * len(images)


def test_the_frames_of_a_film_are_not_one_group() -> None:
    wide = scene(5, 32, 200)
    frames = [
        wide.resize((32, 32), Resampling.BICUBIC, box=(start, 0, start + 32, 32))
        for start in np.arange(0, 160, 0.8)
    ]
    groups = groups_of(find_near_pairs(hashes_of(frames)), len(frames))
    assert groups
    assert max(max(group) - min(group) for group in groups) < 20


# ---- Groups ----------------------------------------------------------------------------------

GRAPHS = st.integers(2, 25).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.sets(
            st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(
                lambda pair: pair[0] < pair[1]
            ),
            max_size=60,
        ),
    )
)


@given(graph=GRAPHS)
def test_groups_hold_every_image_with_a_partner_once(
    graph: tuple[int, set[tuple[int, int]]],
) -> None:
    count, pairs = graph
    groups = groups_of(sorted(pairs), count)
    members = [image for group in groups for image in group]
    assert sorted(members) == sorted({image for pair in pairs for image in pair})
    assert groups == sorted(tuple(sorted(group)) for group in groups)
    assert groups_of(sorted(pairs, reverse=True), count) == groups


@given(graph=GRAPHS)
def test_nothing_in_a_group_is_far_from_its_centre(
    graph: tuple[int, set[tuple[int, int]]],
) -> None:
    count, pairs = graph
    linked = np.eye(count, dtype=bool)
    for one, other in pairs:
        linked[one, other] = linked[other, one] = True
    for group in groups_of(sorted(pairs), count):
        inside = linked[np.ix_(group, group)].astype(int)
        assert len(group) >= 2
        assert (inside @ inside > 0).all(axis=1).any()


@settings(max_examples=30)
@given(length=st.integers(8, 60))
def test_a_chain_is_cut(length: int) -> None:
    groups = groups_of([(image, image + 1) for image in range(length - 1)], length)
    assert sum(map(len, groups)) == length
    assert max(map(len, groups)) <= 5


def test_a_clique_is_one_group() -> None:
    pairs = [(one, other) for one in range(2, 9) for other in range(one + 1, 9)]
    assert groups_of([*pairs, (0, 10)], 12) == [(0, 10), tuple(range(2, 9))]


def test_no_pairs_make_no_groups() -> None:
    assert groups_of(np.empty((0, 2), np.int64), 5) == []
    assert groups_of([], 0) == []
