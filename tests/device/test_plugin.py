"""A device from a separate package: installed, found, listed, and trained on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "docs" / "examples" / "strict_device"

# Trains a small network with everything that a training has; prints the weights as lists.
TRAIN = """
import json, sys
import numpy as np
from cpcnn.devices import get_device
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Dropout, GlobalAveragePooling2D
from cpcnn.layers import Input, MaxPooling2D, Residual, Stack
from cpcnn.models import Sequential

pixels = np.arange(18 * 8 * 8 * 3).reshape(18, 8, 8, 3) * 2654435761 % 251
labels = np.arange(18) % 3
body = Stack([Conv2D(4, 3, padding="same"), BatchNormalization(momentum=0.9)])
model = Sequential(
    [
        Input((8, 8, 3)),
        Conv2D(4, 3, padding="same", activation="relu"),
        MaxPooling2D(),
        Residual(body, activation="relu"),
        GlobalAveragePooling2D(),
        Dropout(0.2),
        Dense(3, activation="softmax"),
    ]
)
device = get_device(sys.argv[1])
model.to(device)
model.compile("adam", "categorical_crossentropy", metrics=["accuracy", "recall"])
model.fit(pixels / 251, labels, epochs=2, batch_size=6, validation_data=(pixels / 251, labels),
          verbose=0)
weights = model.store.get_weights()
print(json.dumps([type(device).__module__, {path: w.tolist() for path, w in weights.items()}]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package, installed as pip installs it."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__*"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", folder / "target"]
    subprocess.run([*pip, *options, source], check=True, cwd=folder)
    return folder / "target"


def run(installed: Path | None, *arguments: str) -> str:
    """Run Python in a process of its own, where the package is installed or not."""
    paths = [str(installed)] if installed else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_device_trains_a_network(installed: Path) -> None:
    found: dict[str, Any] = {}
    modules = {}
    for name in ("strict", "numpy"):
        modules[name], found[name] = json.loads(run(installed, "-c", TRAIN, name))
    assert modules == {"strict": "strict_device", "numpy": "cpcnn.devices.numpy"}
    assert found["strict"].keys() == found["numpy"].keys()
    assert np.any(found["numpy"]["dense.bias"])  # which starts at zero
    for path, values in found["numpy"].items():
        np.testing.assert_allclose(found["strict"][path], values, rtol=1e-4, atol=1e-5)


def devices(installed: Path | None) -> dict[str, Any]:
    command = "from cpcnn_cli.main import main; main(['devices', '--json'])"
    listed = json.loads(run(installed, "-c", command))["devices"]
    return {device["name"]: device for device in listed}


def test_an_installed_device_is_listed(installed: Path) -> None:
    assert devices(installed)["strict"]["usable"]
    assert "strict" not in devices(None)


def test_the_example_is_as_short_as_it_says() -> None:
    source = (PACKAGE / "strict_device.py").read_text("utf-8").splitlines()
    assert len([line for line in source if line.strip()]) <= 30
