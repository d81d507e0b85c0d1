import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.data.folder import Sample
from cpcnn.data.split import split_samples, stable_name

ROOT = Path("images")


def samples(label: str, numbers: range | set[int] | list[int]) -> list[Sample]:
    return [Sample(ROOT / label / f"{number}.png", label) for number in numbers]


def held_out(files: list[Sample], fraction: float = 0.2, seed: int = 0) -> set[Sample]:
    train, validation = split_samples(files, ROOT, fraction, seed)
    assert set(train) | set(validation) == set(files)
    assert not set(train) & set(validation)
    return set(validation)


def below_threshold(file: Sample, fraction: float, seed: int) -> bool:
    """Where a file goes of itself: seen among so many others that no exception applies."""
    crowd = [Sample(ROOT / file.label / f"crowd/{number}.png", file.label) for number in range(40)]
    return file in held_out([file, *crowd], fraction, seed)


NUMBERS = st.sets(st.integers(0, 10_000), max_size=30)
SEEDS = st.integers(-(2**70), 2**70)


@given(old=NUMBERS, new=NUMBERS, seed=SEEDS, fraction=st.floats(0.05, 0.95))
def test_new_files_move_no_old_one(
    old: set[int], new: set[int], seed: int, fraction: float
) -> None:
    before = held_out(samples("cat", old), fraction, seed)
    after = held_out(samples("cat", old | new), fraction, seed)
    own = {file for file in samples("cat", old) if below_threshold(file, fraction, seed)}
    moved = {file for file in samples("cat", old) if (file in before) != (file in after)}
    if 0 < len(own) < len(old):
        assert before == own
        assert not moved
    else:  # one side would have been empty: the one file that filled it may go home
        assert len(moved) <= 1
        assert len(before ^ own) <= 1


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
