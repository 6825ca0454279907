"""Write the JSON Schemas of a palette's files: ``python -m edgedistill.palette.json_schemas docs/schemas``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edgedistill.files import write_json
from edgedistill.palette.device_profile import DeviceProfile
from edgedistill.palette.schema import Manifest

__all__ = ["json_schemas"]

_DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each kind of file by the name that it is published under."""
    models: dict[str, type[BaseModel]] = {"manifest.json": Manifest, "profile.json": DeviceProfile}
    return {name: _DIALECT | model.model_json_schema() for name, model in models.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in json_schemas().items():
        write_json(folder / name, schema)
