"""Access control lists of containers: "X-Container-Read: .r:*,.rlistings,account:user".

The elements of a list, separated by commas, grant access:

    .r:*                    every client, with any Referer header or none
    .r:host                 clients whose Referer header names this host
    .r:.domain  .r:*.domain the same for all hosts of a domain
    .r:-host  .r:-.domain   denies what an earlier element granted; the last one that fits decides
    .rlistings              clients that .r elements admit may list the container as well
    account                 every user of an account, by its own name or by that in its storage URL ("AUTH_account")
    account:user            one user
    *:user  account:*  *:*  the same with any account, any user
    group                   every user of a group

`.ref:`, `.referer:` and `.referrer:` are other spellings of `.r:`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from objstore.proxy.auth.identity import Identity

REFERRER: Final = ".r"
REFERRER_SPELLINGS: Final = frozenset({".r", ".ref", ".referer", ".referrer"})
LISTINGS: Final = ".rlistings"
# The host of a request without a Referer header, or with one that is no URL. No host can be called so: it has no dot.
UNKNOWN_HOST: Final = "unknown"
_HOST_OR_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")


class AccessList(Struct, frozen=True):
    """A list taken apart.

    referrers: what follows ".r:", in order. grantees: names of accounts, users and groups.
    """

    referrers: tuple[str, ...] = ()
    grantees: frozenset[str] = frozenset()
    listings: bool = False


def clean(text: str, *, writing: bool) -> str:
    """The list in its one spelling, as it is stored. Raises ValueError, with the reason, for a list that is none."""
    elements = (_clean_element(element.strip(), writing) for element in text.split(","))
    return ",".join(element for element in elements if element)


def _clean_element(element: str, writing: bool) -> str:
    name, colon, value = (part.strip() for part in element.partition(":"))
    if not colon or not name.startswith("."):
        if name in REFERRER_SPELLINGS:
            raise ValueError(f"no host or domain after {name!r}")
        if name == LISTINGS and writing:
            raise ValueError("listings cannot be granted writing")
        if name.startswith(".") and name != LISTINGS:
            raise ValueError(f"unknown designator {name!r}")
        return element
    if name not in REFERRER_SPELLINGS:
        raise ValueError(f"unknown designator {name!r}")
    if writing:
        raise ValueError("referrers cannot be granted writing")
    minus, host = ("-", value[1:].strip()) if value.startswith("-") else ("", value)
    if host != "*" and host.startswith("*"):
        host = host[1:].strip()
    if host in ("", "."):
        raise ValueError(f"no host or domain after {name!r}")
    if not _is_matchable(host):
        raise ValueError(f"{host!r} is no host or domain as in 'www.example.com' or '.example.com'")
    return f"{REFERRER}:{minus}{host}"


def _is_matchable(host: str) -> bool:
    """Whether the host of some URL can fit: a name without scheme, port and path, or an address."""
    if host == "*" or _HOST_OR_DOMAIN.fullmatch(host):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def parse(text: str) -> AccessList:
    """Take a list as `clean` gives it apart. Never raises: what it does not know grants nothing."""
    referrers, grantees, listings = [], set(), False
    for element in text.split(","):
        if element.startswith(REFERRER + ":"):
            referrers.append(element[len(REFERRER) + 1 :])
        elif element == LISTINGS:
            listings = True
        elif element and not element.startswith("."):
            # Names with a dot are rights of the reseller's, which no container's owner can name.
            grantees.add(element)
    return AccessList(tuple(referrers), frozenset(grantees), listings)


def admits_referrer(referrers: tuple[str, ...], referer: str | None) -> bool:
    """Whether a request with this Referer header (None without one) is admitted."""
    if not referrers:
        return False
    host = _host_of(referer)
    admitted = False
    for pattern in referrers:
        if pattern.startswith("-"):
            admitted = admitted and not _fits(pattern[1:], host)
        else:
            admitted = admitted or _fits(pattern, host)
    return admitted


def _fits(pattern: str, host: str) -> bool:
    pattern = pattern.lower()
    return pattern in ("*", host) or (pattern.startswith(".") and host.endswith(pattern))


def _host_of(referer: str | None) -> str:
    try:
        return (urlsplit(referer or "").hostname or UNKNOWN_HOST).lower()
    except ValueError:
        return UNKNOWN_HOST


def names_of(identity: Identity) -> frozenset[str]:
    """Every name by which a list may grant something to this user."""
    account, _, user = identity.user.partition(":")
    own = {account, identity.account, identity.user, f"*:{user}", f"{account}:*", "*:*"}
    return frozenset(own | {group for group in identity.groups if not group.startswith(".")})


def admits_user(grantees: frozenset[str], identity: Identity) -> bool:
    """Whether a list that grants to these names grants to this user."""
    return bool(grantees) and not grantees.isdisjoint(names_of(identity))
