"""The errors users meet: text, codes, and the path of a layer."""

from __future__ import annotations

import pytest

from cpcnn.core import errors
from cpcnn.core.errors import CpcnnError, ShapeError


def test_the_text_is_message_and_suggestion() -> None:
    assert str(CpcnnError("It failed.")) == "It failed."
    assert str(CpcnnError("It failed.", suggestion="Retry.")) == "It failed. Retry."


@pytest.mark.parametrize(
    ("name", "code", "exit_code"),
    [
        ("CpcnnError", "internal", 1),
        ("UsageError", "usage", 2),
        ("ShapeError", "shape", 2),
        ("DataError", "data", 3),
        ("DeviceError", "device", 4),
        ("DeviceMemoryError", "device-memory", 4),
        ("CheckpointError", "checkpoint", 5),
        ("DivergedError", "diverged", 6),
    ],
)
def test_codes_for_machines(name: str, code: str, exit_code: int) -> None:
    error = getattr(errors, name)("message")
    assert isinstance(error, CpcnnError)
    assert (error.code, error.exit_code) == (code, exit_code)


def test_a_shape_error_gains_its_path_from_the_inside_out() -> None:
    error = ShapeError("does not fit.", suggestion="Enlarge it.")
    outer = error.within("conv").within("0").within("stage1")
    assert outer.path == "stage1.0.conv"
    assert str(outer) == "layer 'stage1.0.conv': does not fit. Enlarge it."
    assert str(error) == "does not fit. Enlarge it."
