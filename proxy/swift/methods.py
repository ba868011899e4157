"""The methods that each kind of resource takes, for Allow headers (RFC 9110, section 10.2.1)."""

from __future__ import annotations

from typing import Final

from objstore.config.proxy import AccountsConfig
from objstore.paths import ResourcePath

OF_OBJECTS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS")
OF_CONTAINERS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")
OF_ACCOUNTS: Final = ("GET", "HEAD", "POST", "OPTIONS")


def methods_of(resource: ResourcePath | None, accounts: AccountsConfig) -> tuple[str, ...]:
    """The methods a resource takes, its store being asked nothing. None stands for the API as a whole."""
    if resource is None or resource.object:
        return OF_OBJECTS
    # Accounts that may be managed are created and deleted as containers are.
    return OF_CONTAINERS if resource.container or accounts.allow_account_management else OF_ACCOUNTS


def allow(resource: ResourcePath | None, accounts: AccountsConfig) -> str:
    """The methods as the value of an Allow header."""
    return ", ".join(methods_of(resource, accounts))
