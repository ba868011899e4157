"""The catalog: which services there are, and where. It stands in the configuration, not in the database."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid5

from objstore.config.identity import CatalogConfig, IdentityConfig

NAMESPACE: Final = UUID("7b9c1a52-5d0e-4b36-9f0e-6a1d52c0f3a4")
PROJECT: Final = "{project_id}"
IDENTITY: Final = "identity"


class Catalog:
    """Services and their endpoints. Their ids are made of their names, so that all processes give the same."""

    def __init__(self, config: IdentityConfig) -> None:
        self.region: Final = config.region
        entries = list(config.catalog)
        if not any(entry.type == IDENTITY for entry in entries):
            entries.insert(0, CatalogConfig(IDENTITY, IDENTITY, config.url.rstrip("/") + "/v3"))
        self._entries: Final = entries

    def document(self, project_id: str | None) -> list[dict[str, Any]]:
        """For a token; endpoints that need a project are left out without one."""
        services = [
            {
                "id": self._id(entry),
                "type": entry.type,
                "name": entry.name,
                "endpoints": [
                    {key: value for key, value in endpoint.items() if key in ("id", "interface", "region", "region_id")}
                    | {"url": endpoint["url"].replace(PROJECT, project_id or "")}
                    for endpoint in self._endpoints(entry)
                    if project_id is not None or PROJECT not in endpoint["url"]
                ],
            }
            for entry in self._entries
        ]
        return [service for service in services if service["endpoints"]]

    def services(self) -> list[dict[str, Any]]:
        return [
            {"id": self._id(entry), "type": entry.type, "name": entry.name, "enabled": True} for entry in self._entries
        ]

    def endpoints(self) -> list[dict[str, Any]]:
        return [endpoint for entry in self._entries for endpoint in self._endpoints(entry)]

    def regions(self) -> list[dict[str, Any]]:
        return [{"id": self.region, "description": "", "parent_region_id": None}]

    def _endpoints(self, entry: CatalogConfig) -> list[dict[str, Any]]:
        urls = {
            "public": entry.url,
            "internal": entry.internal_url or entry.url,
            "admin": entry.admin_url or entry.url,
        }
        return [
            {
                "id": uuid5(NAMESPACE, f"endpoint {entry.type} {entry.name} {interface}").hex,
                "interface": interface,
                "region": self.region,
                "region_id": self.region,
                "service_id": self._id(entry),
                "url": url,
                "enabled": True,
            }
            for interface, url in urls.items()
        ]

    @staticmethod
    def _id(entry: CatalogConfig) -> str:
        return uuid5(NAMESPACE, f"service {entry.type} {entry.name}").hex
