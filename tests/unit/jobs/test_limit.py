"""A part of the images: how many of what, and that they stay the same ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.data.layouts.image_folder import Sample
from cpcnn.jobs.limit import limit_samples, limited
from cpcnn.jobs.splits import SplitChoice

ROOT = Path("data")
COUNTS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 12)), min_size=2, max_size=5)


def samples(part: str, counts: list[int]) -> tuple[Sample, ...]:
    return tuple(
        Sample(ROOT / part / f"c{number}" / f"{index}.png", f"c{number}")
        for number, count in enumerate(counts)
        for index in range(count)
    )


def both(counts: list[tuple[int, int]]) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    return samples("train", [a for a, _ in counts]), samples("val", [b for _, b in counts])


@given(COUNTS, st.integers(5, 120), st.integers(0, 3))
def test_the_limit_is_shared_out_evenly(
    counts: list[tuple[int, int]], limit: int, seed: int
) -> None:
    train, validation = both(counts)
    total = len(train) + len(validation)
    kept = limit_samples(train, validation, ROOT, limit, seed)
    assert len(kept[0]) + len(kept[1]) == min(limit, total)
    spare, images = limit - len(counts), total - len(counts)
    for given_samples, part, sure in zip((train, validation), kept, (1, 0), strict=True):
        assert list(part) == [sample for sample in given_samples if sample in part]
        had, has = (Counter(sample.label for sample in s) for s in (given_samples, part))
        for name in had:
            assert has[name] >= sure
            if limit < total:
                assert abs(has[name] - sure - spare * (had[name] - sure) / images) < 1


def test_images_are_those_of_the_seed_and_new_ones_do_not_replace_all() -> None:
    train, validation = both([(40, 10), (40, 10)])
    first = limit_samples(train, validation, ROOT, 30, 0)
    assert limit_samples(train[::-1], validation, ROOT, 30, 0)[0] == first[0][::-1]
    assert limit_samples(train, validation, ROOT, 30, 1) != first
    more, _ = both([(44, 10), (44, 10)])
    assert len({*limit_samples(more, validation, ROOT, 30, 0)[0]} & {*first[0]}) >= 16


def test_every_class_needs_an_image() -> None:
    train, validation = both([(3, 1), (3, 1), (3, 1)])
    with pytest.raises(UsageError, match="--limit is 2, fewer than the 3 classes"):
        limit_samples(train, validation, ROOT, 2, 0)


def test_it_says_so() -> None:
    choice = SplitChoice(*both([(8, 2), (8, 2)]), test=(), drawn=True, notes=("before",))
    assert limited(choice, ROOT, None, 0) is choice
    assert limited(choice, ROOT, 20, 0) is choice
    less = limited(choice, ROOT, 10, 0)
    assert (len(less.train), len(less.validation)) == (8, 2)
    assert less.notes[0] == "before"
    assert less.notes[1].startswith("Limited to 10 of 20 images")
