"""Scores are measured once for a supernet, and never taken from another's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_supernet

from edgedistill.architecture import Subnet
from edgedistill.subnet_search import cached_scores
from edgedistill.subnet_search.score_cache import QUALITY
from edgedistill.supernet.checkpoint import Supernet


class Scorer:
    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[Subnet] = []
        self._fail_at = fail_at

    def __call__(self, subnet: Subnet) -> dict[str, float]:
        if len(self.asked) == self._fail_at:
            raise KeyboardInterrupt
        self.asked.append(subnet)
        return {"spearman": len(subnet.layers) / 10, "mean_absolute_error": 3.0}  # in this order


@pytest.fixture
def supernet() -> Supernet:
    return tiny_supernet.supernet()


def _score(supernet: Supernet, folder: Path, scorer: Scorer) -> dict[Subnet, dict[str, float]]:
    with cached_scores(supernet, folder, scorer) as score:
        return {subnet: score(subnet) for subnet in supernet.space}


def test_a_second_search_asks_for_nothing(supernet: Supernet, tmp_path: Path) -> None:
    first, second = Scorer(), Scorer()
    found = _score(supernet, tmp_path, first)
    assert first.asked == list(supernet.space) == list(found)
    again = _score(supernet, tmp_path, second)
    assert {subnet: list(metrics.items()) for subnet, metrics in again.items()} == {
        subnet: list(metrics.items()) for subnet, metrics in found.items()
    }
    assert second.asked == []


def test_an_interrupted_search_goes_on(supernet: Supernet, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _score(supernet, tmp_path, Scorer(fail_at=13))
    rest = Scorer()
    _score(supernet, tmp_path, rest)
    assert rest.asked == list(supernet.space)[13:]


def test_other_weights_are_scored_anew(supernet: Supernet, tmp_path: Path) -> None:
    _score(supernet, tmp_path, Scorer())
    supernet.model.classifier.bias.data += 1
    again = Scorer()
    _score(supernet, tmp_path, again)
    assert again.asked == list(supernet.space)


def test_a_file_of_an_earlier_version_is_as_none(supernet: Supernet, tmp_path: Path) -> None:
    _score(supernet, tmp_path, Scorer())
    document = json.loads((tmp_path / QUALITY).read_text())
    document["scores"] = dict.fromkeys(document["scores"], 0.5)
    (tmp_path / QUALITY).write_text(json.dumps(document))
    again = Scorer()
    _score(supernet, tmp_path, again)
    assert again.asked == list(supernet.space)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"supernet": 1}', '{"supernet": "", "scores": 3}'])
def test_a_damaged_file_is_as_none(supernet: Supernet, tmp_path: Path, content: str) -> None:
    (tmp_path / QUALITY).write_text(content)
    scorer = Scorer()
    _score(supernet, tmp_path, scorer)
    assert scorer.asked == list(supernet.space)


def test_where_nothing_can_be_written_the_search_goes_on(supernet: Supernet, tmp_path: Path) -> None:
    scorer = Scorer()
    found = _score(supernet, tmp_path / "no such folder", scorer)
    assert list(found) == scorer.asked == list(supernet.space)
