"""What the proxy knows of accounts and containers: who may use them, how they are stored, how full they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from objstore.headers import Backend, Client, Owner, Sysmeta
from objstore.paths import ResourcePath

if TYPE_CHECKING:
    from objstore.proxy.swift.request import SwiftRequest


class AccountInfo(Struct, frozen=True):
    """An account as its servers describe it. Counts lag behind the truth; sizes are in bytes.

    `status` is 200 if it exists, 404 if not, 410 if it is deleted and not reaped yet, 503 if nobody answered.
    `metadata` and `sysmeta` are by what follows the prefix, in Title-Case: "Temp-Url-Key", "Quota-Bytes".
    """

    status: int
    container_count: int = 0
    object_count: int = 0
    bytes_used: int = 0
    metadata: dict[str, str] = {}
    sysmeta: dict[str, str] = {}
    policy_stats: str = ""  # as X-Backend-Policy-Stats gives them

    @property
    def exists(self) -> bool:
        return self.status == 200


class ContainerInfo(Struct, frozen=True):
    """A container as its servers describe it; see AccountInfo."""

    status: int
    policy_index: int = 0
    read_acl: str | None = None
    write_acl: str | None = None
    sync_to: str | None = None
    sync_key: str | None = None
    cors_allow_origin: str | None = None
    cors_expose_headers: str | None = None
    cors_max_age: str | None = None
    object_count: int = 0
    bytes_used: int = 0
    metadata: dict[str, str] = {}
    sysmeta: dict[str, str] = {}

    @property
    def exists(self) -> bool:
        return self.status == 200


class InfoSource(Protocol):
    """Looks accounts and containers up. Never raises for what is not there: `status` says so."""

    def account(self, request: SwiftRequest, account: str) -> AccountInfo:
        """The account; `request` is the one for whose sake it is asked."""

    def container(self, request: SwiftRequest, resource: ResourcePath) -> ContainerInfo:
        """The container `resource` is or lies in; absent too if its account is."""


def account_key(account: str) -> str:
    """Under which an account is cached."""
    return f"account/{account}"


def container_key(resource: ResourcePath) -> str:
    """Under which the container a path is or lies in is cached."""
    return f"container/{resource.account}/{resource.container}"


def account_info(status: int, headers: Mapping[str, str]) -> AccountInfo:
    """What an account server's answer says; headers in canonical spelling."""
    if status // 100 != 2:
        deleted = headers.get(Client.ACCOUNT_STATUS, "").lower() == "deleted"
        return AccountInfo(410 if deleted else status)
    return AccountInfo(
        200,
        container_count=_number(headers, Client.ACCOUNT_CONTAINER_COUNT),
        object_count=_number(headers, Client.ACCOUNT_OBJECT_COUNT),
        bytes_used=_number(headers, Client.ACCOUNT_BYTES_USED),
        metadata=_family(headers, Client.ACCOUNT_META_PREFIX),
        sysmeta=_family(headers, Sysmeta.ACCOUNT_PREFIX),
        policy_stats=headers.get(Backend.POLICY_STATS, ""),
    )


def container_info(status: int, headers: Mapping[str, str]) -> ContainerInfo:
    """What a container server's answer says; headers in canonical spelling."""
    if status // 100 != 2:
        return ContainerInfo(status)
    return ContainerInfo(
        200,
        policy_index=_number(headers, Backend.POLICY_INDEX),
        read_acl=headers.get(Owner.CONTAINER_READ),
        write_acl=headers.get(Owner.CONTAINER_WRITE),
        sync_to=headers.get(Owner.CONTAINER_SYNC_TO),
        sync_key=headers.get(Owner.CONTAINER_SYNC_KEY),
        cors_allow_origin=headers.get(Client.CONTAINER_ALLOW_ORIGIN),
        cors_expose_headers=headers.get(Client.CONTAINER_EXPOSE_HEADERS),
        cors_max_age=headers.get(Client.CONTAINER_CORS_MAX_AGE),
        object_count=_number(headers, Client.CONTAINER_OBJECT_COUNT),
        bytes_used=_number(headers, Client.CONTAINER_BYTES_USED),
        metadata=_family(headers, Client.CONTAINER_META_PREFIX),
        sysmeta=_family(headers, Sysmeta.CONTAINER_PREFIX),
    )


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "0")
    return int(text) if text.isdecimal() else 0


def _family(headers: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in headers.items() if name.startswith(prefix)}
