"""/info: which features the store offers, and its limits."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

import msgspec

import objstore
from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.proxy.core.links import LINKS_MAX
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.handlers.bulk_delete import BULK_DELETE_SECTION
from objstore.proxy.swift.handlers.bulk_extract import BULK_UPLOAD_SECTION
from objstore.proxy.swift.handlers.manifest_input import SLO_SECTION
from objstore.proxy.swift.host_names import host_sections
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.config.proxy import ProxyConfig
    from objstore.proxy.core.context import ProxyContext

Sections = dict[str, dict[str, object]]

METHODS: Final = "GET, HEAD, OPTIONS"


class InfoEndpoint(Feature):
    """Collects the sections of all features and shows them, the confidential ones only to administrators."""

    kinds = frozenset({"other"})

    def __init__(self, context: ProxyContext) -> None:
        config = context.config.info
        self._expose = config.expose
        self._admin_key = config.admin_key
        self._disallowed = config.disallowed_sections
        self._now = context.runtime.clock.now
        self._sections: Sections = {}

    def publish(self, sections: Mapping[str, Section]) -> None:
        for name, section in sections.items():
            self._sections.setdefault(name, {}).update(section)

    def __call__(self, request: SwiftRequest) -> Response | None:
        """The answer to /info. Raises HttpError 401, 403, 405."""
        if request.path != "/info":
            return None
        if not self._expose:
            raise HttpError(403)
        if request.method == "OPTIONS":
            return Response(200, {Client.ALLOW: METHODS})
        if request.method not in ("GET", "HEAD"):
            raise HttpError(405, headers={Client.ALLOW: METHODS})
        shown: dict[str, Any] = without(self._sections, self._disallowed)
        if "swiftinfo_sig" in request.params or "swiftinfo_expires" in request.params:
            self._check_signature(request)
            shown["admin"] = {**self._sections, "disallowed_sections": list(self._disallowed)}
        return Response(200, {Client.CONTENT_TYPE: "application/json; charset=UTF-8"}, msgspec.json.encode(shown))

    def _check_signature(self, request: SwiftRequest) -> None:
        given, expires = (request.params.get(name, "") for name in ("swiftinfo_sig", "swiftinfo_expires"))
        if not self._admin_key:
            raise HttpError(403)
        if not (expires.isascii() and expires.isdigit() and len(expires) < 19) or int(expires) < self._now():
            raise HttpError(401)
        # A signature of a GET is good for a HEAD too. SHA-1 is what clients of this interface compute.
        for method in {request.method, "GET"}:
            expected = admin_signature(self._admin_key, method, int(expires))
            if hmac.compare_digest(expected.encode(), given.encode()):
                return
        raise HttpError(401)


def admin_signature(key: str, method: str, expires: int) -> str:
    """What an administrator sends as `swiftinfo_sig` along with `swiftinfo_expires`, in seconds since the epoch."""
    return hmac.new(key.encode(), f"{method}\n{expires}\n/info".encode(), sha1).hexdigest()


def without(sections: Sections, disallowed: tuple[str, ...]) -> dict[str, object]:
    """The sections but those named as "section" or "section.item"."""
    shown: dict[str, object] = {}
    for name, section in sections.items():
        if name not in disallowed:
            shown[name] = {item: value for item, value in section.items() if f"{name}.{item}" not in disallowed}
    return shown


def store_section(context: ProxyContext) -> Section:
    config, cluster, limits = context.config, context.cluster, context.cluster.limits
    policies = []
    for policy in cluster.policies:
        if not policy.deprecated:
            shown: dict[str, object] = {"name": policy.name, "aliases": ", ".join(policy.names)}
            policies.append(shown | {"default": True} if policy is cluster.policies.default else shown)
    return {
        "version": objstore.__version__,
        "policies": policies,
        "strict_cors_mode": config.cors.strict,
        "allow_account_management": config.accounts.allow_account_management,
        "account_autocreate": config.accounts.account_autocreate,
        "allow_open_expired": config.objects.allow_open_expired,
        **msgspec.structs.asdict(limits),
    }


def handler_sections(proxy: ProxyConfig) -> dict[str, Section]:
    """The sections of what handlers bring, and no stage of the pipeline."""
    config = proxy.objects
    sections: dict[str, Section] = {"symlink": {"symloop_max": LINKS_MAX, "static_links": True}, "dlo": {}}
    sections |= {"slo": SLO_SECTION, "bulk_delete": BULK_DELETE_SECTION, "bulk_upload": BULK_UPLOAD_SECTION}
    if config.allow_versioned_writes:
        sections["versioned_writes"] = {"allowed_flags": ["x-versions-location", "x-history-location"]}
    if config.allow_object_versioning:
        sections["object_versioning"] = {}
    return sections | host_sections(proxy.domain_remap)
