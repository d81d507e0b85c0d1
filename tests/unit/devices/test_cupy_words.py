"""Code that runs on any device calls functions of arrays as CuPy has them, and with its parameters.

The tests run on NumPy and on strict arrays, which both take `clip(x, max=1)`. CuPy does not.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import cpcnn

PACKAGE = Path(cpcnn.__file__).parent

TYPES = {"bool", "float32", "float64", "int32", "int64", "uint64", "uint8"}
ELEMENTWISE = dict.fromkeys(
    ["abs", "exp", "expm1", "floor", "isfinite", "log", "log1p", "sqrt", "tanh"], "x, /"
) | dict.fromkeys(["maximum", "minimum"], "x, y, /")
REDUCTIONS = dict.fromkeys(["mean", "sum"], "a, axis=None, dtype=None, out=None, keepdims=False")
# The functions of CuPy 14.2 that are used, and their parameters.
FUNCTIONS = {
    **ELEMENTWISE,
    **REDUCTIONS,
    "all": "a, axis=None, out=None, keepdims=False",
    "arange": "start, stop=None, step=1, dtype=None",
    "argmax": "a, axis=None, dtype=None, out=None, keepdims=False",
    "asarray": "a, dtype=None, order=None, *, copy=None, blocking=False",
    "ascontiguousarray": "a, dtype=None",
    "astype": "x, dtype, /, *, copy=True",
    "broadcast_to": "array, shape",
    "clip": "a, a_min, a_max, out=None",
    "concat": "tup, axis=0, out=None, *, dtype=None, casting='same_kind'",
    "dot": "a, b, out=None",
    "empty": "shape, dtype=float, order='C'",
    "expand_dims": "a, axis",
    "full": "shape, fill_value, dtype=None, order='C'",
    "max": "a, axis=None, out=None, keepdims=False",
    "min": "a, axis=None, out=None, keepdims=False",
    "moveaxis": "a, source, destination",
    "ones": "shape, dtype=float, order='C'",
    "ones_like": "a, dtype=None, order='K', subok=None, shape=None",
    "permute_dims": "a, axes=None",
    "reshape": "a, newshape, order='C', *, copy=None",
    "searchsorted": "a, v, side='left', sorter=None",
    "sort": "a, axis=-1, kind=None",
    "stack": "tup, axis=0, out=None, *, dtype=None, casting='same_kind'",
    "take": "a, indices, axis=None, out=None",
    "where": "condition, x=None, y=None",
    "zeros": "shape, dtype=float, order='C'",
    "zeros_like": "a, dtype=None, order='K', subok=None, shape=None",
}
# CuPy's room is the GPU's; those of the two other devices never see its arrays.
OTHER_DEVICES = (PACKAGE / "devices" / "numpy", PACKAGE / "devices" / "cpu")


def is_namespace(node: ast.expr) -> bool:
    """Whether an expression is `xp`, or ends in `.xp`."""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
    return name == "xp"


def objections(source: str) -> Iterator[str]:
    """Yield `line: why` for every use of a namespace that CuPy would not take."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_namespace(node.value):
            if node.attr not in TYPES | FUNCTIONS.keys():
                yield f"{node.lineno}: {node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if is_namespace(node.func.value) and name in FUNCTIONS and not binds(name, node):
                yield f"{node.lineno}: {ast.unparse(node)}"


def binds(name: str, call: ast.Call) -> bool:
    signature = inspect.signature(eval(f"lambda {FUNCTIONS[name]}: None"))
    try:
        signature.bind(*call.args, **{str(word.arg): word.value for word in call.keywords})
    except TypeError:
        return False
    return True


def test_every_call_is_one_that_cupy_takes() -> None:
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if not any(path.is_relative_to(room) for room in OTHER_DEVICES)
    ]
    found = {
        f"{path.relative_to(PACKAGE)}:{why}"
        for path in files
        for why in objections(path.read_text("utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("xp.clip(x, None, 1.0)", []),
        ("y = ctx.xp.sum(x, axis=(0, 1), keepdims=True)", []),
        ("xp.clip(x, max=1.0)", ["1: xp.clip(x, max=1.0)"]),
        ("ctx.xp.clip(x, 0.0)", ["1: ctx.xp.clip(x, 0.0)"]),
        ("xp.astype(x, dtype=xp.float64)", ["1: xp.astype(x, dtype=xp.float64)"]),
        ("device.xp.unstack(x)", ["1: unstack"]),
    ],
)
def test_other_calls_are_found(source: str, found: list[str]) -> None:
    assert list(objections(source)) == found
