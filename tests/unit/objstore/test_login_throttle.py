"""Guessing is slowed down for a client, an address and a user, and no random names make that forgotten."""

from __future__ import annotations

import pytest

from objstore.login_throttle import (
    ADDRESS_FAILURES_MAX,
    CLIENT_FAILURES_MAX,
    TRUSTED_SECONDS,
    USER_FAILURES_MAX,
    LoginClient,
    LoginThrottle,
)
from objstore.logs import Logger, Sink
from objstore.runtime import Runtime
from objstore.system.shared_counters import WINDOW_SECONDS
from tests.doubles import ManualClock

HOME = LoginClient("192.0.2.1", "test:tester")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(WINDOW_SECONDS * 1_000_000.0)


@pytest.fixture
def runtime(clock: ManualClock) -> Runtime:
    return Runtime(Logger("test", Sink(write=lambda line: None)), clock=clock)


@pytest.fixture
def throttle(runtime: Runtime) -> LoginThrottle:
    return LoginThrottle(runtime)


def fail(throttle: LoginThrottle, client: LoginClient, times: int = 1) -> None:
    for _ in range(times):
        throttle.failed(client)


def test_a_client(throttle: LoginThrottle, clock: ManualClock) -> None:
    fail(throttle, HOME, CLIENT_FAILURES_MAX - 1)
    assert throttle.seconds_to_wait(HOME) == 0
    fail(throttle, HOME)
    clock.seconds += 20
    assert throttle.seconds_to_wait(HOME) == WINDOW_SECONDS - 20
    assert throttle.seconds_to_wait(LoginClient("192.0.2.2", HOME.user)) == 0
    assert throttle.seconds_to_wait(LoginClient(HOME.address, "test:other")) == 0
    clock.seconds += WINDOW_SECONDS - 20
    assert throttle.seconds_to_wait(HOME) == 0


def test_a_success_forgives(throttle: LoginThrottle) -> None:
    fail(throttle, HOME, CLIENT_FAILURES_MAX - 1)
    throttle.succeeded(HOME)
    fail(throttle, HOME, CLIENT_FAILURES_MAX - 1)
    assert throttle.seconds_to_wait(HOME) == 0


def test_an_address_with_many_names(throttle: LoginThrottle) -> None:
    for number in range(ADDRESS_FAILURES_MAX):
        # Keys may share a slot and be counted together: so near the limit anybody may have to wait already.
        if number < ADDRESS_FAILURES_MAX // 2:
            assert throttle.seconds_to_wait(LoginClient("192.0.2.9", f"test:{number}")) == 0
        fail(throttle, LoginClient("192.0.2.9", f"test:{number}"))
    assert throttle.seconds_to_wait(LoginClient("192.0.2.9", "test:new")) > 0
    assert throttle.seconds_to_wait(HOME) == 0


def test_a_user_from_many_addresses(throttle: LoginThrottle, clock: ManualClock) -> None:
    throttle.succeeded(HOME)
    for number in range(USER_FAILURES_MAX):
        fail(throttle, LoginClient(f"198.51.100.{number}", HOME.user))
    assert throttle.seconds_to_wait(LoginClient("192.0.2.2", HOME.user)) > 0
    assert throttle.seconds_to_wait(LoginClient("192.0.2.2", "test:other")) == 0
    assert throttle.seconds_to_wait(HOME) == 0, "a stranger locks no user out"
    fail(throttle, HOME, CLIENT_FAILURES_MAX)
    assert throttle.seconds_to_wait(HOME) > 0, "but at a shared address guessing has a limit too"


def test_a_client_is_trusted_for_a_while_also_at_an_address_of_strangers(
    throttle: LoginThrottle, clock: ManualClock
) -> None:
    throttle.succeeded(HOME)
    clock.seconds += TRUSTED_SECONDS - 1
    fail(throttle, LoginClient(HOME.address, "x:x"), ADDRESS_FAILURES_MAX)
    assert throttle.seconds_to_wait(HOME) == 0
    clock.seconds += 1
    fail(throttle, LoginClient(HOME.address, "x:x"), ADDRESS_FAILURES_MAX)
    assert throttle.seconds_to_wait(HOME) > 0


def test_random_names_make_nothing_forgotten(throttle: LoginThrottle) -> None:
    fail(throttle, HOME, CLIENT_FAILURES_MAX)
    for number in range(20_000):
        fail(throttle, LoginClient(f"2001:db8::{number:x}", f"x:{number}"))
    assert throttle.seconds_to_wait(HOME) > 0


def test_a_reload_forgets_nothing(throttle: LoginThrottle, runtime: Runtime) -> None:
    fail(throttle, HOME, CLIENT_FAILURES_MAX)
    assert LoginThrottle(runtime).seconds_to_wait(HOME) > 0
