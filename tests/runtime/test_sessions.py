from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import pytest

from edgedistill.runtime.sessions import Lease, LoadedSubnet, SessionState
from edgedistill.testing import FakeSession


def loaded(on_drained: list[str] | None = None) -> LoadedSubnet:
    told = [] if on_drained is None else on_drained
    return LoadedSubnet("s", FakeSession("s", lambda: None), lambda: told.append(threading.current_thread().name))


def test_a_life_with_a_request_under_way() -> None:
    told: list[str] = []
    subnet = loaded(told)
    assert subnet.state is SessionState.SERVING
    first, second = Lease(subnet), Lease(subnet)
    subnet.retire()
    assert subnet.state is SessionState.DRAINING
    assert not Lease(subnet).is_held
    first.release()
    first.release()
    assert subnet.state is SessionState.DRAINING
    assert told == []
    with second as held:
        assert held.session.run(None, {})[0] == ["s"]
    assert subnet.state is SessionState.DRAINED
    assert len(told) == 1
    subnet.close()
    assert subnet.state is SessionState.CLOSED


def test_a_life_without_requests_drains_at_once() -> None:
    told: list[str] = []
    subnet = loaded(told)
    subnet.retire()
    subnet.retire()
    assert subnet.state is SessionState.DRAINED
    assert len(told) == 1


def test_releases_while_serving_close_nothing() -> None:
    subnet = loaded()
    Lease(subnet).release()
    assert subnet.state is SessionState.SERVING
    assert Lease(subnet).is_held


def test_the_last_release_only_tells_and_close_drops_the_session() -> None:
    session = FakeSession("s", lambda: None)
    gone = weakref.ref(session)
    subnet = LoadedSubnet("s", session)
    del session
    lease = Lease(subnet)
    subnet.retire()
    lease.release()
    assert gone() is not None, "dropping it is work, which no request should do"
    subnet.close()
    assert gone() is None


def test_closing_under_a_request_is_a_bug() -> None:
    subnet = loaded()
    lease = Lease(subnet)
    subnet.retire()
    with pytest.raises(AssertionError):
        subnet.close()
    assert lease.is_held


def test_a_lease_that_is_forgotten_ends() -> None:
    subnet = loaded()
    lease = Lease(subnet)
    assert subnet.is_held_by(threading.get_ident())
    del lease
    assert not subnet.is_held_by(threading.get_ident())
    subnet.retire()
    assert subnet.state is SessionState.DRAINED


def test_a_lease_may_end_in_another_thread() -> None:
    subnet = loaded()
    lease = Lease(subnet)
    subnet.retire()
    thread = threading.Thread(target=lease.release)
    thread.start()
    thread.join()
    assert subnet.state is SessionState.DRAINED


def test_a_run_tells_when_it_ended_and_how_long_it_took_and_a_retired_subnet_gives_none() -> None:
    now_s = iter((5.0, 5.25))
    subnet = loaded()
    assert subnet.run([], {}, False, lambda: next(now_s)) == (["s"], 5.25, 250.0)
    subnet.retire()
    assert subnet.state is SessionState.DRAINED
    assert subnet.run([], {}, False, lambda: 0.0) is None


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
def test_a_run_holds_the_subnet_until_it_ends_whatever_is_raised(raised: type[BaseException]) -> None:
    def retire_in_mid_run() -> None:
        assert subnet.is_held_by(threading.get_ident())
        subnet.retire()
        assert subnet.state is SessionState.DRAINING
        raise raised

    subnet = LoadedSubnet("s", FakeSession("s", retire_in_mid_run))
    with pytest.raises(raised):
        subnet.run([], {}, False, lambda: 0.0)
    assert subnet.state is SessionState.DRAINED


def _ran(subnet: LoadedSubnet) -> bool:
    return subnet.run([], {}, False, lambda: 0.0) is not None


def _leased(subnet: LoadedSubnet) -> bool:
    lease = Lease(subnet)
    assert not lease.is_held or subnet.state is not SessionState.DRAINED
    lease.release()
    return subnet.state is SessionState.SERVING


@pytest.mark.parametrize("request_of", [_ran, _leased])
def test_many_threads_and_one_retirement(request_of: Callable[[LoadedSubnet], bool]) -> None:
    told: list[str] = []
    subnet = loaded(told)
    served = threading.Barrier(9)

    def request() -> None:
        served.wait()
        while request_of(subnet):
            pass

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    served.wait()
    subnet.retire()
    for thread in threads:
        thread.join()
    subnet.wait_drained()
    assert len(told) == 1
    assert subnet.state is SessionState.DRAINED
