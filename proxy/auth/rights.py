"""What an identity may do with a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from objstore.config.proxy import AuthConfig
from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.limits import text_of
from objstore.paths import ResourcePath
from objstore.proxy.auth import account_acl, acl
from objstore.proxy.auth.account_acl import Right
from objstore.proxy.auth.identity import Identity
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.info import InfoSource

ADMIN: Final = ".admin"
RESELLER_ADMIN: Final = ".reseller_admin"
RESELLER_READER: Final = ".reseller_reader"
READING: Final = frozenset({"GET", "HEAD"})
# In the system metadata of an account.
ACCESS_CONTROL_KEY: Final = "Core-Access-Control"


class Rights:
    """Weighs requests; `authorize` is what handlers call."""

    def __init__(self, config: AuthConfig, info: InfoSource) -> None:
        self._info = info
        self._reseller_prefix = config.reseller_prefix
        self._service_prefix = config.service_prefix
        self._service_group = config.service_group

    def authorize(self, request: SwiftRequest) -> None:
        """Let the request pass, as an owner's or not, or raise HttpError 401 (who?) or 403 (you may not)."""
        resource = request.storage_resource
        prefix, _, name = resource.account.partition("_")
        # The store's own accounts, and those of other authentication services, are nobody's here.
        if name and not name.startswith(".") and prefix in (self._reseller_prefix, self._service_prefix):
            if self._is_owner(request, resource, prefix, name):
                request.owner = True
                return
            if self._is_granted(request, resource):
                return
        raise refusal(request, resource.account)

    def _is_owner(self, request: SwiftRequest, resource: ResourcePath, prefix: str, name: str) -> bool:
        identity = request.identity
        if identity is None:
            return False
        if identity.reseller_admin:
            return True
        if ADMIN not in identity.groups or not identity.user.startswith(name + ":"):
            return False
        if prefix == self._service_prefix and self._service_group not in identity.service_groups:
            return False
        # Accounts are made and deleted by the reseller.
        return bool(resource.container) or request.method not in ("PUT", "DELETE")

    def _is_granted(self, request: SwiftRequest, resource: ResourcePath) -> bool:
        identity, reading = request.identity, request.method in READING
        if identity is not None:
            if reading and RESELLER_READER in identity.groups:
                return True
            right = self._account_right(request, resource, identity)
            if right is Right.ADMINISTER and (resource.container or request.method not in ("PUT", "DELETE")):
                request.owner = True
                return True
            if right >= (Right.READ if reading else Right.WRITE) and (resource.container or reading):
                return True
        if not request.acl or not resource.container or not (resource.object or reading):
            return False
        return _list_grants(acl.parse(text_of(request.acl)), request, resource)

    def _account_right(self, request: SwiftRequest, resource: ResourcePath, identity: Identity) -> Right:
        info = self._info.account(request, resource.account)
        return account_acl.right_of(account_acl.parse(info.sysmeta.get(ACCESS_CONTROL_KEY, "")), identity)


def _list_grants(granted: acl.AccessList, request: SwiftRequest, resource: ResourcePath) -> bool:
    """What the container's list says; a container itself is read by who may list it."""
    if (
        request.method in READING
        and (resource.object or granted.listings)
        and acl.admits_referrer(granted.referrers, request.header(Client.REFERER))
    ):
        return True
    return request.identity is not None and acl.admits_user(granted.grantees, request.identity)


def refusal(request: SwiftRequest, account: str = "") -> HttpError:
    """Why a request may not: nobody knows whose it is, or it is somebody's who may not."""
    return HttpError(403) if request.identity is not None else unauthorized(account)


def unauthorized(account: str = "") -> HttpError:
    """Asks for a token of an account (RFC 9110, section 11.6.1)."""
    realm = quote(account) or "unknown"
    return HttpError(401, headers={Client.WWW_AUTHENTICATE: f'Swift realm="{realm}"'})
