"""Who may import whom: every import of the tree, lazy ones too, against the tables below."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LOWER_ROOMS = (
    "core ops devices layers networks losses optimizers schedules metrics data preprocessing"
)
UPPER_ROOMS = f"{LOWER_ROOMS} training evaluate interop"

# A room is a module or package directly under cpcnn/, or cli/. It may import itself and:
MAY_IMPORT = {
    "_version": "",
    "core": "",
    "ops": "core",
    "devices": "core ops",
    "layers": "core ops",
    "initializers": "core layers",
    "networks": "core ops layers",
    "losses": "core ops",
    "optimizers": "core ops schedules",
    "schedules": "core",
    "metrics": "core",
    "data": "core",
    "preprocessing": "core data",
    "training": LOWER_ROOMS,
    "evaluate": LOWER_ROOMS,
    "interop": LOWER_ROOMS,
    "testing": LOWER_ROOMS,
    "models": UPPER_ROOMS,
    "callbacks": UPPER_ROOMS,
    "jobs": f"{UPPER_ROOMS} models",
    "cli": f"{UPPER_ROOMS} models jobs",
}

# Outside packages, and the rooms that may import them. What is not named here is allowed nowhere.
OUTSIDE = {
    "numpy": set(MAY_IMPORT),
    "PIL": {"data"},
    "pyarrow": {"data"},
    "safetensors": {"training", "interop"},
    "threadpoolctl": {"devices"},
    "cupy": {"devices"},
    "cupyx": {"devices"},
    "numba": {"devices"},
    "llvmlite": {"devices"},
    "ml_dtypes": {"core", "devices"},
    "jinja2": {"jobs"},
    "tomli_w": {"jobs", "cli"},
    "rich": {"cli"},
    "click": {"cli"},
}

# All that other rooms see of the devices; the backends behind it are nobody's business.
DEVICE_FRONT = {"cpcnn.devices", "cpcnn.devices.base", "cpcnn.devices.registry"}


def python_files(root: Path) -> list[Path]:
    return sorted([*(root / "cpcnn").rglob("*.py"), *(root / "cli").rglob("*.py")])


def module_name(path: Path, root: Path) -> str:
    """Return the dotted name of a file; an `__init__.py` is its package, cli/ is cpcnn_cli."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    if parts[0] == "cli":
        parts[0] = "cpcnn_cli"
    return ".".join(parts)


def room_of(module: str) -> str:
    """Return the room of a module of ours; the empty word for the package `cpcnn` itself."""
    package, _, rest = module.partition(".")
    return "cli" if package == "cpcnn_cli" else rest.partition(".")[0]


def imported_names(tree: ast.AST, package: str) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, absolute dotted name, written relatively?)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            base = absolute("." * node.level + (node.module or ""), package)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}", node.level > 0
        elif isinstance(node, ast.Call) and called_name(node.func) in {
            "import_module",
            "__import__",
        }:
            name = name_argument(node)
            yield node.lineno, absolute(name, package), name.startswith(".")


def called_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def name_argument(call: ast.Call) -> str:
    """Return the literal name, `.` for a computed one in the same package, else `?`."""
    values = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    name = values[0] if values else call
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return name.value
    if isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
        prefix = str(name.values[0].value)
        return "." if prefix.startswith(".") and not prefix.startswith("..") else "?"
    return "?"


def absolute(name: str, package: str) -> str:
    """Resolve leading dots against the package that a file lies in."""
    dots = len(name) - len(name.lstrip("."))
    if not dots:
        return name
    parts = package.split(".")
    kept = parts[: len(parts) - (dots - 1)]
    return ".".join([*kept, *filter(None, [name[dots:]])])


def existing_module(name: str, root: Path) -> str:
    """Cut what is no module: `cpcnn.core.errors.DataError` is `cpcnn.core.errors`."""
    parts = name.split(".")
    while len(parts) > 1:
        place = root.joinpath("cli" if parts[0] == "cpcnn_cli" else parts[0], *parts[1:])
        if place.is_dir() or place.with_suffix(".py").is_file():
            break
        parts.pop()
    return ".".join(parts)


def objection(importer: str, name: str, relative: bool, root: Path) -> str:
    """Say why the module `importer` may not import `name`; nothing when it may."""
    room = room_of(importer)
    if name == "?":
        return "" if room in {"", "devices"} else "imports a name that is computed at run time"
    top = name.partition(".")[0]
    if top not in {"cpcnn", "cpcnn_cli"}:
        if top in sys.stdlib_module_names or room in OUTSIDE.get(top, set()):
            return ""
        return f"{room or 'cpcnn'} may not import {top}"
    module = existing_module(name, root)
    target = room_of(module)
    if room == "cli" and target == "cli" and not relative:
        return "inside cli/ imports are relative"
    if room in {"", target} or target == "_version":
        return ""
    if not target:
        return "" if room in {"jobs", "cli"} else f"{room} imports from the facade, name the module"
    if target not in MAY_IMPORT[room].split():
        return f"{room} may not import {target}"
    if target == "devices" and module not in DEVICE_FRONT:
        return f"{room} may not import {module}, the inside of devices"
    return ""


def violations(root: Path) -> list[str]:
    """List every import below `root` that the tables forbid, as `file:line: why`."""
    found = []
    for path in python_files(root):
        importer = module_name(path, root)
        package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
        for line, name, relative in imported_names(ast.parse(path.read_text("utf-8")), package):
            if why := objection(importer, name, relative, root):
                found.append(f"{path.relative_to(root).as_posix()}:{line}: {why}")
    return found


def test_imports_follow_the_architecture() -> None:
    assert violations(ROOT) == []


def test_every_room_is_in_the_table() -> None:
    rooms = {room_of(module_name(path, ROOT)) for path in python_files(ROOT)} - {""}
    assert rooms - set(MAY_IMPORT) == set()


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small tree with a few empty modules to plant imports in."""
    for name in (
        "cpcnn/__init__.py",
        "cpcnn/_version.py",
        "cpcnn/models.py",
        "cpcnn/core/errors.py",
        "cpcnn/data/loader.py",
        "cpcnn/devices/__init__.py",
        "cpcnn/devices/registry.py",
        "cpcnn/devices/cuda/kernel.py",
        "cpcnn/jobs/train.py",
        "cpcnn/layers/__init__.py",
        "cpcnn/layers/dense.py",
        "cpcnn/training/trainer.py",
        "cli/commands/train.py",
        "cli/views.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


LAYER = "cpcnn/layers/dense.py"
TRAINER = "cpcnn/training/trainer.py"
COMMAND = "cli/commands/train.py"


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (LAYER, "import cpcnn.devices"),
        (LAYER, "import os, cpcnn.devices.registry as r"),
        (LAYER, "from cpcnn import devices"),
        (LAYER, "from cpcnn.devices.registry import get_device"),
        (LAYER, "from ..devices import get_device"),
        (LAYER, "from .. import devices"),
        ("cpcnn/layers/__init__.py", "from ..devices import get_device"),
        (LAYER, "def f():\n    from cpcnn.devices import get_device"),
        (LAYER, "class C:\n    def f(self):\n        import cpcnn.devices"),
        (LAYER, "try:\n    import cpcnn.devices\nexcept ImportError: ..."),
        (LAYER, "import importlib\nimportlib.import_module('cpcnn.devices')"),
        (LAYER, "import importlib\nimportlib.import_module(name='cpcnn.devices')"),
        (LAYER, "from importlib import import_module\nimport_module('..devices', __package__)"),
        (LAYER, "from importlib import import_module\nimport_module(f'..{room}', __package__)"),
        (LAYER, "from importlib import import_module\nimport_module('cpcnn.' + room)"),
        (LAYER, "__import__('cpcnn.devices')"),
        (LAYER, "from cpcnn import get_device"),
        (LAYER, "import cupy"),
        (LAYER, "def f():\n    import cupyx.scipy.signal"),
        (LAYER, "from numba import njit"),
        (LAYER, "import torch"),
        ("cpcnn/core/errors.py", "from cpcnn.layers import dense"),
        ("cpcnn/core/errors.py", "import click"),
        (TRAINER, "from cpcnn.models import Model"),
        (TRAINER, "from cpcnn.devices.cuda import kernel"),
        (TRAINER, "from rich.console import Console"),
        (TRAINER, "from PIL import Image"),
        ("cpcnn/data/loader.py", "from cpcnn.devices import get_device"),
        ("cpcnn/devices/registry.py", "from cpcnn.layers.dense import Dense"),
        ("cpcnn/models.py", "from cpcnn.jobs import train"),
        ("cpcnn/jobs/train.py", "from cpcnn_cli.views import table"),
        ("cpcnn/jobs/train.py", "from PIL import Image"),
        ("cpcnn/jobs/train.py", "from cpcnn.devices.cuda.kernel import Kernel"),
        (COMMAND, "from cpcnn_cli.views import table"),
        (COMMAND, "from cli.views import table"),
        (COMMAND, "from PIL import Image"),
        ("cpcnn/__init__.py", "import cupy"),
    ],
)
def test_a_forbidden_import_is_found(house: Path, file: str, source: str) -> None:
    (house / file).write_text(source)
    found = violations(house)
    assert len(found) == 1
    assert found[0].startswith(f"{file}:")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (LAYER, "import json\nimport numpy as np\nfrom cpcnn.core.errors import ShapeError"),
        (LAYER, "from cpcnn._version import __version__\nfrom . import dense"),
        (LAYER, "from importlib import import_module\nimport_module(f'.{name}', __package__)"),
        ("cpcnn/__init__.py", "from importlib import import_module\nimport_module(homes[name])"),
        ("cpcnn/devices/cuda/kernel.py", "import cupy\nfrom cpcnn.devices import registry"),
        (TRAINER, "from cpcnn.devices import get_device\nimport cpcnn.devices.registry"),
        ("cpcnn/data/loader.py", "def f():\n    from PIL import Image"),
        ("cpcnn/models.py", "from cpcnn.training.trainer import Trainer"),
        ("cpcnn/jobs/train.py", "from cpcnn import load_model"),
        (COMMAND, "import click\nfrom ..views import table\nfrom cpcnn.jobs import train"),
    ],
)
def test_an_allowed_import_is_not(house: Path, file: str, source: str) -> None:
    (house / file).write_text(source)
    assert violations(house) == []


def test_a_finding_names_the_line_and_both_rooms(house: Path) -> None:
    (house / "cpcnn/layers/dense.py").write_text("import json\n\nfrom cpcnn import devices\n")
    assert violations(house) == ["cpcnn/layers/dense.py:3: layers may not import devices"]
