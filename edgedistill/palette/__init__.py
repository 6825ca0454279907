"""The palette's contract: what an exporter writes and a runtime reads."""

from edgedistill.palette.device_profile import (
    PROFILE_VERSION,
    Conditions,
    DeviceInfo,
    DeviceProfile,
    LatencyPoint,
    SubnetProfile,
)
from edgedistill.palette.entries import Calibration, Layer, Quality, SubnetEntry
from edgedistill.palette.input_kinds import TextInput, TokenizerEntry
from edgedistill.palette.palette_folder import MANIFEST_NAME, PROFILES_FOLDER, Palette
from edgedistill.palette.profile_files import parse_profile, read_profile, write_profile
from edgedistill.palette.schema import (
    SCHEMA_VERSION,
    FileEntry,
    Generation,
    Manifest,
    Mixing,
    OutOfScope,
    Probes,
    Provenance,
    TensorSpec,
)
from edgedistill.palette.store import load, open_palette, read_manifest
from edgedistill.palette.values import Precision, plain_file_name
from edgedistill.palette.weight_schemes import BlockQuantization, DynamicInt8, Quantization, Unquantized

__all__ = [
    "MANIFEST_NAME",
    "PROFILES_FOLDER",
    "PROFILE_VERSION",
    "SCHEMA_VERSION",
    "BlockQuantization",
    "Calibration",
    "Conditions",
    "DeviceInfo",
    "DeviceProfile",
    "DynamicInt8",
    "FileEntry",
    "Generation",
    "LatencyPoint",
    "Layer",
    "Manifest",
    "Mixing",
    "OutOfScope",
    "Palette",
    "Precision",
    "Probes",
    "Provenance",
    "Quality",
    "Quantization",
    "SubnetEntry",
    "SubnetProfile",
    "TensorSpec",
    "TextInput",
    "TokenizerEntry",
    "Unquantized",
    "load",
    "open_palette",
    "parse_profile",
    "plain_file_name",
    "read_manifest",
    "read_profile",
    "write_profile",
]
