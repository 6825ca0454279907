"""Bring manifests and profiles of the schema before to the present one: one function a step, on the parsed JSON.

What a step does not expect it leaves as it is, for the validation that follows to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["MANIFEST_STEPS", "PROFILE_STEPS", "Step"]

Step = Callable[[dict[str, Any]], dict[str, Any]]
"""Return a document of one version in the form of the next."""


def _manifest_7_to_8(document: dict[str, Any]) -> dict[str, Any]:
    """Tag the input by its kind and the quantization by its scheme; name the graphs' tensors."""
    migrated = _renamed(document, {"inputs": "graph_inputs", "outputs": "graph_outputs"}) | {"schema_version": 8}
    if "input" not in migrated:
        text = {key: migrated.pop(key) for key in ("texts", "tokenizer") if key in migrated}
        migrated["input"] = {"kind": "text", **text}
    subnets, in_blocks = migrated.get("subnets"), migrated.get("generation") is not None
    if isinstance(subnets, list):
        migrated["subnets"] = [_tagged(entry, in_blocks) for entry in subnets]
    return migrated


def _renamed(document: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key) if names.get(key) not in document else key: value for key, value in document.items()}


def _tagged(entry: object, in_blocks: bool) -> object:
    if not isinstance(entry, dict) or "precision" not in entry or "quantization" in entry:
        return entry
    rest = {key: value for key, value in entry.items() if key != "precision"}
    return rest | {"quantization": _quantization(entry["precision"], in_blocks)}


def _quantization(precision: object, in_blocks: bool) -> dict[str, Any]:
    """Return the scheme that a precision stood for: decoders had weights in blocks of 32 inputs, encoders had not."""
    if precision == "fp32":
        return {"scheme": "none"}
    if precision == "int8" and not in_blocks:
        return {"scheme": "int8-dynamic", "zero_point": 128}
    if precision in ("int8", "int4"):
        return {"scheme": "blocks", "bits": 8 if precision == "int8" else 4, "block_size": 32}
    return {"scheme": precision}


def _profile_6_to_7(document: dict[str, Any]) -> dict[str, Any]:
    """Leave the precision to the manifest."""
    migrated = document | {"schema_version": 7}
    subnets = migrated.get("subnets")
    if isinstance(subnets, list):
        migrated["subnets"] = [
            {key: value for key, value in entry.items() if key != "precision"} if isinstance(entry, dict) else entry
            for entry in subnets
        ]
    return migrated


MANIFEST_STEPS: Final[dict[int, Step]] = {7: _manifest_7_to_8}
PROFILE_STEPS: Final[dict[int, Step]] = {6: _profile_6_to_7}
