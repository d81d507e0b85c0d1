"""What is installed: light to import, documented, complete, and free of traces of one machine."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("scipy", "numba", "PIL", "jinja2", "rich", "click", "cupy")
SOURCES = [*sorted((ROOT / "cpcnn").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import cpcnn, sys; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_every_public_module_has_a_docstring() -> None:
    public = [path for path in SOURCES if not path.stem.startswith("_") or path.stem == "__init__"]
    bare = [path for path in public if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert [str(path.relative_to(ROOT)) for path in bare] == []


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "cpcnn._version.__version__"
    }
    writes = [
        path for path in SOURCES if re.search(r"^__version__ = ", path.read_text("utf-8"), re.M)
    ]
    assert [path.name for path in writes] == ["_version.py"]


# A user's home, a build folder or a package index in a project file works on one machine only.
ONE_MACHINE = re.compile(r"/(?:home|root|Users|work|tmp)/\w|index-url|find-links|\bpypi\b", re.I)
PROJECT_FILES = ("pyproject.toml", "setup.py", "Makefile", ".ci/run", ".pre-commit-config.yaml")


def test_no_project_file_depends_on_one_machine() -> None:
    files = [*(ROOT / name for name in PROJECT_FILES), *ROOT.glob("*.md"), *SOURCES]
    files.extend((ROOT / "docs").rglob("*.md"))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if ONE_MACHINE.search(line)
    ]
    assert found == []


def wheel_names_of_the_tree() -> set[str]:
    """Return the names that a wheel must hold: every source, kernel and marker of both packages."""
    names = set()
    for folder, package in (("cpcnn", "cpcnn"), ("cli", "cpcnn_cli")):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".cu", ".cuh", ".html", ".json"} or path.name == "py.typed":
                names.add(f"{package}/{path.relative_to(ROOT / folder).as_posix()}")
    return names


def build_wheel(copy: Path) -> Path:
    """Build the wheel from a copy of the tree, offline, so that the tree itself stays as it is."""
    for name in ("cpcnn", "cli"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    code = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=True
    )
    return copy / run.stdout.split()[-1]


def test_the_wheel_holds_what_the_tree_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert sorted(packed ^ wheel_names_of_the_tree()) == []
