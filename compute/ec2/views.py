"""Servers as instances."""

from __future__ import annotations

import datetime
from typing import Any, Final

from objstore.compute.api.views import HostPlaces
from objstore.compute.core.states import (
    ACTIVE,
    BUILDING,
    DELETED,
    ERROR,
    PAUSED,
    RESCUED,
    RESIZED,
    SOFT_DELETED,
)
from objstore.compute.ec2.ids import ec2_id
from objstore.compute.model.tables import ServerRow

STATE_CODES: Final = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
TERMINATED_SHOWN: Final = datetime.timedelta(hours=1)
GROUP_ID: Final = "sg-00000000000000001"
VPC_ID: Final = "vpc-00000000000000001"
SUBNET_ID: Final = "subnet-00000000000000001"


def state_of(row: ServerRow) -> str:
    """The name of an instance's state."""
    if row.deleted_at is not None or row.vm_state in (DELETED, SOFT_DELETED):
        return "terminated"
    if row.task_state == "deleting":
        return "shutting-down"
    if row.task_state == "powering-off":
        return "stopping"
    if row.vm_state == BUILDING or row.task_state == "powering-on":
        return "pending"
    if row.vm_state == ERROR:
        return "terminated" if row.launched_at is None else "stopped"
    return "running" if row.vm_state in (ACTIVE, PAUSED, RESIZED, RESCUED) else "stopped"


def state(name: str) -> dict[str, Any]:
    return {"code": STATE_CODES[name], "name": name}


def tag_set(row: ServerRow) -> list[dict[str, str]]:
    """The server's metadata, and its name as the tag that consoles show."""
    tags = {"Name": row.name} | row.user_metadata
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def instance(row: ServerRow, image: str, places: HostPlaces) -> dict[str, Any]:
    """An item of instancesSet."""
    now = state_of(row)
    zone = places.get(row.host_id or "", ("", (row.availability_zone or "").partition(":")[0] or "nova"))[1]
    address = row.addresses[0]["address"] if row.addresses and now == "running" else None
    reason = None
    if row.fault and now in ("terminated", "stopped"):
        reason = {"code": "Server.InternalError", "message": row.fault["message"]}
    elif now == "terminated":
        reason = {"code": "Client.UserInitiatedShutdown", "message": "Client.UserInitiatedShutdown: User initiated"}
    return {
        "instanceId": row.instance_id,
        "imageId": image,
        "instanceState": state(now),
        "privateDnsName": row.hostname if address else "",
        "dnsName": "",
        "reason": reason["message"] if reason else "",
        "keyName": row.key_name,
        "amiLaunchIndex": row.launch_index,
        "productCodes": [],
        "instanceType": row.flavor["name"],
        "launchTime": row.launched_at or row.created_at,
        "placement": {"availabilityZone": zone, "groupName": "", "tenancy": "default"},
        "monitoring": {"state": "disabled"},
        "subnetId": SUBNET_ID if row.mac and now != "terminated" else None,
        "vpcId": VPC_ID if row.mac and now != "terminated" else None,
        "privateIpAddress": address,
        "sourceDestCheck": True,
        "groupSet": [{"groupId": GROUP_ID, "groupName": name} for name in row.security_groups],
        "stateReason": reason,
        "architecture": row.image["properties"].get("architecture", "x86_64"),
        "rootDeviceType": "instance-store",
        "rootDeviceName": "/dev/vda",
        "blockDeviceMapping": [],
        "virtualizationType": "hvm",
        "clientToken": "",
        "tagSet": tag_set(row),
        "hypervisor": "xen",
        "networkInterfaceSet": [],
        "ebsOptimized": False,
    }


def root_volume(row: ServerRow) -> str:
    return ec2_id("vol", row.id)
