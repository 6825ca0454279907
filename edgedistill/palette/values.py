"""Types of values in a palette's JSON files, each with its bounds."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "MAX_INT64",
    "Count",
    "FileName",
    "Finite",
    "FinitePercentiles",
    "Int64",
    "Items",
    "Positive",
    "Precision",
    "Sha256",
    "Share",
    "SharePercentiles",
    "StrictModel",
    "SubnetName",
    "plain_file_name",
]

_FILE_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"
MAX_INT64 = 2**63 - 1  # numpy and tokenizers take no larger numbers


def plain_file_name(name: str) -> str:
    """Return ``name``, which a file of a palette may have.

    Raises:
        ValueError: it may not.
    """
    if not re.fullmatch(_FILE_NAME, name):
        raise ValueError("expected a plain file name: up to 200 letters, digits, '.', '_', '-', no folder")
    return name


def _ascending(values: list[float]) -> list[float]:
    if values != sorted(values):
        raise ValueError("do not ascend")
    return values


FileName = Annotated[str, AfterValidator(plain_file_name), Field(json_schema_extra={"pattern": f"^{_FILE_NAME}$"})]
SubnetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "int8", "int4"]
Int64 = Annotated[int, Field(ge=-MAX_INT64, le=MAX_INT64)]
Count = Annotated[int, Field(ge=0, le=MAX_INT64)]
Positive = Annotated[int, Field(ge=1, le=MAX_INT64)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
_Item = TypeVar("_Item")
Items = Annotated[list[_Item], Field(fail_fast=True)]  # a hostile list must not become a million errors
FinitePercentiles = Annotated[Items[Finite], Field(min_length=101, max_length=101), AfterValidator(_ascending)]
SharePercentiles = Annotated[Items[Share], Field(min_length=101, max_length=101), AfterValidator(_ascending)]


class StrictModel(BaseModel):
    """A JSON object without unknown keys, of exactly the types that it declares."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
