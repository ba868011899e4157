"""Keys, types, zones, tags, and what is there once or not at all: groups, networks, addresses, volumes."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core import quotas
from objstore.compute.core.context import change
from objstore.compute.core.create import zones
from objstore.compute.core.keypairs import create_keypair, delete_keypair, find_keypair, list_keypairs
from objstore.compute.core.networks import GROUP
from objstore.compute.ec2.ids import server_of
from objstore.compute.ec2.messages import Ec2Call, ec2_fault, matches, page
from objstore.compute.ec2.views import GROUP_ID, SUBNET_ID, VPC_ID, tag_set
from objstore.compute.errors import InvalidRequest, NotOffered, no_such
from objstore.compute.model.tables import FlavorRow, KeypairRow, ServerRow

Document = dict[str, Any]


def _key(row: KeypairRow) -> Document:
    return {
        "keyPairId": f"key-{row.id:017x}",
        "keyFingerprint": row.ec2_fingerprint,
        "keyName": row.name,
        "keyType": "ed25519" if row.public_key.startswith("ssh-ed25519") else "rsa",
        "tagSet": [],
    }


def create_key(call: Ec2Call) -> Document:
    call.check_dry_run()
    kind = call.text("KeyType", "rsa")
    if kind not in ("rsa", "ed25519"):
        raise InvalidRequest("KeyType is rsa or ed25519.")
    row, private = create_keypair(call.context, call.caller, call.text("KeyName"), None, kind)
    return _key(row) | {"keyMaterial": private}


def import_key(call: Ec2Call) -> Document:
    call.check_dry_run()
    try:
        public = base64.b64decode(call.text("PublicKeyMaterial"), validate=True).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidRequest("PublicKeyMaterial is an OpenSSH key in base64.") from None
    row, _ = create_keypair(call.context, call.caller, call.text("KeyName"), public)
    return _key(row)


def delete_key(call: Ec2Call) -> Document:
    """A key that is not there is deleted, too."""
    call.check_dry_run()
    user, name = call.caller.user_id, call.optional("KeyName")
    if name is None:
        wanted = call.text("KeyPairId")
        rows = call.context.read(lambda session: list_keypairs(session, user))
        name = next((row.name for row in rows if _key(row)["keyPairId"] == wanted), "")
    if call.context.read(lambda session: find_keypair(session, user, name)) is not None:
        delete_keypair(call.context, user, name)
    return {"return": True}


def describe_keys(call: Ec2Call) -> Document:
    names, ids = call.texts("KeyName"), call.texts("KeyPairId")
    rows: list[KeypairRow] = call.context.read(lambda session: list_keypairs(session, call.caller.user_id))
    if missing := set(names) - {row.name for row in rows}:
        raise no_such("keypair", sorted(missing)[0])
    shown = [_key(row) for row in rows if not names or row.name in names]
    for name, values in call.filters():
        field = {"key-name": "keyName", "fingerprint": "keyFingerprint", "key-pair-id": "keyPairId"}.get(name)
        if field is None:
            raise InvalidRequest(f"The filter '{name[:64]}' is invalid")
        shown = [each for each in shown if matches(values, [each[field]])]
    return {"keySet": [each for each in shown if not ids or each["keyPairId"] in ids]}


def describe_types(call: Ec2Call) -> Document:
    wanted = call.texts("InstanceType")

    def look(session: SqlSession) -> list[FlavorRow]:
        return list(session.scalars(select(FlavorRow).order_by(FlavorRow.ram_mb, FlavorRow.id)))

    rows = [row for row in call.context.read(look) if row.public or call.project_id in row.projects]
    if missing := set(wanted) - {row.name for row in rows}:
        raise ec2_fault("InvalidInstanceType", f"The following supplied instance types do not exist: {sorted(missing)}")
    shown = [
        {
            "instanceType": row.name,
            "currentGeneration": True,
            "freeTierEligible": False,
            "supportedUsageClasses": ["on-demand"],
            "supportedRootDeviceTypes": ["instance-store"],
            "supportedVirtualizationTypes": ["hvm"],
            "bareMetal": False,
            "processorInfo": {"supportedArchitectures": ["x86_64"]},
            "vCpuInfo": {"defaultVCpus": row.vcpus, "defaultCores": row.vcpus, "defaultThreadsPerCore": 1},
            "memoryInfo": {"sizeInMiB": row.ram_mb},
            "instanceStorageSupported": row.disk_gb > 0,
            "burstablePerformanceSupported": False,
            "hibernationSupported": False,
            "autoRecoverySupported": False,
        }
        for row in rows
        if not wanted or row.name in wanted
    ]
    items, token = page(call, shown)
    return {"instanceTypeSet": items, "nextToken": token}


def describe_regions(call: Ec2Call) -> Document:
    endpoint = call.web.request.host
    return {
        "regionInfo": [{"regionName": call.region, "regionEndpoint": endpoint, "optInStatus": "opt-in-not-required"}]
    }


def describe_zones(call: Ec2Call) -> Document:
    names = call.texts("ZoneName")
    found = sorted(call.context.read(lambda session: zones(session, call.context)))
    return {
        "availabilityZoneInfo": [
            {"zoneName": name, "zoneState": "available", "regionName": call.region, "zoneId": name, "messageSet": []}
            for name in found
            if not names or name in names
        ]
    }


def _retag(call: Ec2Call, new: Any) -> Document:
    """Change the tags of instances: their metadata, and their name as the tag Name."""
    call.check_dry_run()
    names = call.texts("ResourceId")
    if any(not name.startswith("i-") for name in names):
        raise NotOffered("Only instances have tags here.")

    def work(session: SqlSession) -> None:
        limits = quotas.limits_of(session, call.project_id, call.context.limits.quotas)
        for name in names:
            row = server_of(session, call.project_id, name)
            tags = new({"Name": row.name} | row.user_metadata)
            label = tags.pop("Name", "") or row.name
            quotas.check_metadata(limits, tags)
            change(session, call.context, row, name=label[:255], user_metadata=tags)

    call.context.run(work)
    return {"return": True}


def create_tags(call: Ec2Call) -> Document:
    given = {str(each.get("Key", "")): str(each.get("Value", "")) for each in call.list_of("Tag")}
    return _retag(call, lambda old: old | given)


def delete_tags(call: Ec2Call) -> Document:
    gone = [(str(each.get("Key", "")), each.get("Value")) for each in call.list_of("Tag")]

    def without(old: dict[str, str]) -> dict[str, str]:
        return {k: v for k, v in old.items() if not any(k == key and value in (None, v) for key, value in gone)}

    return _retag(call, without)


def describe_tags(call: Ec2Call) -> Document:
    def look(session: SqlSession) -> list[ServerRow]:
        wanted = select(ServerRow).where(ServerRow.project_id == call.project_id, ServerRow.deleted_at.is_(None))
        return list(session.scalars(wanted))

    found = [
        {"resourceId": row.instance_id, "resourceType": "instance"} | tag
        for row in call.context.read(look)
        for tag in tag_set(row)
    ]
    fields = {"resource-id": "resourceId", "resource-type": "resourceType", "key": "key", "value": "value"}
    for name, values in call.filters():
        if name not in fields:
            raise InvalidRequest(f"The filter '{name[:64]}' is invalid")
        found = [each for each in found if matches(values, [each[fields[name]]])]
    items, token = page(call, found)
    return {"tagSet": items, "nextToken": token}


def describe_groups(call: Ec2Call) -> Document:
    wrong = set(call.texts("GroupId")) - {GROUP_ID} | set(call.texts("GroupName")) - {GROUP}
    if wrong:
        raise no_such("security group", sorted(wrong)[0])
    group = {
        "ownerId": call.project_id,
        "groupId": GROUP_ID,
        "groupName": GROUP,
        "groupDescription": "default group",
        "vpcId": VPC_ID,
        "ipPermissions": [],
        "ipPermissionsEgress": [],
        "tagSet": [],
    }
    fields = {"group-id": GROUP_ID, "group-name": GROUP, "vpc-id": VPC_ID}
    fits = all(matches(values, [fields.get(name)]) for name, values in call.filters())
    return {"securityGroupInfo": [group] if fits else []}


def describe_vpcs(call: Ec2Call) -> Document:
    vpc = {"vpcId": VPC_ID, "state": "available", "cidrBlock": "10.0.2.0/24", "isDefault": True, "tagSet": []}
    return {"vpcSet": [vpc | {"instanceTenancy": "default", "ownerId": call.project_id}]}


def describe_subnets(call: Ec2Call) -> Document:
    subnet = {
        "subnetId": SUBNET_ID,
        "state": "available",
        "vpcId": VPC_ID,
        "cidrBlock": "10.0.2.0/24",
        "availableIpAddressCount": 200,
        "availabilityZone": call.context.limits.zone,
        "defaultForAz": True,
        "mapPublicIpOnLaunch": False,
        "tagSet": [],
    }
    return {"subnetSet": [subnet]}


def account_attributes(call: Ec2Call) -> Document:
    values = [{"attributeValue": "VPC"}]
    return {"accountAttributeSet": [{"attributeName": "supported-platforms", "attributeValueSet": values}]}


def empty(key: str) -> Any:
    """An action that lists what nobody can make."""
    return lambda call: {key: []}


def not_offered(call: Ec2Call) -> Document:
    raise NotOffered(f"{call.text('Action')[:64]} is not offered: there is no service of volumes or networks.")


EMPTY: Final = {
    "DescribeAddresses": "addressesSet",
    "DescribeNetworkInterfaces": "networkInterfaceSet",
    "DescribeVolumes": "volumeSet",
    "DescribeSnapshots": "snapshotSet",
    "DescribeInstanceCreditSpecifications": "instanceCreditSpecificationSet",
    "DescribeRouteTables": "routeTableSet",
    "DescribeInternetGateways": "internetGatewaySet",
    "DescribePlacementGroups": "placementGroupSet",
}
NOT_OFFERED: Final = (
    *("CreateVolume", "DeleteVolume", "AttachVolume", "DetachVolume", "CreateSnapshot", "DeleteSnapshot"),
    *("CopySnapshot", "CopyImage", "AllocateAddress", "ReleaseAddress", "AssociateAddress", "DisassociateAddress"),
    *("CreateSecurityGroup", "DeleteSecurityGroup", "CreateVpc", "DeleteVpc", "CreateSubnet", "DeleteSubnet"),
    *("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress"),
    *("RevokeSecurityGroupEgress", "CreateNetworkInterface", "DeleteNetworkInterface"),
)
