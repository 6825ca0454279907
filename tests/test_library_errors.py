"""Errors of libraries become errors of ours, or the system's."""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import datasets
import pytest
import tiny_palette
import transformers
from tokenizers import Tokenizer

from edgedistill.errors import DataError, ModelError
from edgedistill.library_errors import disk_errors, first_line, library_errors, quiet
from edgedistill.printable import get_logger


def _panicking() -> Tokenizer:
    """Return a tokenizer whose post-processor names a token that it does not have."""
    document = json.loads(tiny_palette.tokenizer().to_str())
    document["post_processor"]["special_tokens"] = {}
    return Tokenizer.from_str(json.dumps(document))


def test_a_panic_becomes_an_error_of_ours() -> None:
    tokenizer = _panicking()
    advised = library_errors(ModelError, "it fails", "get another")
    with pytest.raises(ModelError, match=r"^it fails: .+; get another$"), advised:
        tokenizer.encode("turn on")


def test_what_is_ours_and_what_ends_the_program_pass() -> None:
    with pytest.raises(DataError, match=r"^mine$"), library_errors(ModelError, "it fails"):
        raise DataError("mine")
    with pytest.raises(KeyboardInterrupt), library_errors(ModelError, "it fails"):
        raise KeyboardInterrupt


def test_a_message_is_one_line_and_never_empty() -> None:
    assert first_line(ValueError("\n a\nb")) == " a"
    assert first_line(AssertionError()) == "AssertionError"


def test_a_full_disk_is_the_system_s_error_whoever_writes(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught, disk_errors(tmp_path):
        tiny_palette.tokenizer().save(str(tmp_path / "none" / "tokenizer.json"))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path))
    with pytest.raises(ValueError, match=r"^another$"), disk_errors(tmp_path):
        raise ValueError("another")


@pytest.mark.parametrize("library", [transformers, datasets], ids=lambda library: library.__name__)
@pytest.mark.parametrize("shown", [True, False])
def test_a_quiet_library_shows_no_bars_and_logs_nothing_and_is_as_before_afterwards(
    library: ModuleType, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bars, logger = library.utils.logging, get_logger("edgedistill.test")
    (bars.enable_progress_bar if shown else bars.disable_progress_bar)()
    try:
        with suppress(ZeroDivisionError), quiet(library):
            assert not bars.is_progress_bar_enabled()
            logger.critical("not to be seen")
            raise ZeroDivisionError
        assert bars.is_progress_bar_enabled() is shown
        logger.warning("seen again")
        assert caplog.messages == ["seen again"]
    finally:
        bars.enable_progress_bar()
