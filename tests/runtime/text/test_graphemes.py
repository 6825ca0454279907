"""Clusters, held against an independent implementation of Unicode's annex 29."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from odd_characters import KINDS

from edgedistill.runtime.text.graphemes import Clusters


def clusters_of(text: str) -> list[str]:
    clusters, start, found = Clusters(text), 0, []
    while start < len(text):
        assert clusters.whole(start, start + 1)[0] == start
        end = clusters.whole(start, start + 1)[1]
        found.append(text[start:end])
        start = end
    return found


@pytest.mark.parametrize(
    "text",
    [
        "plain text, in ASCII",
        "Jose\u0301 na\u0131\u0308ve Łódź",
        "\u1107\u1161\u11a8\u1112\u1161\u11ab각가",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \u2764\ufe0f\u200d\U0001f525",
        "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1ee",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f!",
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f",
        "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e01\u0e33",
        "\u0645\u0650\u0635\u0652\u0631 \u0600\u0661",
        "x\u200by\u00adz\u202e \ufeff",
        "a\r\nb\n\u0301c",
        "\ue000\ue001\u0301",
    ],
)
def test_they_are_unicode_s(text: str) -> None:
    assert clusters_of(text) == regex.findall(r"\X", text)


@given(st.text(st.sampled_from(KINDS), max_size=12))
def test_none_is_ever_split(text: str) -> None:
    ends = {match.end() for match in regex.finditer(r"\X", text)}
    place = 0
    for cluster in clusters_of(text):
        place += len(cluster)
        assert place in ends


def test_of_a_part_of_a_text_the_rest_is_left_alone() -> None:
    clusters = Clusters("ae\u0301" * 2, 3)
    assert clusters.whole(1, 2) == (1, 3)
    assert clusters.whole(4, 5) == (4, 5)
