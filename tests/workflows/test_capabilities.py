"""Check that the capabilities of an architecture match its exporters."""

from __future__ import annotations

from typing import get_args

import tiny_decoder
import tiny_encoder

from edgedistill.palette import Precision
from edgedistill.workflows.capabilities import capabilities_of


def test_int4_is_for_language_models_which_have_every_precision() -> None:
    assert capabilities_of(tiny_encoder.ARCH).precisions == ("fp32", "int8")
    for arch in tiny_decoder.ARCHITECTURES.values():
        assert capabilities_of(arch).precisions == get_args(Precision)
