"""Slows down whoever guesses keys."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from objstore.runtime import Runtime
from objstore.system.shared_counters import WINDOW_SECONDS

CLIENT_FAILURES_MAX: Final = 10
ADDRESS_FAILURES_MAX: Final = 100
USER_FAILURES_MAX: Final = 100
TRUSTED_SECONDS: Final = 7 * 86_400.0


class LoginClient(Struct, frozen=True):
    """Who tries to log in, and from where. `user` is "account:name", whether there is such a user or not."""

    address: str
    user: str


class LoginThrottle:
    """Counts failed logins in all workers of the proxy, and makes who fails too often wait for the window's end.

    A client, which is a user at an address, may fail CLIENT_FAILURES_MAX times within a window, all users at one
    address together ADDRESS_FAILURES_MAX times, and one user from all addresses together USER_FAILURES_MAX times. The
    latter two do not hold for a client that logged in within TRUSTED_SECONDS, so that no stranger locks it out.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._clock = runtime.clock
        self._failures = runtime.shared_counters
        self._successes = runtime.shared_marks

    def seconds_to_wait(self, client: LoginClient) -> float:
        """How long the client has to wait; 0 if it may try."""
        now, count = self._clock.monotonic(), self._failures.count
        if count(client, now) < CLIENT_FAILURES_MAX and (
            self._successes.is_marked(client, now, TRUSTED_SECONDS)
            or (
                count(("address", client.address), now) < ADDRESS_FAILURES_MAX
                and count(("user", client.user), now) < USER_FAILURES_MAX
            )
        ):
            return 0.0
        return WINDOW_SECONDS - now % WINDOW_SECONDS

    def failed(self, client: LoginClient) -> int:
        """The wrong key; how many logins from its address have failed within the window."""
        now, add = self._clock.monotonic(), self._failures.add
        add(client, now)
        add(("user", client.user), now)
        return add(("address", client.address), now)

    def refused(self, client: LoginClient) -> int:
        """It had to wait and tried; how many logins from its address were refused within the window."""
        return self._failures.add(("refused", client.address), self._clock.monotonic())

    def succeeded(self, client: LoginClient) -> None:
        """The right key: what the client did before is forgiven."""
        self._failures.clear(client)
        self._successes.mark(client, self._clock.monotonic())
