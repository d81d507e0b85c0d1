"""The cpu device where Numba cannot be used: one line says so, and everything works."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

TRAINING = """
import json
import sys
from typing import Any

if sys.argv[1] == "missing":
    sys.modules["numba"] = None
elif sys.argv[1] == "refusing":
    class Refusing:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "numba":
                raise ImportError("Numba needs NumPy 2.0 or less.")
    sys.meta_path.insert(0, Refusing())

import numpy as np
from cpcnn.devices import available_devices, get_device
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Flatten, Input, MaxPooling2D
from cpcnn.models import Sequential

model = Sequential([
    Input((8, 8, 3)), Conv2D(4, 3, padding="same", activation="relu"), BatchNormalization(),
    MaxPooling2D(), Flatten(), Dense(2, activation="softmax"),
])
model.to("cpu")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
y = np.arange(32) % 2
x = (np.ones((32, 8, 8, 3)) * y[:, None, None, None]).astype("float32")
history = model.fit(x, y, epochs=8, batch_size=8, verbose=0)
assert get_device("cpu", threads=2).threads == 2
status = {device.name: device for device in available_devices()}["cpu"]
print(json.dumps([history.history["loss"], status.usable, status.description]))
"""


@pytest.mark.parametrize(
    ("how", "environment", "reason", "advice"),
    [
        ("missing", {}, "Numba is missing", " Try: pip install numba"),
        (
            "refusing",
            {},
            "Numba cannot be imported (Numba needs NumPy 2.0 or less.)",
            " Try: pip install --upgrade numba",
        ),
        ("disabled", {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set", ""),
    ],
)
def test_training_on_the_definitions(
    how: str, environment: dict[str, str], reason: str, advice: str
) -> None:
    if how == "disabled":
        pytest.importorskip("numba")
    result = subprocess.run(
        [sys.executable, "-c", TRAINING, how],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == (
        f"{reason}, so the cpu device computes by the definitions of its ops: slowly.{advice}\n"
    )
    losses, usable, description = json.loads(result.stdout)
    assert losses[-1] < 0.5 * losses[0]
    assert usable
    assert description.endswith(", without Numba")
