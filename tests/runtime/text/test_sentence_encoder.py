from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import plain_answers
import pytest
import tiny_palette

from edgedistill.errors import InputError, PaletteError
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession, SentenceEncoder

TEXTS = ["turn on the lamp", "play some music", "lamp " * 40]


def test_vectors_are_those_of_a_plain_session(vectors: Path) -> None:
    with SentenceEncoder(vectors, threads=1) as encoder:
        found = encoder.encode(TEXTS * 15)
    assert (found.vectors.shape, found.vectors.dtype) == ((45, 3), np.float32)
    expected = [plain_answers.outputs(vectors, name, text) for text, name in zip(TEXTS, found.subnets, strict=False)]
    np.testing.assert_allclose(found.vectors, np.tile(expected, (15, 1)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=-1), 1.0, atol=1e-6)
    assert found.truncated == (False, False, True) * 15
    assert {len(found.subnets), len(found.latency_ms)} == {45}


def test_no_texts_no_rows(vectors: Path) -> None:
    with SentenceEncoder(vectors, threads=1) as encoder:
        assert encoder.encode([]).vectors.shape == (0, 3)


@pytest.mark.parametrize(
    ("index", "serves"), [("large", "middle"), ("middle", "middle"), ("small", "small"), (None, "small")]
)
def test_only_those_that_may_query_the_index_answer(vectors: Path, index: str | None, serves: str) -> None:
    """Where nothing meets the budget the smallest serves: the smallest of those."""
    with SentenceEncoder(vectors, index=index, threads=1, max_memory_mb=1e-6) as encoder:
        assert set(encoder.encode(TEXTS).subnets) == {serves}


def test_where_nothing_was_measured_an_index_is_for_its_own_subnet(vectors: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(vectors, tmp_path / "palette"))
    tiny_palette.reseal(folder, mixing=None)
    with SentenceEncoder(load(folder), index="middle", threads=1) as encoder:
        assert set(encoder.encode(TEXTS).subnets) == {"middle"}


def test_an_open_session_of_others_is_refused(vectors: Path) -> None:
    with AdaptiveSession(vectors, threads=1) as session:
        with pytest.raises(InputError, match="may serve small, whose vectors may not query an index of large"):
            SentenceEncoder(session, index="large")
        assert SentenceEncoder(session).encode(["lamp"]).subnets == (session.active,)


def test_an_index_of_no_subnet_is_refused(vectors: Path) -> None:
    with pytest.raises(PaletteError, match="no subnet 'huge' in this palette; it has large"):
        SentenceEncoder(vectors, index="huge")


def test_what_is_no_text_is_refused(vectors: Path) -> None:
    with SentenceEncoder(vectors, threads=1) as encoder:
        with pytest.raises(InputError, match="text 1 is empty"):
            encoder.encode([" "])
        with pytest.raises(InputError, match="text 1 is a tuple"):
            encoder.encode([("a", "b")])  # type: ignore[list-item]


def test_a_classifier_s_palette_is_refused(tiny: Path) -> None:
    with pytest.raises(PaletteError, match="TextClassifier answers it"):
        SentenceEncoder(tiny, index="large")
