"""What clients ask of networks when there is no network service: one network, one security group, no addresses."""

from __future__ import annotations

from typing import Any, Final

import webob

from objstore.compute.api.calls import ApiCall, ApiHandler
from objstore.compute.core.networks import GROUP, NETWORK_ID, security_group
from objstore.compute.core.specs import NETWORK
from objstore.compute.errors import NotPermitted, no_such

NULLS: Final = (
    "bridge bridge_interface broadcast cidr_v6 deleted deleted_at dhcp_server dns1 dns2 gateway gateway_v6 host "
    "injected multi_host mtu netmask netmask_v6 priority project_id rxtx_base share_address updated_at created_at "
    "vlan vpn_private_address vpn_public_address vpn_public_port enable_dhcp dhcp_start"
)


def _network() -> dict[str, Any]:
    return dict.fromkeys(NULLS.split()) | {"id": NETWORK_ID, "label": NETWORK, "cidr": "10.0.2.0/24"}


def _tenant_network() -> dict[str, Any]:
    return {"id": NETWORK_ID, "label": NETWORK, "cidr": "10.0.2.0/24"}


def _show_network(call: ApiCall) -> webob.Response:
    if call.arguments["network"] != NETWORK_ID:
        raise no_such("network", call.arguments["network"])
    return call.answer({"network": _network()})


def _groups(call: ApiCall) -> webob.Response:
    return call.answer({"security_groups": [security_group(call.project_id)]})


def _group(call: ApiCall) -> webob.Response:
    if call.arguments["group"] != GROUP:
        raise no_such("security group", call.arguments["group"])
    return call.answer({"security_group": security_group(call.project_id)})


def _no_address(call: ApiCall) -> webob.Response:
    raise no_such("floating IP", call.arguments.get("address", ""))


def _refuse(call: ApiCall) -> webob.Response:
    raise NotPermitted("Networks, security groups and addresses cannot be changed without a network service.")


ROUTES: Final[dict[str, ApiHandler]] = {
    "GET /os-networks": lambda call: call.answer({"networks": [_network()]}),
    "GET /os-networks/{network}": _show_network,
    "POST /os-networks": _refuse,
    "GET /os-tenant-networks": lambda call: call.answer({"networks": [_tenant_network()]}),
    "GET /os-tenant-networks/{network}": _show_network,
    "POST /os-tenant-networks": _refuse,
    "GET /os-security-groups": _groups,
    "GET /os-security-groups/{group}": _group,
    "POST /os-security-groups": _refuse,
    "PUT /os-security-groups/{group}": _refuse,
    "DELETE /os-security-groups/{group}": _refuse,
    "POST /os-security-group-rules": _refuse,
    "DELETE /os-security-group-rules/{rule}": _refuse,
    "GET /os-floating-ips": lambda call: call.answer({"floating_ips": []}),
    "GET /os-floating-ips/{address}": _no_address,
    "DELETE /os-floating-ips/{address}": _no_address,
    "POST /os-floating-ips": _refuse,
    "GET /os-floating-ip-pools": lambda call: call.answer({"floating_ip_pools": []}),
}
