"""Instances: run, describe, start, stop, reboot, terminate, and their attributes."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.views import host_places
from objstore.compute.core import actions
from objstore.compute.core.context import change
from objstore.compute.core.create import NewServers, create_servers
from objstore.compute.ec2.ids import checked, image_uuid, remember, server_of
from objstore.compute.ec2.messages import Ec2Call, ec2_fault, matches, page
from objstore.compute.ec2.views import TERMINATED_SHOWN, instance, state, state_of
from objstore.compute.errors import InvalidRequest, NotOffered, NotPermitted, StateConflict
from objstore.compute.model.tables import ClientTokenRow, FlavorRow, ServerRow
from objstore.compute.protocol import MachineAction

TOKEN_HOURS: Final = 24
Document = dict[str, Any]


def _flavor_id(session: SqlSession, name: str) -> str:
    found = session.scalars(select(FlavorRow.id).where(or_(FlavorRow.name == name, FlavorRow.id == name))).first()
    if found is None:
        raise InvalidRequest(f"Invalid value '{name[:64]}' for InstanceType.")
    return found


def _tags(call: Ec2Call, kind: str) -> dict[str, str]:
    """The tags that a request gives to what it makes of a kind."""
    found: dict[str, str] = {}
    for each in call.list_of("TagSpecification"):
        if isinstance(each, dict) and each.get("ResourceType") == kind:
            for tag in each.get("Tag", []):
                found[str(tag.get("Key", ""))] = str(tag.get("Value", ""))
    return found


def _groups(call: Ec2Call) -> tuple[str, ...]:
    if any(name != "default" for name in call.texts("SecurityGroup")):
        raise ec2_fault("InvalidGroup.NotFound", "There is one security group: default.")
    return ("default",)


def _wanted(call: Ec2Call) -> NewServers:
    for device in call.list_of("BlockDeviceMapping"):
        ebs = device.get("Ebs", {}) if isinstance(device, dict) else {}
        if "SnapshotId" in ebs or device.get("DeviceName") not in ("/dev/vda", "/dev/sda1", "/dev/xvda"):
            raise NotOffered("Volumes are not offered: an instance's disks are those of its type.")
    tags = _tags(call, "instance")
    placement = call.parameters.get("Placement", {})
    zone = placement.get("AvailabilityZone") if isinstance(placement, dict) else None
    user_data = call.optional("UserData")
    image = call.text("ImageId")

    def look(session: SqlSession) -> tuple[str, str]:
        return image_uuid(session, image), _flavor_id(session, call.text("InstanceType", "m1.small"))

    image_id, flavor_id = call.context.read(look)
    behavior = call.text("InstanceInitiatedShutdownBehavior", "stop")
    if behavior not in ("stop", "terminate"):
        raise InvalidRequest("InstanceInitiatedShutdownBehavior is stop or terminate.")
    return NewServers(
        name=tags.pop("Name", "") or "instance",
        image_id=image_id,
        flavor_id=flavor_id,
        min_count=call.number("MinCount", 1),
        max_count=call.number("MaxCount", 1),
        key_name=call.optional("KeyName"),
        user_data=user_data,
        metadata=tags,
        availability_zone=zone,
        security_groups=_groups(call),
        shutdown_behavior=behavior,
        protected=call.flag("DisableApiTermination"),
    )


def run_instances(call: Ec2Call) -> Document:
    """The same reservation for the same client token, as long as the parameters are the same, too."""
    call.check_dry_run()
    token = call.text("ClientToken", "")
    if len(token) > 64 or not token.isascii():
        raise InvalidRequest("A client token has at most 64 characters of ASCII.")
    same = {key: value for key, value in call.parameters.items() if key not in ("ClientToken", "Version", "Action")}
    digest = hashlib.sha256(msgspec.json.encode(same, order="deterministic")).hexdigest()
    if token and (known := call.context.read(lambda session: session.get(ClientTokenRow, (call.project_id, token)))):
        if known.digest != digest:
            raise ec2_fault("IdempotentParameterMismatch", "The client token was used with other parameters.")
        return _reservation(call, known.reservation_id)
    rows = create_servers(call.context, call.caller, _wanted(call), call.web.id)
    reservation = rows[0].reservation_id

    def keep(session: SqlSession) -> None:
        oldest = call.context.now() - datetime.timedelta(hours=TOKEN_HOURS)
        session.execute(ClientTokenRow.__table__.delete().where(ClientTokenRow.created_at < oldest))  # type: ignore[attr-defined]
        session.add(
            ClientTokenRow(
                project_id=call.project_id,
                token=token,
                digest=digest,
                reservation_id=reservation,
                created_at=call.context.now(),
            )
        )

    if token:
        call.context.run(keep)
    return _reservation(call, reservation)


def _reservation(call: Ec2Call, reservation_id: str) -> Document:
    def look(session: SqlSession) -> list[ServerRow]:
        found = select(ServerRow).where(
            ServerRow.reservation_id == reservation_id, ServerRow.project_id == call.project_id
        )
        return list(session.scalars(found.order_by(ServerRow.launch_index)))

    (document,) = _reservations(call, call.context.read(look))
    return document


def _reservations(call: Ec2Call, rows: list[ServerRow]) -> list[Document]:
    """Servers by their reservations."""
    images = remember(call.context, "ami", sorted({row.image["id"] for row in rows}))
    places = call.context.read(lambda session: host_places(session, rows))
    found: dict[str, Document] = {}
    for row in rows:
        document = found.setdefault(
            row.reservation_id,
            {"reservationId": row.reservation_id, "ownerId": row.project_id, "groupSet": [], "instancesSet": []},
        )
        document["instancesSet"].append(instance(row, images[row.image["id"]], places))
    return list(found.values())


# What filters of instances look at.
FILTERS: Final[dict[str, Callable[[ServerRow, Document], list[str | None]]]] = {
    "instance-id": lambda row, shown: [row.instance_id],
    "instance-state-name": lambda row, shown: [shown["instanceState"]["name"]],
    "instance-state-code": lambda row, shown: [str(shown["instanceState"]["code"])],
    "instance-type": lambda row, shown: [shown["instanceType"]],
    "image-id": lambda row, shown: [shown["imageId"]],
    "key-name": lambda row, shown: [row.key_name],
    "reservation-id": lambda row, shown: [row.reservation_id],
    "availability-zone": lambda row, shown: [shown["placement"]["availabilityZone"]],
    "private-ip-address": lambda row, shown: [shown["privateIpAddress"]],
    "owner-id": lambda row, shown: [row.project_id],
    "vpc-id": lambda row, shown: [shown["vpcId"]],
    "subnet-id": lambda row, shown: [shown["subnetId"]],
    "tag-key": lambda row, shown: [each["key"] for each in shown["tagSet"]],
    "client-token": lambda row, shown: [None],
    "network-interface.addresses.association.public-ip": lambda row, shown: [None],
}


def _passes(filters: list[tuple[str, list[str]]], row: ServerRow, shown: Document) -> bool:
    for name, values in filters:
        if name.startswith("tag:"):
            have: list[str | None] = [each["value"] for each in shown["tagSet"] if each["key"] == name[4:]]
        elif name in FILTERS:
            have = FILTERS[name](row, shown)
        else:
            raise InvalidRequest(f"The filter '{name[:64]}' is invalid")
        if not matches(values, have):
            return False
    return True


def _found(call: Ec2Call) -> list[tuple[ServerRow, Document, Document]]:
    """The project's servers that a request means, each with its reservation and itself as a document."""
    names, filters = call.texts("InstanceId"), call.filters()
    for name in names:
        checked("i", name, "InvalidInstanceID.Malformed")
    if names and "MaxResults" in call.parameters:
        raise ec2_fault("InvalidParameterCombination", "MaxResults does not go together with InstanceId.")

    def look(session: SqlSession) -> list[ServerRow]:
        recent = call.context.now() - TERMINATED_SHOWN
        wanted = select(ServerRow).where(
            ServerRow.project_id == call.project_id,
            or_(ServerRow.deleted_at.is_(None), ServerRow.deleted_at > recent),
        )
        if names:
            wanted = wanted.where(ServerRow.instance_id.in_(names))
        return list(session.scalars(wanted.order_by(ServerRow.created_at, ServerRow.launch_index)))

    rows = call.context.read(look)
    if missing := set(names) - {row.instance_id for row in rows}:
        text = ", ".join(sorted(missing))
        raise ec2_fault("InvalidInstanceID.NotFound", f"The instance IDs '{text}' do not exist")
    by_id = {row.instance_id: row for row in rows}
    found = []
    for reservation in _reservations(call, rows):
        for shown in reservation["instancesSet"]:
            row = by_id[shown["instanceId"]]
            if _passes(filters, row, shown):
                found.append((row, reservation, shown))
    return found


def describe_instances(call: Ec2Call) -> Document:
    shown, token = page(call, _found(call))
    reservations: dict[str, Document] = {}
    for _, reservation, document in shown:
        entry = reservations.setdefault(reservation["reservationId"], reservation | {"instancesSet": []})
        entry["instancesSet"].append(document)
    return {"reservationSet": list(reservations.values()), "nextToken": token}


def describe_status(call: Ec2Call) -> Document:
    every = call.flag("IncludeAllInstances")
    found = []
    for row, _, shown in _found(call):
        running = shown["instanceState"]["name"] == "running"
        if not (running or every):
            continue
        status = "impaired" if row.degraded else "ok" if running else "not-applicable"
        details = [{"name": "reachability", "status": "passed" if status == "ok" else "failed"}] if running else []
        found.append(
            {
                "instanceId": row.instance_id,
                "availabilityZone": shown["placement"]["availabilityZone"],
                "instanceState": shown["instanceState"],
                "systemStatus": {"status": status, "details": details},
                "instanceStatus": {"status": status, "details": details},
            }
        )
    items, token = page(call, found)
    return {"instanceStatusSet": items, "nextToken": token}


def _each(call: Ec2Call) -> list[ServerRow]:
    """The servers whose ids a request lists. Raises Fault, NoSuch."""
    names = call.texts("InstanceId")
    if not names:
        raise ec2_fault("MissingParameter", "The request must contain the parameter InstanceId")
    call.check_dry_run()
    return [call.context.read(partial(server_of, project_id=call.project_id, name=name)) for name in names]


def _change_state(call: Ec2Call, act: Callable[[ServerRow], None]) -> Document:
    """Do something with each server; the states before and after."""
    changed = []
    for row in _each(call):
        act(row)
        after = call.context.read(partial(server_of, project_id=call.project_id, name=row.instance_id))
        changed.append(
            {
                "instanceId": row.instance_id,
                "currentState": state(state_of(after)),
                "previousState": state(state_of(row)),
            }
        )
    return {"instancesSet": changed}


def start_instances(call: Ec2Call) -> Document:
    def act(row: ServerRow) -> None:
        if state_of(row) not in ("running", "pending"):
            actions.act(call.context, call.caller, row.id, "os-start", call.web.id)

    return _change_state(call, act)


def stop_instances(call: Ec2Call) -> Document:
    def act(row: ServerRow) -> None:
        if state_of(row) not in ("stopped", "stopping"):
            actions.act(call.context, call.caller, row.id, "os-stop", call.web.id)

    return _change_state(call, act)


def reboot_instances(call: Ec2Call) -> Document:
    for row in _each(call):
        actions.act(call.context, call.caller, row.id, "reboot", call.web.id)
    return {"return": True}


def terminate_instances(call: Ec2Call) -> Document:
    rows = _each(call)
    if protected := [row.instance_id for row in rows if row.protected]:
        raise ec2_fault("OperationNotPermitted", f"{', '.join(protected)} may not be terminated: modify the attribute.")

    def act(row: ServerRow) -> None:
        if row.deleted_at is None:
            actions.delete(call.context, call.caller, row.id, call.web.id)

    return _change_state(call, act)


def console_output(call: Ec2Call) -> Document:
    row = call.context.read(partial(server_of, project_id=call.project_id, name=call.text("InstanceId")))
    output = actions.ask_host(call.context, call.caller, row.id, MachineAction.CONSOLE).output
    encoded = base64.b64encode(output.encode()).decode()
    return {"instanceId": row.instance_id, "timestamp": call.context.now(), "output": encoded}


# Attributes of instances that can be read, one at a time.
ATTRIBUTES: Final[dict[str, Callable[[ServerRow], Any]]] = {
    "instanceType": lambda row: {"value": row.flavor["name"]},
    "userData": lambda row: {"value": row.user_data} if row.user_data else {},
    "disableApiTermination": lambda row: {"value": row.protected},
    "disableApiStop": lambda row: {"value": False},
    "instanceInitiatedShutdownBehavior": lambda row: {"value": row.shutdown_behavior},
    "rootDeviceName": lambda row: {"value": "/dev/vda"},
    "sourceDestCheck": lambda row: {"value": True},
    "ebsOptimized": lambda row: {"value": False},
    "blockDeviceMapping": lambda row: [],
    "productCodes": lambda row: [],
    "groupSet": lambda row: [],
    "kernel": lambda row: {},
    "ramdisk": lambda row: {},
}


def describe_attribute(call: Ec2Call) -> Document:
    name = call.text("Attribute")
    if name not in ATTRIBUTES:
        raise InvalidRequest(f"Unknown attribute {name[:64]}")
    row = call.context.read(partial(server_of, project_id=call.project_id, name=call.text("InstanceId")))
    return {"instanceId": row.instance_id, name: ATTRIBUTES[name](row)}


def modify_attribute(call: Ec2Call) -> Document:
    """One attribute: the type and user data of a stopped instance, protection, what a shutdown does."""
    value = {key: each for key, each in call.parameters.items() if isinstance(each, dict) and "Value" in each}
    name, text = (
        (call.text("Attribute"), call.text("Value"))
        if "Attribute" in call.parameters
        else next(((key[0].lower() + key[1:], str(each["Value"])) for key, each in value.items()), ("", ""))
    )
    call.check_dry_run()

    def work(session: SqlSession) -> None:
        row = server_of(session, call.project_id, call.text("InstanceId"))
        if name == "disableApiTermination":
            change(session, call.context, row, protected=text.lower() == "true")
        elif name == "instanceInitiatedShutdownBehavior" and text in ("stop", "terminate"):
            change(session, call.context, row, shutdown_behavior=text)
        elif name == "userData" and state_of(row) == "stopped":
            change(session, call.context, row, user_data=text)
        elif name in ("userData", "instanceType") and state_of(row) != "stopped":
            raise StateConflict("The instance is not in the state 'stopped'.")
        elif name == "instanceType":
            raise NotOffered("Change the type by the compute API: resize and confirm.")
        elif not (name == "disableApiStop" and text.lower() == "false"):
            raise NotPermitted(f"The attribute {name[:64]} cannot be changed.")

    call.context.run(work)
    return {"return": True}
