from __future__ import annotations

import pytest

from edgedistill.errors import SessionClosed
from edgedistill.runtime.residents import Residents
from edgedistill.runtime.sessions import LoadedSubnet, SessionState
from edgedistill.testing import FakeSession


def loaded(name: str) -> LoadedSubnet:
    return LoadedSubnet(name, FakeSession(name, lambda: None))


@pytest.fixture
def residents() -> Residents:
    found = Residents()
    found.exchange(loaded("large"))
    found.keep_as_fallback(loaded("small"))
    return found


def test_the_safety_net_stays_while_others_come_and_go(residents: Residents) -> None:
    large, small = residents.live, residents.fallback
    assert large is not None
    assert small is not None
    residents.exchange(small)
    assert (residents.names, residents.held) == (frozenset({"small"}), ["small", "large"])
    residents.close_drained()
    assert (large.state, residents.held) == (SessionState.CLOSED, ["small"])
    residents.exchange(loaded("middle"))
    residents.close_drained()
    assert small.state is SessionState.SERVING
    assert residents.names == {"middle", "small"}


def test_one_in_use_drains_first(residents: Residents) -> None:
    lease = residents.lease()
    large = lease.subnet
    residents.exchange(loaded("middle"))
    residents.close_drained()
    assert (large.state, residents.draining) == (SessionState.DRAINING, True)
    lease.release()
    residents.close_drained()
    assert (large.state, residents.draining) == (SessionState.CLOSED, False)


def test_another_than_those_that_failed_is_given(residents: Residents) -> None:
    large, small = residents.live, residents.fallback
    assert large is not None
    assert small is not None
    for failed, other in ((large, small), (small, large)):
        assert residents.other_than(failed) is other
    assert residents.other_than(large, small) is None
    residents.exchange(small)
    assert residents.other_than(small) is None


def test_another_safety_net_drains_the_old_one_unless_it_serves(residents: Residents) -> None:
    small = residents.fallback
    assert small is not None
    residents.keep_as_fallback(None)
    residents.close_drained()
    assert small.state is SessionState.CLOSED
    live = residents.live
    assert live is not None
    residents.keep_as_fallback(live)
    residents.keep_as_fallback(loaded("small"))
    assert live.state is SessionState.SERVING


def test_closed_it_leases_nothing_and_keeps_nothing(residents: Residents) -> None:
    subnets = [residents.live, residents.fallback]
    residents.close()
    assert [subnet.state for subnet in subnets if subnet is not None] == [SessionState.CLOSED] * 2
    assert all(residents.other_than(subnet) is None for subnet in subnets if subnet is not None)
    with pytest.raises(SessionClosed):
        residents.lease()
