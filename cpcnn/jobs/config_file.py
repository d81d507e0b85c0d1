"""Settings from a TOML file: one written by hand, or a run's own settings.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from .settings import TrainSettings, did_you_mean, option

SECTION = "train"
ABOUT = "run"  # the table of a run's settings.toml that says when and by whom it was made


@dataclass(frozen=True)
class ConfigFile:
    """The settings that a file gives, by their names."""

    path: Path
    values: dict[str, Any]
    text: str

    @classmethod
    def read(cls, path: Path) -> ConfigFile:
        """Read a TOML file whose settings are in a table [train], or at the top.

        UsageError names the file, the line and what is wrong: no TOML, or a name that is no
        setting, with the nearest one.
        """
        text = _read_text(path)
        try:
            document = tomllib.loads(text)
        except ValueError as error:  # TOMLDecodeError, or a number of too many digits
            raise UsageError(f"{path} is not TOML: {error}.") from None
        config = cls(path, _section(document, path), text)
        known = [field.name for field in fields(TrainSettings)]
        for name, value in config.values.items():
            if isinstance(value, dict) and name not in known:
                raise UsageError(
                    f"{path} has a table [{name}], which is none of settings.",
                    suggestion=f"Put all settings into [{SECTION}], or all at the top.",
                )
            if name not in known:
                near = did_you_mean(name.replace("-", "_"), known)
                raise UsageError(
                    f"{config._place(name)}: there is no setting {name!r}.", suggestion=near
                )
        return config

    def settings(self, given: Mapping[str, Any]) -> TrainSettings:
        """Return the file's settings, those that are `given` on the command line before them.

        UsageError for a value that cannot be meant: one of the file with its line.
        """
        try:
            return TrainSettings(**(self.values | dict(given)))
        except UsageError as error:
            for name in self.values.keys() - given.keys():
                if error.message.startswith(f"{option(name)} is "):
                    found = error.message.removeprefix(f"{option(name)} ")
                    raise UsageError(
                        f"{self._place(name)}: {name} {found}", suggestion=error.suggestion
                    ) from None
            raise

    def _place(self, name: str) -> str:
        """Return the file, and the line where a setting stands."""
        key = re.compile(rf"""\s*(["']?){re.escape(name)}\1\s*=""")
        for number, line in enumerate(self.text.splitlines(), 1):
            if key.match(line):
                return f"{self.path}, line {number}"
        return str(self.path)


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    raise UsageError(
        f"The settings cannot be read from {path}: {reason}.",
        suggestion="--config takes a TOML file, such as the settings.toml of a run.",
    )


def _section(document: dict[str, Any], path: Path) -> dict[str, Any]:
    top = {name: value for name, value in document.items() if name != ABOUT}
    section = top.get(SECTION, top)
    if not isinstance(section, dict):
        raise UsageError(
            f"{path}: {SECTION} is {section!r}; it must be a table.",
            suggestion=f"Write [{SECTION}] on a line of its own, and the settings below it.",
        )
    beside = [name for name in top if name != SECTION]
    if SECTION in top and beside:
        raise UsageError(
            f"{path} has the table [{SECTION}], and {beside[0]!r} beside it.",
            suggestion=f"Put all settings into [{SECTION}], or all at the top.",
        )
    return section
