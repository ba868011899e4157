"""The identity that a token proves."""

from __future__ import annotations

from msgspec import Struct


class Identity(Struct, frozen=True, gc=False):
    """A user who has shown a valid token.

    user: "account:name", as access control lists name it.
    account: the account of the storage, with the reseller prefix, as it stands in URLs.
    groups: all names by which lists may grant rights: the user, its account without prefix, and groups.
    service_groups: those of the token a service has shown beside the user's own; empty without one.
    """

    user: str
    account: str
    groups: frozenset[str] = frozenset()
    reseller_admin: bool = False
    service_groups: frozenset[str] = frozenset()
