"""Images: those of the image service, with ids of this API."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from objstore.compute.core import actions
from objstore.compute.ec2.ids import image_uuid, remember, server_of
from objstore.compute.ec2.messages import Ec2Call, matches, page
from objstore.compute.errors import InvalidRequest, NotOffered, StateConflict, no_such

Document = dict[str, Any]
STATES: Final = {
    "active": "available",
    "queued": "pending",
    "saving": "pending",
    "uploading": "pending",
    "importing": "pending",
    "killed": "failed",
    "deactivated": "disabled",
}


def _shown(image: Document, name: str) -> Document:
    """An item of imagesSet."""
    return {
        "imageId": name,
        "imageLocation": f"{image.get('owner')}/{image.get('name')}",
        "imageState": STATES.get(image["status"], "failed"),
        "imageOwnerId": image.get("owner"),
        "isPublic": image.get("visibility") == "public",
        "architecture": image.get("architecture") or image.get("hw_architecture") or "x86_64",
        "imageType": "machine",
        "name": image.get("name") or image["id"],
        "description": image.get("description"),
        "creationDate": image.get("created_at", "").replace("Z", ".000Z"),
        "rootDeviceType": "instance-store",
        "rootDeviceName": "/dev/vda",
        "blockDeviceMapping": [],
        "virtualizationType": "hvm",
        "hypervisor": "xen",
        "platformDetails": "Linux/UNIX",
        "tagSet": [{"key": "instance_uuid", "value": image["instance_uuid"]}] if "instance_uuid" in image else [],
    }


def describe_images(call: Ec2Call) -> Document:
    wanted = call.texts("ImageId")
    owners = ["self" if name == call.project_id else name for name in call.texts("Owner")]
    for name in wanted:
        call.context.read(partial(image_uuid, name=name))
    found = call.context.images.list(call.caller.token, {"limit": "1000"})
    names = remember(call.context, "ami", [image["id"] for image in found])
    items = []
    for image in found:
        name = names[image["id"]]
        owner = "self" if image.get("owner") == call.project_id else image.get("owner")
        if (wanted and name not in wanted) or (owners and owner not in owners):
            continue
        shown = _shown(image, name)
        if _passes(call.filters(), shown):
            items.append(shown)
    if (missing := set(wanted) - set(names.values())) and not call.filters():
        raise no_such("image", sorted(missing)[0])
    listed, token = page(call, items)
    return {"imagesSet": listed, "nextToken": token}


FILTERS: Final = {
    "image-id": "imageId",
    "name": "name",
    "state": "imageState",
    "architecture": "architecture",
    "owner-id": "imageOwnerId",
    "is-public": "isPublic",
    "image-type": "imageType",
    "root-device-type": "rootDeviceType",
    "virtualization-type": "virtualizationType",
    "description": "description",
    "hypervisor": "hypervisor",
}


def _passes(filters: list[tuple[str, list[str]]], shown: Document) -> bool:
    for name, values in filters:
        if name not in FILTERS:
            raise InvalidRequest(f"The filter '{name[:64]}' is invalid")
        have = shown[FILTERS[name]]
        text = None if have is None else str(have).lower() if isinstance(have, bool) else str(have)
        if not matches(values, [text]):
            return False
    return True


def create_image(call: Ec2Call) -> Document:
    """A live snapshot. Without NoReboot Amazon stops the machine for it; here that is not needed."""
    call.check_dry_run()
    row = call.context.read(partial(server_of, project_id=call.project_id, name=call.text("InstanceId")))
    metadata = {"description": text} if (text := call.optional("Description")) else {}
    image = actions.snapshot(call.context, call.caller, row.id, call.text("Name"), metadata, call.web.id)
    return {"imageId": remember(call.context, "ami", [image])[image]}


def deregister_image(call: Ec2Call) -> Document:
    call.check_dry_run()
    uuid = call.context.read(partial(image_uuid, name=call.text("ImageId")))
    try:
        call.context.images.delete(call.caller.token, uuid)
    except StateConflict as error:
        raise InvalidRequest(str(error)) from error
    return {"return": True}


def register_image(call: Ec2Call) -> Document:
    raise NotOffered("Images are registered by the image service: openstack image create.")
