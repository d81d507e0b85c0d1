import unicodedata
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.data.layouts.image_folder import Sample
from cpcnn.data.splits.split import split_samples, stable_name

ROOT = Path("images")


def samples(label: str, numbers: range | set[int] | list[int]) -> list[Sample]:
    return [Sample(ROOT / label / f"{number}.png", label) for number in numbers]


def held_out(files: list[Sample], fraction: float = 0.2, seed: int = 0) -> set[Sample]:
    train, validation = split_samples(files, ROOT, fraction, seed)
    assert set(train) | set(validation) == set(files)
    assert not set(train) & set(validation)
    return set(validation)


def validate_at_home(files: list[Sample], fraction: float, seed: int) -> set[Sample]:
    """Return those that validate of themselves: seen among so many others that no side is empty."""
    labels = {file.label for file in files}
    crowd = [
        Sample(ROOT / label / f"crowd/{number}.png", label)
        for label in labels
        for number in range(400)
    ]
    return held_out([*files, *crowd], fraction, seed) & set(files)


def units_by_class(files: Collection[Sample]) -> dict[str, set[object]]:
    """Return the groups of every class, and the files that are in none."""
    units = defaultdict(set)
    for file in files:
        units[file.label].add(file.group or file)
    return units


NUMBERS = st.sets(st.integers(0, 10_000), max_size=30)
SEEDS = st.integers(-(2**70), 2**70)


FRACTIONS = st.floats(0.05, 0.95)


@given(old=NUMBERS, new=NUMBERS, seed=SEEDS, fraction=FRACTIONS)
def test_new_files_move_no_old_one(
    old: set[int], new: set[int], seed: int, fraction: float
) -> None:
    files = samples("cat", old)
    own = validate_at_home(files, fraction, seed)
    before = held_out(files, fraction, seed)
    after = held_out(samples("cat", old | new), fraction, seed) & set(files)
    if 0 < len(own) < len(old):
        assert before == after == own
    else:  # one side would have been empty: the one file that filled it may go home
        assert len(before ^ own) <= 1
        assert len(before ^ after) <= 1


@given(
    growth=st.lists(st.sets(st.integers(0, 60), min_size=1, max_size=3), min_size=2, max_size=9),
    seed=SEEDS,
    fraction=st.sampled_from([0.05, 0.2, 0.8, 0.95]),
    grouped=st.booleans(),
)
def test_what_moves_in_a_growing_class_goes_home_and_stays_there(
    growth: list[set[int]], seed: int, fraction: float, grouped: bool
) -> None:
    def files_of(numbers: set[int]) -> list[Sample]:
        return [replace(*samples("cat", [number]), group=f"{number % 12}") for number in numbers]

    make = files_of if grouped else lambda numbers: samples("cat", numbers)
    own = validate_at_home(make(set().union(*growth)), fraction, seed)
    there: set[int] = set()
    before: set[Sample] = set()
    for new in growth:
        old = set(make(there))
        there |= new
        after = held_out(make(there), fraction, seed)
        moved = (before ^ after) & old
        assert len(units_by_class(moved)["cat"]) <= 1
        if len(units_by_class(old)["cat"]) > 1:
            assert moved & after == moved & own
        before = after


@given(numbers=NUMBERS, seed=SEEDS, shuffled=st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(numbers: set[int], seed: int, shuffled: object) -> None:
    files = samples("cat", numbers) + samples("dog", numbers)
    before = held_out(files, 0.3, seed)
    shuffled.shuffle(files)
    assert held_out(files, 0.3, seed) == before


@given(numbers=st.sets(st.integers(0, 10_000), min_size=2, max_size=9), seed=SEEDS)
def test_both_sides_of_a_class_are_filled(numbers: set[int], seed: int) -> None:
    for fraction in (1e-9, 0.5, 1 - 1e-9):
        assert 1 <= len(held_out(samples("cat", numbers), fraction, seed)) <= len(numbers) - 1


@given(
    numbers=st.sets(st.integers(0, 10_000), min_size=2, max_size=9),
    seed=SEEDS,
    fractions=st.lists(st.floats(1e-9, 1 - 1e-9), min_size=2, max_size=2).map(sorted),
)
def test_the_smallest_hash_is_the_first_to_validate_and_the_largest_the_last(
    numbers: set[int], seed: int, fractions: list[float]
) -> None:
    fewer, more = (held_out(samples("cat", numbers), fraction, seed) for fraction in fractions)
    assert fewer <= more
    assert held_out(samples("cat", numbers), 1e-9, seed) <= fewer
    assert more <= held_out(samples("cat", numbers), 1 - 1e-9, seed)


def test_a_single_file_trains() -> None:
    assert split_samples(samples("cat", [1]), ROOT, 0.999999, 0) == (tuple(samples("cat", [1])), ())
    assert split_samples([], ROOT, 0.5, 0) == ((), ())


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_proportions(fraction: float) -> None:
    count = 4000
    for seed in range(3):
        share = len(held_out(samples("cat", range(count)), fraction, seed)) / count
        assert abs(share - fraction) < 4 * (fraction * (1 - fraction) / count) ** 0.5


def test_seeds_and_classes_draw_independently() -> None:
    first, second = (held_out(samples("cat", range(2000)), 0.5, seed) for seed in (0, 1))
    assert 400 < len(first & second) < 600
    dogs = held_out(samples("dog", range(2000)), 0.5, 0)
    assert 400 < len({file.path.name for file in first} & {file.path.name for file in dogs}) < 600


def test_known_values() -> None:
    """The split of a data set must be the same in every version."""
    chosen = held_out(samples("cat", range(20)), 0.2, 0)
    assert sorted(int(file.path.stem) for file in chosen) == [8, 14, 19]


def test_sides_keep_the_order_of_the_files() -> None:
    files = samples("dog", range(50)) + samples("cat", range(50))
    train, validation = split_samples(files, ROOT, 0.3, 0)
    assert list(train) == [file for file in files if file in set(train)]
    assert list(validation) == [file for file in files if file in set(validation)]


def test_names_are_the_same_on_every_system() -> None:
    name = "café/ñ.png"
    for form in ("NFC", "NFD"):
        path = ROOT / unicodedata.normalize(form, name)
        assert stable_name(Sample(path, "café"), ROOT) == name
    nested = Sample(ROOT / "train" / "cat" / "a" / "1.png", "cat")
    assert stable_name(nested, ROOT) == stable_name(nested, ROOT / "train") == "cat/a/1.png"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_shares_that_cannot_be_meant(fraction: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_samples(samples("cat", range(4)), ROOT, fraction, 0)


# ---- Groups -----------------------------------------------------------------------------------


@st.composite
def grouped_samples(draw: st.DrawFn, labels: str = "abcd", least: int = 1) -> list[Sample]:
    """Draw files of some classes, in groups that may hold several classes, or in none."""
    places = st.tuples(st.sampled_from(labels), st.sampled_from(["", *"01234567"]))
    drawn = draw(st.lists(places, min_size=least, max_size=14))
    return [
        Sample(ROOT / label / f"{number}.png", label, group=group)
        for number, (label, group) in enumerate(drawn)
    ]


@given(files=grouped_samples(), seed=SEEDS, fraction=FRACTIONS)
def test_groups_stay_whole_and_sides_filled(
    files: list[Sample], seed: int, fraction: float
) -> None:
    validation = held_out(files, fraction, seed)
    train = set(files) - validation
    groups = {sample.group for sample in train} & {sample.group for sample in validation}
    assert groups <= {""}
    units = units_by_class(files)
    assert {sample.label for sample in train} == set(units)
    for label, members in units.items():
        shared = set().union(*(units[other] for other in units if other != label))
        if len(members) > 1 and members - shared:
            assert label in {sample.label for sample in validation}


@given(files=grouped_samples("ab", 8), seed=SEEDS, fraction=st.floats(0.3, 0.7))
def test_groups_decide_for_themselves_where_that_fills_every_side(
    files: list[Sample], seed: int, fraction: float
) -> None:
    own = validate_at_home(files, fraction, seed)
    labels = {sample.label for sample in files}
    sides = (own, set(files) - own)
    assume(all({sample.label for sample in side} == labels for side in sides))
    assert held_out(files, fraction, seed) == own


@given(files=grouped_samples(), seed=SEEDS, shuffled=st.randoms(use_true_random=False))
def test_the_order_of_grouped_files_does_not_matter(
    files: list[Sample], seed: int, shuffled: object
) -> None:
    before = held_out(files, 0.3, seed)
    shuffled.shuffle(files)
    assert held_out(files, 0.3, seed) == before


def test_a_group_that_comes_to_hold_another_class_stays_where_it_is() -> None:
    files = [Sample(ROOT / "a" / f"{n}.png", "a", group=str(n % 40)) for n in range(80)]
    files += [Sample(ROOT / "b" / f"{n}.png", "b") for n in range(80)]
    before = held_out(files)
    groups = {sample.group for sample in before} - {""}
    assert 2 < len(groups) < 20
    more = [Sample(ROOT / "b" / f"new{n}.png", "b", group=str(n)) for n in range(40)]
    after = held_out([*files, *more])
    assert after & set(files) == before
    assert {sample.group for sample in after & set(more)} == groups


def test_a_class_fills_its_sides_with_groups_of_its_own() -> None:
    shared = [Sample(ROOT / label / "1.png", label, group="shared") for label in "ab"]
    own = [Sample(ROOT / label / "2.png", label, group=f"own {label}") for label in "ab"]
    for seed in range(20):
        assert held_out(shared + own, 1e-9, seed) == set(own)
        assert held_out(shared + own, 1 - 1e-9, seed) == set(shared)


def test_a_group_of_several_classes_fills_a_side_if_no_class_loses_its_training() -> None:
    files = [
        Sample(ROOT / f"{label}/{n}.png", label, group=str(n)) for label in "ab" for n in (1, 2)
    ]
    alone = Sample(ROOT / "c/1.png", "c", group="1")
    for seed in range(20):
        assert len({file.group for file in held_out(files, 1e-9, seed)}) == 1
        for fraction in (1e-9, 0.5, 1 - 1e-9):
            assert {file.group for file in held_out([*files, alone], fraction, seed)} == {"2"}


def test_groups_that_cannot_fill_every_side() -> None:
    """Three groups of two classes each: two sides cannot be different in all three pairs."""
    pairs = {"x": "ab", "y": "bc", "z": "ca"}
    files = [
        Sample(ROOT / label / f"{group}.png", label, group=group)
        for group, labels in pairs.items()
        for label in labels
    ]
    for seed in range(20):
        validation = held_out(files, 0.5, seed)
        assert len({sample.group for sample in validation}) == 1
        assert len({sample.label for sample in set(files) - validation}) == 3


def test_known_groups() -> None:
    """The split of groups must be the same in every version."""
    files = [Sample(ROOT / "cat" / f"{n}.png", "cat", group=f"track{n // 2}") for n in range(40)]
    chosen = held_out(files)
    assert sorted({sample.group for sample in chosen}) == [
        "track1",
        "track13",
        "track15",
        "track3",
        "track9",
    ]
