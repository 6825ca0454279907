"""The published JSON Schemas are those of the code, and say what the code reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import readme
import tiny_palette

from edgedistill.palette import load
from edgedistill.palette.json_schemas import json_schemas

PUBLISHED = readme.ROOT / "docs" / "schemas"


def test_the_published_schemas_are_the_code_s() -> None:
    published = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in PUBLISHED.glob("*.json")}
    assert published == json_schemas(), "run python -m edgedistill.palette.json_schemas docs/schemas"


def test_what_is_written_has_the_keys_of_the_schemas(tmp_path: Path) -> None:
    palette = load(tiny_palette.write(tmp_path / "palette"))
    written = {"manifest.json": palette.manifest, "profile.json": tiny_palette.profile(palette.manifest)}
    for name, model in written.items():
        schema, document = json_schemas()[name], model.model_dump(mode="json")
        assert list(document) == list(schema["properties"])
        assert document["schema_version"] == schema["properties"]["schema_version"]["const"]


@pytest.mark.parametrize(
    ("union", "tag"),
    [(["manifest.json", "properties", "input"], "kind"), (["manifest.json", "$defs", "SubnetEntry"], "scheme")],
)
def test_tags_are_required(union: list[str], tag: str) -> None:
    schemas: Any = json_schemas()
    definitions = schemas["manifest.json"]["$defs"]
    for key in union:
        schemas = schemas[key]
    tagged = schemas if tag == "kind" else schemas["properties"]["quantization"]
    assert tagged["discriminator"]["propertyName"] == tag
    for reference in tagged["discriminator"]["mapping"].values():
        assert tag in definitions[reference.rpartition("/")[2]]["required"]
