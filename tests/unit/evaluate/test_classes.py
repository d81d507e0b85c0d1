"""Classes are matched by name, whatever their order and number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.evaluate import match_classes
from cpcnn.evaluate.classes import quoted, unknown_classes_error

names = st.lists(st.text(max_size=5), max_size=8, unique=True)


@given(st.permutations(["bus", "car", "tram"]))
def test_any_order_of_the_same_classes(data: list[str]) -> None:
    match = match_classes(["bus", "car", "tram"], data)
    assert [["bus", "car", "tram"][number] for number in match.mapping] == data
    assert match.missing == match.unknown == ()


def test_a_missing_class_does_not_shift_the_others() -> None:
    match = match_classes(["bus", "car", "tram"], ["bus", "tram"])
    assert match.mapping.tolist() == [0, 2]
    assert match.missing == ("car",)
    assert match.unknown == ()


def test_an_unknown_class_has_no_number() -> None:
    match = match_classes(["bus", "car"], ["bike", "bus", "car"])
    assert match.mapping.tolist() == [-1, 0, 1]
    assert match.missing == ()
    assert match.unknown == ("bike",)
    assert match.translate(np.array([2, 0, 1])).tolist() == [1, -1, 0]


@given(names, names)
def test_every_exact_name_is_found(model: list[str], data: list[str]) -> None:
    match = match_classes(model, data)
    for name, number in zip(data, match.mapping.tolist(), strict=True):
        if name in model:
            assert number == model.index(name)
    assert set(match.unknown).isdisjoint(model)
    assert set(match.missing).isdisjoint(data)


def test_numbers_in_names_are_names() -> None:
    match = match_classes(["1", "10", "2"], ["1", "2", "10"])
    assert match.mapping.tolist() == [0, 2, 1]


def test_another_unicode_form_of_a_name_is_the_same_name() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert match_classes([composed, "tea"], [decomposed, "tea"]).mapping.tolist() == [0, 1]
    assert match_classes([decomposed, composed], [composed, decomposed]).mapping.tolist() == [1, 0]


def test_case_matters() -> None:
    assert match_classes(["Cat"], ["cat"]).unknown == ("cat",)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, "'c0'"), (2, "'c0', 'c1'"), (12, "'c8', 'c9' and 2 more")],
)
def test_long_lists_of_names_are_cut(count: int, expected: str) -> None:
    assert quoted(f"c{i}" for i in range(count)).endswith(expected)


def test_hostile_names_cannot_reach_the_terminal() -> None:
    error = unknown_classes_error(["\x1b[2Jgone"], ["cat"])
    assert "\x1b" not in str(error)
    assert error.exit_code == 5
