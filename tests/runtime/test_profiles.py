from __future__ import annotations

from collections.abc import Callable

import pytest

from edgedistill.errors import PaletteError
from edgedistill.palette import Palette
from edgedistill.runtime import profiles
from edgedistill.runtime.profiles import choose_profile

MEASURED_HERE = {"name": "here", "cpu": "other"}
SAME_CPU = {"name": "elsewhere", "cpu": "this"}
OTHER = {"name": "far", "cpu": "other"}
ESTIMATED = {"name": "board", "kind": "estimated"}


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "device_name", lambda: "here")
    monkeypatch.setattr(profiles, "cpu_name", lambda: "this")


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ((ESTIMATED, OTHER, SAME_CPU, MEASURED_HERE), "here"),
        ((ESTIMATED, OTHER, SAME_CPU), "elsewhere"),
        ((ESTIMATED, OTHER), "board"),
        (({**ESTIMATED, "name": "here"}, SAME_CPU), "elsewhere"),  # an estimate is no measurement
        (({**SAME_CPU, "kind": "quick"}, {**SAME_CPU, "name": "next"}), "next"),  # a whole one before a quick one
        (({**MEASURED_HERE, "kind": "quick"}, SAME_CPU), "here"),
        (({**MEASURED_HERE, "emulated": True}, ESTIMATED), "board"),
        (({**MEASURED_HERE, "emulated": True},), None),
        ((OTHER,), None),
        ((), None),
    ],
)
def test_the_nearest_profile(
    profiled: Callable[..., Palette], there: tuple[dict[str, object], ...], chosen: str | None
) -> None:
    profile = choose_profile(profiled(*there))
    assert (profile.device.name if profile else None) == chosen


def test_a_named_profile_is_taken_whatever_it_is_of(profiled: Callable[..., Palette]) -> None:
    for emulated in (False, True):
        profile = choose_profile(profiled({**OTHER, "emulated": emulated}, MEASURED_HERE), "far")
        assert profile is not None
        assert profile.device.name == "far"


def test_an_unknown_name_is_told_with_the_known_ones(profiled: Callable[..., Palette]) -> None:
    with pytest.raises(PaletteError, match="no profile 'pi9' of this palette; it has far, here"):
        choose_profile(profiled(OTHER, MEASURED_HERE), "pi9")


def test_a_profile_that_lacks_a_subnet_does_not_count(profiled: Callable[..., Palette]) -> None:
    palette = profiled(MEASURED_HERE)
    profile = palette.profiles["here"]
    palette.profiles["here"] = profile.model_copy(update={"subnets": profile.subnets[1:]})
    assert choose_profile(palette) is None
    with pytest.raises(PaletteError, match="no figures of large"):
        choose_profile(palette, "here")


def test_of_two_machines_with_this_name_the_one_with_this_processor_counts(profiled: Callable[..., Palette]) -> None:
    palette = profiled(MEASURED_HERE)
    (first,) = palette.profiles.values()
    second = first.model_copy(update={"device": first.device.model_copy(update={"cpu": "this"})})
    palette.profiles["here-2"] = second
    assert choose_profile(palette) == second
