"""The JSON document of a run, on disk after every result: what is cut off keeps what it had."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """A document whose lists grow; written to `path` each time, or only kept."""

    def __init__(self, path: Path | None, facts: dict[str, Any]) -> None:
        self.document = dict(facts)
        self._path = path
        self._write()

    def set(self, key: str, value: Any) -> None:
        self.document[key] = value
        self._write()

    def add(self, section: str, entry: dict[str, Any]) -> None:
        self.document.setdefault(section, []).append(entry)
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        # renamed when it is whole, so that the file is never half a document
        draft = self._path.with_name(f"{self._path.name}.part")
        draft.write_text(json.dumps(self.document, indent=1) + "\n", "utf-8")
        os.replace(draft, self._path)
