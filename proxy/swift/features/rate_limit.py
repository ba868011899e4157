"""How often an account or a container may be written, and a container listed. Each proxy counts for itself.

What is over the rate waits for its turn; what would have to wait for too long is refused with 498. Databases of large
containers take longer to write, so their rates can fall with the number of objects.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.config.proxy import ProxyConfig, SizedRate
from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.request import SwiftRequest
from objstore.system import concurrency

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# The reseller sets it on accounts: writes a second, BLACKLIST (none at all) or WHITELIST (no limit); kept as system
# metadata.
HEADER: Final = "X-Account-Write-Ratelimit"
KEPT: Final = "Global-Write-Ratelimit"
NONE_AT_ALL: Final = "BLACKLIST"
NO_LIMIT: Final = "WHITELIST"
BLACKLISTED: Final = 497
TOO_OFTEN: Final = 498
REFUSAL_PAUSE_SECONDS: Final = 1.0
BURST_SECONDS: Final = 5.0
KNOWN_MAX: Final = 10_000
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_WRITING: Final = frozenset({"PUT", "POST", "DELETE", "COPY"})


class RateLimit(Feature):
    """Makes requests wait that come too often."""

    methods = _WRITING | {"GET"}
    kinds = frozenset({"account", "container", "object"})

    def __init__(self, context: ProxyContext) -> None:
        config = context.config.rate_limit
        self._workers = max(1, context.config.server.workers)
        self._config = config
        self._info = context.lookup
        self._monotonic = context.runtime.clock.monotonic
        self._due: dict[str, float] = {}

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return config.rate_limit.enabled

    def sections(self) -> Mapping[str, Section]:
        """The rates, a second and proxy."""
        config = self._config
        return {
            "ratelimit": {
                "account_ratelimit": config.account_writes,
                "max_sleep_time_seconds": config.max_sleep,
                "container_ratelimits": config.container_writes,
                "container_listing_ratelimits": config.container_listings,
            }
        }

    def __call__(self, request: SwiftRequest) -> None:
        """Raises HttpError 403, 497, 498."""
        path = request.storage_resource
        if request.header(HEADER) is not None and not path.container and request.method in ("PUT", "POST"):
            self._keep(request)
        account = self._info.account(path.account, request.transaction_id)
        own = account.sysmeta.get(KEPT, "")
        if own == NONE_AT_ALL:
            concurrency.sleep(REFUSAL_PAUSE_SECONDS)
            raise HttpError(BLACKLISTED, "Your account has been blacklisted")
        if own == NO_LIMIT:
            return
        if request.method in _WRITING and own:
            self._wait(f"all/{path.account}", float(own))
        if path.object:
            if request.method in _WRITING:
                self._wait(f"w/{path.container_path}", self._rate(request, self._config.container_writes))
        elif path.container and request.method == "GET":
            self._wait(f"r/{path}", self._rate(request, self._config.container_listings))
        elif path.container and request.method in ("PUT", "DELETE"):
            self._wait(f"a/{path.account}", self._config.account_writes)

    def _keep(self, request: SwiftRequest) -> None:
        """What the reseller sets. Raises HttpError 400, 403."""
        if request.identity is None or not request.identity.reseller_admin:
            raise HttpError(403)
        given = (request.header(HEADER) or "").strip().upper()
        if given not in ("", NONE_AT_ALL, NO_LIMIT) and not _NUMBER.fullmatch(given):
            raise HttpError(400, f"{HEADER} is a number, {NONE_AT_ALL} or {NO_LIMIT}")
        request.set_header(HEADER, None)
        request.set_header(Sysmeta.ACCOUNT_PREFIX + KEPT, given)

    def _rate(self, request: SwiftRequest, rates: tuple[SizedRate, ...]) -> float:
        if not rates:
            return 0.0
        container = self._info.container(request.storage_resource, request.transaction_id)
        return rate_at(rates, container.object_count)

    def _wait(self, key: str, per_second: float) -> None:
        """Wait for a turn. Raises HttpError 498."""
        if not per_second:
            return
        now = self._monotonic()
        due = max(self._due.pop(key, 0.0), now - BURST_SECONDS)
        wait = due - now
        if wait > self._config.max_sleep:
            self._due[key] = due
            raise HttpError(TOO_OFTEN, "Slow down", {Client.RETRY_AFTER: str(int(wait) + 1)})
        if len(self._due) >= KNOWN_MAX:
            del self._due[next(iter(self._due))]
        self._due[key] = due + self._workers / per_second
        if wait > 0:
            concurrency.sleep(wait)


def rate_at(rates: tuple[SizedRate, ...], objects: int) -> float:
    """The rate of a container of so many objects, between those of the sizes around it; below the first 0, no limit."""
    at = bisect_right(rates, objects, key=lambda each: each[0])
    if at == 0:
        return 0.0
    size, rate = rates[at - 1]
    if at == len(rates):
        return rate
    next_size, next_rate = rates[at]
    return rate + (objects - size) / (next_size - size) * (next_rate - rate)
