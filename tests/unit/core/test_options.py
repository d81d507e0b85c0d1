"""Checks of numbers: what they refuse, and that they keep numbers of Python."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.core.options import check_number, check_seed, check_whole


@dataclass(frozen=True)
class Owner:
    """Something with options."""

    number: Any = 0.5
    count: Any = 3
    seed: Any = None

    def __post_init__(self) -> None:
        check_number(self, "number", least=0, below=1)
        check_whole(self, "count", least=1)
        check_seed(self)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Owner(np.float64(0.25), np.int64(2), np.uint8(7)), Owner(0.25, 2, 7)),
        (Owner(np.float32(0.25)), Owner(0.25)),
        (Owner(np.int32(0)), Owner(0)),
    ],
)
def test_numbers_of_numpy_become_numbers_of_python(given: Owner, kept: Owner) -> None:
    assert given == kept
    kinds = {type(getattr(given, option.name)) for option in fields(given)}
    assert kinds <= {float, int, type(None)}
    json.dumps(vars(given))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"number": 1}, "number cannot be 1; it must be a finite number at least 0 and below 1"),
        ({"number": -0.1}, "number cannot be -0.1"),
        ({"number": math.nan}, "number cannot be nan"),
        ({"number": "0.5"}, "number cannot be '0.5'"),
        ({"number": True}, "number cannot be True"),
        ({"count": 0}, "count cannot be 0; it must be a whole number of at least 1"),
        ({"count": 2.0}, "count cannot be 2.0"),
        ({"seed": 1.5}, "seed cannot be 1.5; it must be an integer or None"),
    ],
)
def test_what_is_no_such_number_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Owner(**options)
