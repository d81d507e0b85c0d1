"""The types of settings: what a value from a file may be, and how to say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

# By type: what it is called, and whether a value is of it. Numbers have checks of their own, which
# also know the bounds.
_CHECKED: dict[type, tuple[str, Callable[[Any], bool]]] = {
    bool: ("true or false", lambda value: isinstance(value, bool)),
    str: ("text", lambda value: isinstance(value, str)),
    Path: ("a path", lambda value: isinstance(value, str | Path) and "\0" not in str(value)),
    tuple: (
        "a list of text",
        lambda value: isinstance(value, tuple) and all(isinstance(item, str) for item in value),
    ),
}


def wrong_type(settings: Any) -> tuple[str, object, str] | None:
    """Return (name, value, what it must be) of the first setting of a wrong type, if any.

    `settings` is a dataclass; its booleans, texts, paths and lists are looked at.
    """
    for name, (kind, optional) in _kinds(type(settings)).items():
        value = getattr(settings, name)
        meaning, fits = _CHECKED[kind]
        if not (fits(value) or (optional and value is None)):
            return name, value, meaning
    return None


def _kinds(settings: type[Any]) -> dict[str, tuple[type, bool]]:
    """Return the type of every checked setting, and whether it may be left out (None)."""
    hints = get_type_hints(settings)
    kinds = {}
    for field in fields(settings):
        hint = hints[field.name]
        parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        first = get_origin(parts[0]) or parts[0]
        if first in _CHECKED:
            kinds[field.name] = (first, type(None) in parts)
    return kinds
