from __future__ import annotations

from edgedistill.runtime.control.observer import Observations
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.testing import FakeSessions

SUBNET = LoadedSubnet("small", FakeSessions()("small"))


def test_a_prompt_is_not_lost_among_its_tokens() -> None:
    seen = Observations(None, lambda: None)
    seen.add(0.0, SUBNET, Size(1, 30), 5.0)
    for place in range(1000):
        seen.add(1.0 + place, SUBNET, Size(1, 1), 1.0)
    seen.add(500.5, SUBNET, Size(2, 7), 3.0)
    found = seen.take()
    assert [one.size for one in found if one.size.work > 1] == [Size(1, 30), Size(2, 7)]
    assert [one.at_s for one in found] == sorted(one.at_s for one in found)
    assert found[-1].at_s == 1000.0, "the last ones are kept"
    assert len(found) < 100
    assert seen.take() == []
