from __future__ import annotations

from pathlib import Path

import plain_answers
import pytest
import tiny_palette

from edgedistill.errors import InputError, PaletteError
from edgedistill.runtime import TextRegressor


def test_numbers_are_those_of_a_plain_session(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette", tiny_palette.NUMBERS)
    texts = ["turn on the lamp", "play some music", "lamp " * 40]
    with TextRegressor(folder, threads=1) as regressor:
        found = regressor.predict(texts)
        assert regressor.predict([]) == []
        with pytest.raises(InputError, match="text 2 is empty"):
            regressor.predict(["lamp", " "])
    for text, prediction in zip(texts, found, strict=True):
        (value,) = plain_answers.outputs(folder, prediction.subnet, text)
        assert prediction.value == pytest.approx(value, abs=1e-6)
        assert prediction.latency_ms > 0
    assert [prediction.truncated for prediction in found] == [False, False, True]


def test_a_classifier_s_palette_is_refused(tiny: Path) -> None:
    with pytest.raises(PaletteError, match="TextClassifier answers it"):
        TextRegressor(tiny)
