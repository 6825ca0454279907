"""Stop strings, against the plain definition on the whole text, however it is cut into pieces."""

from __future__ import annotations

import random

import pytest

from edgedistill.errors import InputError
from edgedistill.runtime.generation.stop_strings import StopStrings


def plain(text: str, stops: list[str]) -> tuple[str, bool]:
    """Letter by letter: as soon as the text ends with stop strings, it is cut before the longest of them."""
    for end in range(1, len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            return text[: end - max(map(len, met))], True
    return text, False


def fed(text: str, stops: list[str], cuts: list[int]) -> tuple[str, bool, list[str]]:
    """What is shown of the text that comes in these pieces, and whether it was stopped."""
    strings = StopStrings(stops)
    shown = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        piece, is_stopped = strings.add(text[start:end])
        shown.append(piece)
        if is_stopped:
            return "".join(shown), True, shown
    return "".join(shown) + strings.rest(), False, shown


@pytest.mark.parametrize("seed", range(8))
def test_it_does_what_the_definition_says_however_the_text_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        text = "".join(rng.choices("ab\n", k=rng.randint(0, 14)))
        stops = ["".join(rng.choices("ab\n", k=rng.randint(1, 4))) for _ in range(rng.randint(0, 3))]
        cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randint(0, 6)))
        shown, is_stopped, _ = fed(text, stops, cuts)
        assert (shown, is_stopped) == plain(text, stops), (text, stops, cuts)


def test_what_may_be_the_beginning_of_one_is_held_back_and_nothing_else() -> None:
    _, _, shown = fed("one\nUs no\nUser: two", ["\nUser:"], [4, 6, 9, 12, 15])
    assert shown == ["one", "", "\nUs no", "", ""]
    assert fed("one\nUs", ["\nUser:"], [3])[:2] == ("one\nUs", False)


def test_without_stop_strings_all_is_shown_at_once() -> None:
    assert fed("abc", [], [1, 2])[2] == ["a", "b", "c"]


@pytest.mark.parametrize(("stops", "says"), [("END", "a list"), (["a", ""], "not empty"), ([3], "not empty")])
def test_what_is_no_list_of_texts_is_refused(stops: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        StopStrings(stops)
