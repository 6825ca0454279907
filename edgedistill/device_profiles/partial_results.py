"""Keep the results of an interrupted profile until it is complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgedistill.files import write_json

__all__ = ["PartialResults"]

_Result = TypeVar("_Result", bound=BaseModel)


class PartialResults:
    """Store results by name in a file, or only in memory without one; results of another ``key`` are ignored."""

    def __init__(self, file: Path | None, key: str) -> None:
        self._file, self._key = file, key
        self._results: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        if self._file is None or not self._file.is_file():
            return {}
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            return dict(document["pieces"]) if document["key"] == self._key else {}
        except (ValueError, KeyError, TypeError):
            return {}  # damaged: measured again

    def get(self, name: str, model: type[_Result]) -> _Result | None:
        """Return the result of that name; None if it is missing or damaged."""
        try:
            return model.model_validate_json(json.dumps(self._results[name])) if name in self._results else None
        except ValidationError:
            return None

    def put(self, name: str, result: BaseModel) -> None:
        """Store a result."""
        self._results[name] = result.model_dump(mode="json")
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, {"key": self._key, "pieces": self._results})
