"""The one network and the one security group there are: what clients ask for before they make a server."""

from __future__ import annotations

from typing import Any, Final

from objstore.compute.core.specs import NETWORK
from objstore.compute.errors import InvalidRequest

NETWORK_ID: Final = "6d1c7a52-52f1-4c0f-9a40-0f4bbd4a4c11"
GROUP: Final = "default"


def check_networks(given: Any) -> bool:
    """Whether a server is to have no network. Raises InvalidRequest for another network than the one, and for ports."""
    if given in (None, "auto", []):
        return False
    if given == "none":
        return True
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise InvalidRequest("networks is a list of {uuid}, or one of auto and none.")
    if len(given) > 1:
        raise InvalidRequest(f"There is one network: {NETWORK}.")
    (wanted,) = given
    if set(wanted) - {"uuid"}:
        raise InvalidRequest("Ports and fixed addresses are not offered without a network service.")
    if wanted.get("uuid") != NETWORK_ID:
        raise InvalidRequest(f"Network {str(wanted.get('uuid'))[:64]} could not be found.")
    return False


def check_security_groups(given: list[dict[str, str]]) -> tuple[str, ...]:
    """The names of groups. Raises InvalidRequest for another than the one."""
    names = [each.get("name", "") for each in given] or [GROUP]
    if wrong := [name for name in names if name != GROUP]:
        raise InvalidRequest(f"Security group {wrong[0][:255]} not found.")
    return (GROUP,)


def security_group(project_id: str) -> dict[str, Any]:
    """The group as the API shows it: machines reach everything, and nothing reaches them but through their host."""
    return {"id": GROUP, "name": GROUP, "description": "Default security group", "tenant_id": project_id, "rules": []}
