"""The JSON schemas of what the API answers: clients build their models from them, and check changes by them."""

from __future__ import annotations

from typing import Any, Final

from objstore.image.model.attributes import (
    CONTAINER_FORMATS,
    DISK_FORMATS,
    MEMBER_STATUSES,
    NUMBER_MAX,
    TEXT_MAX,
    VISIBILITIES,
)
from objstore.image.model.statuses import STATUSES

Schema = dict[str, Any]
DEFINITION_NAME_MAX: Final = 80
UUID_PATTERN: Final = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"


def _text(description: str, longest: int = TEXT_MAX, **more: Any) -> Schema:
    return {"type": "string", "maxLength": longest, "description": description, **more}


def _optional(description: str, longest: int = TEXT_MAX, **more: Any) -> Schema:
    return {"type": ["null", "string"], "maxLength": longest, "description": description, **more}


def _choice(description: str, choices: tuple[str, ...]) -> Schema:
    return {"type": ["null", "string"], "enum": [None, *choices], "description": description}


def _count(description: str, types: object = "integer", **more: Any) -> Schema:
    return {"type": types, "description": description, **more}


_IMAGE: Final[Schema] = {
    "id": _text("An identifier for the image", pattern=UUID_PATTERN),
    "name": _optional("Descriptive name for the image"),
    "status": {
        "type": "string",
        "enum": sorted(STATUSES),
        "readOnly": True,
        "description": "Status of the image",
    },
    "visibility": {"type": "string", "enum": list(VISIBILITIES), "description": "Scope of image accessibility"},
    "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
    "os_hidden": {"type": "boolean", "description": "If true, image will not appear in default image list response."},
    "checksum": _optional("md5 hash of image contents.", 32, readOnly=True),
    "os_hash_algo": _optional("Algorithm to calculate the os_hash_value", 64, readOnly=True),
    "os_hash_value": _optional("Hexdigest of the image contents", 128, readOnly=True),
    "owner": _optional("Owner of the image"),
    "size": _count("Size of image file in bytes", ["null", "integer"], readOnly=True),
    "virtual_size": _count("Virtual size of image in bytes", ["null", "integer"], readOnly=True),
    "container_format": _choice("Format of the container", CONTAINER_FORMATS),
    "disk_format": _choice("Format of the disk", DISK_FORMATS),
    "created_at": _text("Date and time of image registration", readOnly=True),
    "updated_at": _text("Date and time of the last image modification", readOnly=True),
    "tags": {"type": "array", "items": {"type": "string", "maxLength": TEXT_MAX}, "description": "Tags of the image"},
    "min_ram": _count("Amount of ram (in MB) required to boot image.", minimum=0, maximum=NUMBER_MAX),
    "min_disk": _count("Amount of disk space (in GB) required to boot image.", minimum=0, maximum=NUMBER_MAX),
    "stores": _text("Stores that have the image's data", 65_535, readOnly=True),
    "self": _text("An URL for the image itself", readOnly=True),
    "file": _text("An URL for the image's data", readOnly=True),
    "schema": _text("An URL for the schema of the image", readOnly=True),
}
_MEMBER: Final[Schema] = {
    "member_id": _text("An identifier for the image member (projectId)"),
    "image_id": _text("An identifier for the image", pattern=UUID_PATTERN),
    "created_at": _text("Date and time of image member creation"),
    "updated_at": _text("Date and time of last modification of image member"),
    "status": {"type": "string", "enum": list(MEMBER_STATUSES), "description": "The status of this image member"},
    "schema": {"type": "string", "readOnly": True},
}
_TASK: Final[Schema] = {
    "id": _text("An identifier for the task", pattern=UUID_PATTERN),
    "type": {"type": "string", "description": "The type of task represented by this content"},
    "status": {
        "type": "string",
        "enum": ["pending", "processing", "success", "failure"],
        "description": "The current status of this task",
    },
    "input": {"type": ["null", "object"], "description": "The parameters required by task"},
    "result": {"type": ["null", "object"], "description": "The result of current task"},
    "owner": _text("An identifier for the owner of this task"),
    "message": {"type": "string", "description": "Human-readable informative message only included when appropriate"},
    "image_id": _optional("Image associated with the task"),
    "request_id": _optional("Human-readable informative request-id"),
    "user_id": _optional("User associated with the task"),
    "expires_at": _optional("Datetime when this resource would be subject to removal"),
    "created_at": _text("Datetime when this resource was created"),
    "updated_at": _text("Datetime when this resource was updated"),
    "self": {"type": "string", "readOnly": True},
    "schema": {"type": "string", "readOnly": True},
}
_PAGE_LINKS: Final = [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}]
_SELF_LINKS: Final = [
    {"rel": "self", "href": "{self}"},
    {"rel": "enclosure", "href": "{file}"},
    {"rel": "describedby", "href": "{schema}"},
]
_IMAGE_SCHEMA: Final[Schema] = {
    "name": "image",
    "properties": _IMAGE,
    "additionalProperties": {"type": "string"},
    "links": _SELF_LINKS,
}
_MEMBER_SCHEMA: Final[Schema] = {"name": "member", "properties": _MEMBER}
_TASK_SCHEMA: Final[Schema] = {"name": "task", "properties": _TASK}


def _list_of(schema: Schema, paged: bool) -> Schema:
    name = f"{schema['name']}s"
    properties: Schema = {name: {"type": "array", "items": schema}, "schema": {"type": "string"}}
    if not paged:
        return {"name": name, "properties": properties, "links": [{"rel": "describedby", "href": "{schema}"}]}
    properties |= {"first": {"type": "string"}, "next": {"type": "string"}}
    return {"name": name, "properties": properties, "links": [*_PAGE_LINKS, _SELF_LINKS[2]]}


SCHEMAS: Final[dict[str, Schema]] = {
    "image": _IMAGE_SCHEMA,
    "images": _list_of(_IMAGE_SCHEMA, paged=True),
    "member": _MEMBER_SCHEMA,
    "members": _list_of(_MEMBER_SCHEMA, paged=False),
    "task": _TASK_SCHEMA,
    "tasks": _list_of(_TASK_SCHEMA, paged=True),
}


_DEFINED: Final[Schema] = {
    "created_at": {"type": "string", "readOnly": True},
    "updated_at": {"type": "string", "readOnly": True},
    "self": {"type": "string"},
    "schema": {"type": "string"},
}
_NAME: Final[Schema] = {"name": {"type": "string", "maxLength": DEFINITION_NAME_MAX}}
_DESCRIPTION: Final[Schema] = {"description": {"type": "string"}}
_PROPERTY: Final[Schema] = {
    "type": "object",
    "required": ["title", "type"],
    "properties": {
        **_NAME,
        **_DESCRIPTION,
        "title": {"type": "string"},
        "type": {"type": "string", "enum": ["array", "boolean", "integer", "number", "object", "string", None]},
        "operators": {"type": "array", "items": {"type": "string"}},
        "enum": {"type": "array"},
        "items": {"type": "object"},
        "default": {},
        "readonly": {"type": "boolean"},
        **{each: {"type": "number"} for each in ("minimum", "maximum")},
        **{each: {"type": "integer"} for each in ("minLength", "maxLength", "minItems", "maxItems")},
        **{each: {"type": "boolean"} for each in ("uniqueItems", "additionalItems")},
        "pattern": {"type": "string"},
    },
}
_NAMED: Final[Schema] = {
    "object": {
        **_NAME,
        **_DESCRIPTION,
        "required": {"type": "array", "items": {"type": "string"}},
        "properties": {"type": "object", "additionalProperties": _PROPERTY},
        **_DEFINED,
    },
    "tag": {**_NAME, **_DEFINED},
    "resource_type_association": {
        **_NAME,
        "prefix": {"type": "string", "maxLength": DEFINITION_NAME_MAX},
        "properties_target": {"type": "string", "maxLength": DEFINITION_NAME_MAX},
        **_DEFINED,
    },
}
_NAMESPACE: Final[Schema] = {
    "namespace": {"type": "string", "maxLength": DEFINITION_NAME_MAX},
    "display_name": {"type": "string", "maxLength": DEFINITION_NAME_MAX},
    "description": {"type": "string"},
    "visibility": {"type": "string", "enum": ["public", "private"]},
    "protected": {"type": "boolean"},
    "owner": _text("Owner of the namespace."),
    **_DEFINED,
    "resource_type_associations": {"type": "array", "items": {"type": "object"}},
    "properties": {"type": "object", "additionalProperties": _PROPERTY},
    "objects": {"type": "array", "items": {"type": "object"}},
    "tags": {"type": "array", "items": {"type": "object"}},
}


def _definition(name: str, properties: Schema, required: str) -> Schema:
    return {"name": name, "properties": properties, "required": [required], "additionalProperties": False}


_DEFINITIONS: Final[dict[str, Schema]] = {
    "namespace": _definition("namespace", _NAMESPACE, "namespace"),
    "object": _definition("object", _NAMED["object"], "name"),
    "tag": _definition("tag", _NAMED["tag"], "name"),
    "resource_type": _definition("resource_type_association", _NAMED["resource_type_association"], "name"),
}
DEFINITION_SCHEMAS: Final[dict[str, Schema]] = {
    **_DEFINITIONS,
    **{f"{name}s": _list_of(schema, paged=name != "resource_type") for name, schema in _DEFINITIONS.items()},
    "property": {**_PROPERTY, "name": "property"},
    "properties": {
        "name": "properties",
        "properties": {"properties": {"type": "object", "additionalProperties": _PROPERTY}},
    },
}
