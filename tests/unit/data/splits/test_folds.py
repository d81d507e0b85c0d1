"""Folds: each image in the one of its own hash, groups whole, whatever else comes or goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.data.layouts.image_folder import Sample
from cpcnn.data.splits.split import fold_of, fold_samples, split_samples

ROOT = Path("images")
NUMBERS = st.sets(st.integers(0, 10_000), max_size=30)
SEEDS = st.integers(-(2**70), 2**70)
FOLDS = st.integers(2, 12)


def samples(label: str, numbers: set[int] | range, groups: int = 0) -> list[Sample]:
    return [
        Sample(ROOT / label / f"{number}.png", label, group=f"g{number % groups}" if groups else "")
        for number in sorted(numbers)
    ]


def places(files: list[Sample], folds: int, seed: int) -> dict[Sample, list[int]]:
    """Return in which folds each file validates, checking that every fold divides the files."""
    found: dict[Sample, list[int]] = {file: [] for file in files}
    position = {file: place for place, file in enumerate(files)}
    for fold in range(1, folds + 1):
        train, validation = fold_samples(files, ROOT, fold, folds, seed)
        assert sorted(train + validation, key=position.__getitem__) == files
        for side in (train, validation):
            assert list(side) == sorted(side, key=position.__getitem__)
        for file in validation:
            found[file].append(fold)
    return found


def fold_at_home(file: Sample, folds: int, seed: int) -> int:
    """Return the fold of a file's own hash: seen where its class has others in every fold."""
    crowd = samples(file.label, range(20_000, 20_400))
    (fold,) = places([file, *crowd], folds, seed)[file]
    return fold


@given(numbers=NUMBERS, folds=FOLDS, seed=SEEDS)
def test_a_file_validates_in_its_own_fold_or_trains_for_its_class(
    numbers: set[int], folds: int, seed: int
) -> None:
    files = samples("cat", numbers)
    found = places(files, folds, seed)
    homeless = [file for file, where in found.items() if not where]
    assert all(len(where) <= 1 for where in found.values())
    # only where all files of the class are in one fold does one of them train in it
    assert len(homeless) <= 1
    if homeless:
        assert len({where[0] for where in found.values() if where}) <= 1
    for fold in range(1, folds + 1):
        if files:
            assert fold_samples(files, ROOT, fold, folds, seed)[0]


@given(old=NUMBERS, new=NUMBERS, folds=FOLDS, seed=SEEDS, groups=st.integers(0, 5))
def test_new_files_move_no_old_one(
    old: set[int], new: set[int], folds: int, seed: int, groups: int
) -> None:
    files = samples("cat", old, groups)
    before = places(files, folds, seed)
    after = places(samples("cat", old | new, groups), folds, seed)
    moved = [file for file in files if before[file] != after[file]]
    # the one that trained for want of others may go home, and nothing else moves
    assert len({file.group or file for file in moved}) <= 1
    assert all(not before[file] for file in moved)


@given(numbers=st.sets(st.integers(0, 10_000), min_size=1, max_size=4), folds=FOLDS, seed=SEEDS)
def test_a_fold_is_the_hash_alone(numbers: set[int], folds: int, seed: int) -> None:
    files = samples("cat", numbers)
    for file, where in places(files, folds, seed).items():
        assert not where or where == [fold_at_home(file, folds, seed)]


@given(
    owners=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=40),
    folds=FOLDS,
    seed=SEEDS,
)
def test_groups_never_straddle(owners: list[tuple[int, int]], folds: int, seed: int) -> None:
    files = [
        Sample(ROOT / f"c{label}/{i}.png", f"c{label}", group=f"g{group}" if group else "")
        for i, (label, group) in enumerate(owners)
    ]
    for fold in range(1, folds + 1):
        train, validation = fold_samples(files, ROOT, fold, folds, seed)
        assert not {s.group for s in train if s.group} & {s.group for s in validation if s.group}
        if files:
            assert {s.label for s in train} == {s.label for s in files}


@given(numbers=NUMBERS, folds=FOLDS, seed=SEEDS, shuffled=st.randoms(use_true_random=False))
def test_order_does_not_matter(numbers: set[int], folds: int, seed: int, shuffled: object) -> None:
    files = samples("cat", numbers)
    before = places(files, folds, seed)
    shuffled.shuffle(files)  # type: ignore[attr-defined]
    assert places(files, folds, seed) == before


def test_a_group_moves_with_its_name_not_with_its_class() -> None:
    files = samples("cat", range(200), 20)
    before = places(files, 5, 0)
    renamed = [
        replace(file, path=ROOT / "dog" / file.path.name, label="dog") if i % 2 else file
        for i, file in enumerate(files)
    ]
    after = places(renamed, 5, 0)
    assert [before[file] for file in files] == [after[file] for file in renamed]


def test_folds_are_alike_in_size_and_differ_from_splits_and_by_seed() -> None:
    files = samples("cat", range(2000))
    sizes = Counter(where[0] for where in places(files, 5, 0).values())
    assert all(330 < sizes[fold] < 470 for fold in range(1, 6))
    first = set(fold_samples(files, ROOT, 1, 5, 0)[1])
    assert 0.1 < len(first & set(split_samples(files, ROOT, 0.2, 0)[1])) / len(first) < 0.3
    assert 0.1 < len(first & set(fold_samples(files, ROOT, 1, 5, 1)[1])) / len(first) < 0.3


def test_the_range_is_cut_into_equal_parts() -> None:
    hashes = np.array([0, 2**62, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    assert fold_of(hashes, 2).tolist() == [1, 1, 1, 2, 2]
    assert fold_of(hashes, 1000).tolist() == [1, 251, 500, 501, 1000]


@pytest.mark.parametrize(("fold", "folds"), [(0, 5), (6, 5), (1, 1), (1, 1001)])
def test_folds_that_are_none(fold: int, folds: int) -> None:
    with pytest.raises(UsageError, match="fold"):
        fold_samples(samples("cat", range(9)), ROOT, fold, folds, 0)
