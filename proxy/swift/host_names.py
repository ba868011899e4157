"""Hosts that name an account, or a container of one, below a domain of the store; other hosts may be CNAMEs of such.

    container.AUTH-account.storage.example/object  ->  /v1/AUTH_account/container/object

The names of hosts have no underscores and no case, so the account's prefix is written with a hyphen, in any case.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from objstore.errors import StoreError
from objstore.http.messages import Environ, Response, StartResponse, WsgiApplication
from objstore.proxy.swift.errors import TEXT_TYPE

if TYPE_CHECKING:
    from objstore.config.proxy import DomainRemapConfig, ProxyConfig
    from objstore.runtime import Runtime

PATH_ROOT: Final = "v1"
KNOWN_NAMES_MAX: Final = 10_000
LOOKUP_SECONDS: Final = 5.0
LIFE_SECONDS_MIN: Final = 10.0  # also of names that have no CNAME
LIFE_SECONDS_MAX: Final = 3600.0
# The path as the client sent it, for redirects.
SENT_PATH: Final = "objstore.sent_path"

# The name that a name stands for, "" if there is none, and for how many seconds that is so.
Resolve = Callable[[str], tuple[str, float]]


class HostNames:
    """Brings requests to such hosts into the form of the API."""

    def __init__(
        self, application: WsgiApplication, config: ProxyConfig, runtime: Runtime, resolve: Resolve | None = None
    ) -> None:
        """Stands before `application`. `resolve` blocks; DNS is asked without it."""
        self._application = application
        remap = config.domain_remap
        self._domains = tuple("." + domain for domain in remap.storage_domains)
        self._prefixes = {
            f"{prefix}_".lower(): f"{prefix}_" for prefix in (config.auth.reseller_prefix, config.auth.service_prefix)
        }
        self._default_prefix = f"{remap.default_reseller_prefix}_" if remap.default_reseller_prefix else ""
        self._depth = remap.cname_lookup_depth
        self._threads = runtime.threads
        self._clock = runtime.clock
        self._log = runtime.log
        self._resolve = resolve_cname if resolve is None else resolve
        self._known: dict[str, tuple[str, float]] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return (self.place(environ) or self._application)(environ, start_response)

    def place(self, environ: Environ) -> Response | None:
        """Change path and host of a request that names its account in the host; a refusal if it cannot be one."""
        host, colon, port = environ.get("HTTP_HOST", "").partition(":")
        named = self._named(host)
        if named is None and self._depth and _may_be_cname(host, environ):
            found = self._looked_up(host.lower())
            if found != host.lower():
                named = self._named(found)
                if named is None:
                    return _refusal("CNAME lookup failed to resolve to a valid domain")
                environ["HTTP_HOST"] = found + colon + port
        if named is None:
            return None
        container, _, name = named.rpartition(".")
        if "." in container:
            return _refusal("Bad domain in host header")
        account = self._account(name)
        if account is None:
            return None
        path = environ["PATH_INFO"]
        environ[SENT_PATH] = path
        below = f"/{container}{path}" if container else path
        environ["PATH_INFO"] = f"/{PATH_ROOT}/{account}{below if below != '/' else ''}"
        return None

    def _named(self, host: str) -> str | None:
        """What a host is called below a domain of the store; None if it is not below one."""
        for domain in self._domains:
            if host[-len(domain) :].lower() == domain and len(host) > len(domain):
                return host[: -len(domain)]
        return None

    def _account(self, name: str) -> str | None:
        """The account of this name, whose prefix is written in any case; None if it is nobody's."""
        written = name.replace("-", "_", 1)
        for lower, prefix in self._prefixes.items():
            if written[: len(lower)].lower() == lower:
                return prefix + written[len(lower) :]
        return self._default_prefix + name if self._default_prefix else None

    def _looked_up(self, host: str) -> str:
        """The host that another stands for: below a domain of the store, or the last one that was found."""
        for _ in range(self._depth):
            following = self._cname(host)
            if following:
                host = following
            if not following or self._named(host) is not None:
                break
        return host

    def _cname(self, host: str) -> str:
        now = self._clock.monotonic()
        known = self._known.get(host)
        if known is not None and known[1] > now:
            return known[0]
        try:
            name, seconds = self._threads.call_within(2 * LOOKUP_SECONDS, self._resolve, host)
        except StoreError as error:
            self._log.warning("CNAME not looked up", host=host, error=str(error))
            return ""
        if len(self._known) >= KNOWN_NAMES_MAX:
            del self._known[next(iter(self._known))]
        self._known[host] = name, now + min(max(seconds, LIFE_SECONDS_MIN), LIFE_SECONDS_MAX)
        return name


def host_sections(config: DomainRemapConfig) -> dict[str, Mapping[str, object]]:
    """What /info says of them."""
    if not config.storage_domains:
        return {}
    found: dict[str, Mapping[str, object]] = {
        "domain_remap": {"default_reseller_prefix": config.default_reseller_prefix or None}
    }
    depth = config.cname_lookup_depth
    return found | {"cname_lookup": {"lookup_depth": depth}} if depth else found


def resolve_cname(host: str) -> tuple[str, float]:
    """Ask DNS. Blocks for LOOKUP_SECONDS at most."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(host, "CNAME", lifetime=LOOKUP_SECONDS, search=False)
    except dns.exception.DNSException:
        return "", LIFE_SECONDS_MIN
    return str(answer[0].target).rstrip(".").lower(), float(answer.rrset.ttl if answer.rrset else 0)


def _may_be_cname(host: str, environ: Environ) -> bool:
    """Whether DNS may know a host: no address, and not this machine's own name."""
    if not host or host == "localhost" or host == environ.get("SERVER_NAME") or "." not in host or host[0] == "[":
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and host.isascii()
    return False


def _refusal(reason: str) -> Response:
    return Response(400, {"Content-Type": TEXT_TYPE}, reason.encode())
