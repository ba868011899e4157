"""Images, members and tasks as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from objstore.image.measuring import HASH_ALGORITHM
from objstore.image.reclaimer import TASKS_KEPT_SECONDS
from objstore.image.records import ImageMember, ImageRecord, ImageTask

Document = dict[str, Any]


def shown_time(microseconds: int) -> str:
    """2014-05-05T17:15:10Z."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def attributes_of(image: ImageRecord) -> Document:
    """What users set: the writable attributes, and their own properties."""
    own = {each.name: each.value for each in image.properties if not each.name.startswith("os_glance_")}
    return {
        **own,
        "name": image.name,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": image.os_hidden,
        "owner": image.owner,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "tags": [each.value for each in image.tags],
        "disk_format": image.disk_format,
        "container_format": image.container_format,
    }


def image_document(image: ImageRecord) -> Document:
    stores = ",".join(each.store for each in image.kept_data)
    return {
        **{each.name: each.value for each in image.properties},
        **attributes_of(image),
        "id": image.id,
        "status": image.status,
        "checksum": image.checksum,
        "os_hash_algo": HASH_ALGORITHM if image.os_hash_value else None,
        "os_hash_value": image.os_hash_value,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "created_at": shown_time(image.created_at),
        "updated_at": shown_time(image.updated_at),
        **({"stores": stores} if stores else {}),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


def member_document(member: ImageMember) -> Document:
    return {
        "member_id": member.member,
        "image_id": member.image_id,
        "status": member.status,
        "created_at": shown_time(member.created_at),
        "updated_at": shown_time(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def task_document(task: ImageTask) -> Document:
    ended = task.status in ("success", "failure")
    expires = shown_time(task.updated_at + TASKS_KEPT_SECONDS * 1_000_000) if ended else None
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "image_id": task.image_id,
        "input": msgspec.json.decode(task.input),
        "result": msgspec.json.decode(task.result),
        "message": task.message,
        "created_at": shown_time(task.created_at),
        "updated_at": shown_time(task.updated_at),
        "expires_at": expires,
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }
