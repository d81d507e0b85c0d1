"""Weights of classes: balanced as in scikit-learn, or by name from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from cpcnn.core.errors import UsageError
from cpcnn.jobs.class_weights import class_weights


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8))
def test_balanced_weights_are_those_of_scikit_learn(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    names = [str(number) for number in range(len(counts))]
    np.testing.assert_allclose(class_weights("balanced", names, counts), expected)


def test_a_class_without_images_does_not_count() -> None:
    weights = class_weights("balanced", ["a", "b", "c"], [3, 0, 1])
    np.testing.assert_allclose(weights, [4 / 6, 1, 2])


def test_no_choice_is_no_weights() -> None:
    assert class_weights(None, ["a", "b"], [1, 2]) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.csv", 'class,weight\nvan,0.5\n"a, ""b""",2\n'),
        ("w.csv", '\ufeffClass, Weight\r\n"a, ""b""",2e0\r\nvan,.5\r\n\r\n'),
        ("w.toml", "van = 0.5\n'a, \"b\"' = 2\n"),
    ],
)
def test_a_file_names_classes_in_any_order(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    np.testing.assert_array_equal(class_weights(str(path), ['a, "b"', "van"], [1, 1]), [2, 0.5])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.csv", "class,weight\ncat,1\n", "has no weight for 'dog'"),
        ("w.csv", "class,weight\ncat,1\ndog,1\ncats,1\n", "'cats', which is no class"),
        ("w.csv", "class,weight\ncat,1\ndog,1\ncats,1\n", "Did you mean 'cat'"),
        ("w.csv", "class,weight\ncat,1\ncat,1\n", "two weights for 'cat'"),
        ("w.csv", "class,weight\ncat,heavy\ndog,1\n", "weight of 'cat' is 'heavy'"),
        ("w.csv", "class,weight\ncat,-1\ndog,1\n", "weight of 'cat' is '-1'"),
        ("w.csv", "class,weight\ncat,nan\ndog,1\n", "weight of 'cat' is 'nan'"),
        ("w.csv", "class,weight\ncat,0\ndog,0\n", "no weight above 0"),
        ("w.csv", "class,weight\ncat,1,2\n", "row 2 has 3 cells"),
        ("w.csv", "cat,1\ndog,1\n", "does not start with the columns class,weight"),
        ("w.csv", "", "does not start with the columns class,weight"),
        ("w.toml", "cat = true\ndog = 1\n", "weight of 'cat' is True"),
        ("w.toml", "cat = [1]\ndog = 1\n", "weight of 'cat' is [1]"),
        ("w.toml", f"cat = {'9' * 400}\ndog = 1\n", "must be a number of at least 0"),
        ("w.toml", f"cat = {'9' * 5000}\ndog = 1\n", "is not TOML"),
        ("w.toml", "cat 1\n", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        class_weights(str(path), ["cat", "dog"], [1, 1])
    assert said in str(caught.value)
    assert name in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"balance: No such file.*'balanced' or a file"):
        class_weights(str(tmp_path / "balance"), ["cat", "dog"], [1, 1])
