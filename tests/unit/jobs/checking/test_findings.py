"""Findings: copies of images, the balance of classes, and what is to be done about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.data.layouts.image_folder import Sample
from cpcnn.jobs.checking import near_copies
from cpcnn.jobs.checking.catalogue import Catalogue
from cpcnn.jobs.checking.class_balance import balance_findings, imbalance
from cpcnn.jobs.checking.copies import exact_findings, find_copies, near_findings
from cpcnn.jobs.checking.data_remarks import data_remarks
from cpcnn.jobs.checking.findings import KINDS, LEVELS, Finding, FoundImage, in_order
from cpcnn.jobs.run_directory import SplitRow

Place = tuple[str, str]
PLACES = st.tuples(st.sampled_from(["train", "validation", "test"]), st.sampled_from("abc"))


def images_at(places: Sequence[Place]) -> list[FoundImage]:
    return [FoundImage(Path(str(i)), *place) for i, place in enumerate(places)]


def kinds_of(findings: Sequence[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


# ---- Copies ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["", "1", "2", "3", "4"]), PLACES), max_size=20))
def test_copies_are_what_any_two_images_say(images: list[tuple[str, Place]]) -> None:
    digests, places = [digest for digest, _ in images], [place for _, place in images]
    found = find_copies(digests, places)
    together = {p: copies for copies in found for p in copies.positions}
    assert sum(len(copies.positions) for copies in found) == len(together)
    for one in range(len(images)):
        for two in range(one):
            same = bool(digests[one]) and digests[one] == digests[two]
            joined = one in together and together[one] is together.get(two)
            assert joined == same
            if same:
                assert together[one].leak >= (places[one][0] != places[two][0])
                assert together[one].conflict >= (places[one][1] != places[two][1])
    for copies in found:
        splits, labels = zip(*(places[p] for p in copies.positions), strict=True)
        assert copies.leak == (len(set(splits)) > 1)
        assert copies.conflict == (len(set(labels)) > 1)


@pytest.mark.parametrize(
    ("places", "kinds", "level"),
    [
        ([("train", "a"), ("train", "a")], ["duplicate"], "warning"),
        ([("train", "a"), ("test", "a")], ["leak"], "error"),
        ([("validation", "a"), ("test", "a")], ["leak"], "warning"),
        ([("train", "a"), ("train", "b")], ["label-conflict"], "error"),
        ([("train", "a"), ("train", "")], ["duplicate"], "warning"),
        ([("test", "a"), ("train", "b")], ["label-conflict", "leak"], "error"),
    ],
)
def test_what_copies_mean(places: list[Place], kinds: list[str], level: str) -> None:
    images = images_at(places)
    findings = list(exact_findings(find_copies(["x"] * len(places), places), images))
    assert kinds_of(findings) == kinds
    assert {finding.level for finding in findings} == {level}


def test_what_looks_alike_is_never_an_error() -> None:
    places = [("train", "a"), ("test", "b")]
    findings = list(near_findings(find_copies(["x", "x"], places), images_at(places)))
    assert kinds_of(findings) == ["near-conflict", "near-leak"]
    assert {finding.level for finding in findings} == {"warning"}


def test_one_of_each_place_comes_first() -> None:
    places = [("train", "a"), ("train", "a"), ("test", "a"), ("train", "b")]
    (finding, _) = exact_findings(find_copies(["x"] * 4, places), images_at(places))
    assert [str(image.path) for image in finding.images] == ["0", "2", "3", "1"]


def test_of_a_leak_what_is_measured_on_stays() -> None:
    places = [("train", "a"), ("train", "a"), ("validation", "a"), ("test", "a"), ("test", "a")]
    (finding,) = exact_findings(find_copies(["x"] * 5, places), images_at(places))
    advice = {str(i.path): finding.advice_for(p) for p, i in enumerate(finding.images)}
    assert [name for name, what in advice.items() if what == "Keep it."] == ["3"]


# ---- Images that look alike --------------------------------------------------------------------


@given(
    st.lists(PLACES, min_size=2, max_size=12).flatmap(
        lambda places: st.tuples(
            st.just(places),
            st.sets(
                st.tuples(*[st.integers(0, len(places) - 1)] * 2).filter(lambda p: p[0] < p[1])
            ),
        )
    )
)
def test_no_pair_of_different_places_is_lost_between_groups(
    case: tuple[list[Place], set[tuple[int, int]]],
) -> None:
    places, pairs = case
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    groups = [set(group.tolist()) for group in near_copies._groups(found, places)]
    for one, two in pairs:
        if places[one] != places[two]:
            assert any({one, two} <= group for group in groups)
        assert any(one in group for group in groups)
    for group in groups:
        assert all(any(one in pair and set(pair) <= group for pair in pairs) for one in group)


# ---- Balance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "ratio", "kinds"),
    [
        ({"a": 100, "b": 50}, 2.0, []),
        ({"a": 100, "b": 10}, 10.0, ["imbalance"]),
        ({"a": 100, "b": 9}, 100 / 9, ["imbalance", "few-images"]),
        ({"a": 9, "b": 9}, 1.0, ["few-images", "few-images"]),
        ({"a": 100, "b": 0}, None, ["empty-class"]),
        ({"a": 0, "b": 0}, None, ["empty-class", "empty-class"]),
        ({}, None, []),
    ],
)
def test_balance(counts: dict[str, int], ratio: float | None, kinds: list[str]) -> None:
    assert imbalance(counts) == ratio
    assert kinds_of(list(balance_findings(counts, allow_empty=False))) == kinds
    allowed = [kind for kind in kinds if kind != "empty-class"]
    assert kinds_of(list(balance_findings(counts, allow_empty=True))) == allowed


# ---- Findings ----------------------------------------------------------------------------------


def test_the_serious_ones_come_first() -> None:
    findings = [Finding(kind, "") for kind in reversed(KINDS)]
    ordered = in_order([*findings, Finding("zero-byte", "", level="error")])
    levels = [LEVELS.index(finding.level) for finding in ordered]
    assert levels == sorted(levels)
    assert ordered[len([kind for kind in KINDS.values() if kind.level == "error"])].kind == (
        "zero-byte"
    )


def test_a_catalogue_is_the_images_of_all_splits() -> None:
    splits = {
        "train": (Sample(Path("t/a"), "x"), Sample(Path("t/b"), "y")),
        "test": (Sample(Path("e/c"), "x"),),
    }
    images = Catalogue(splits)
    expected = [
        FoundImage(Path("t/a"), "train", "x"),
        FoundImage(Path("t/b"), "train", "y"),
        FoundImage(Path("e/c"), "test", "x"),
    ]
    assert list(images) == expected
    assert images[1:] == expected[1:]
    assert images.places == [("train", "x"), ("train", "y"), ("test", "x")]
    assert list(images.paths()) == [image.path for image in expected]
    assert images.paths([2, 0])[0:2] == [Path("e/c"), Path("t/a")]


# ---- What a training says ------------------------------------------------------------------------


def test_three_remarks_at_most_and_none_where_all_is_well() -> None:
    def row(path: str, label: str, split: str, digest: str) -> SplitRow:
        return SplitRow(path, label, split, "", digest)

    sound = [row(f"{label}{i}", label, "train", f"{label}{i}") for i in range(20) for label in "ab"]
    assert data_remarks(sound) == []
    odd = [
        row("copy", "a", "train", "a0"),
        row("other", "b", "train", "a1"),
        row("twice", "a", "train", "a2"),
        row("seen", "a", "test", "a2"),
        row("rare", "c", "train", "c"),
        row("unread", "c", "test", ""),
        row("unread too", "c", "test", ""),
    ]
    assert data_remarks(sound + odd) == [
        "1 image has several labels, in identical files: a1 = other. `cpcnn check` lists them.",
        "1 image is trained on, and validated or tested on too: a2 = seen. "
        "`cpcnn check` lists them.",
        "1 copy of other images: a0 = copy. `cpcnn check` lists them.",
    ]
    assert data_remarks([*sound, odd[4]]) == [
        "1 class has few images to train on (c 1); a has 20 times the images of c "
        "(--class-weights)."
    ]
