"""Changes to an image in the two forms of JSON patch that the API knows (RFC 6902, one level deep)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from objstore.errors import StoreError
from objstore.image.model.attributes import BASE, BadValue, NotChangeable, checked

OPERATIONS: Final = ("add", "replace", "remove")
MEDIA_TYPES: Final = (
    "application/openstack-images-v2.1-json-patch",
    "application/openstack-images-v2.0-json-patch",
)
CHANGES_MAX: Final = 1000
BAD_ESCAPE: Final = re.compile(r"~(?![01])")


@dataclass(eq=False)
class NoSuchProperty(StoreError):
    """A change of a property that the image does not have."""

    message: ClassVar[str] = "Property {name} does not exist."

    name: str


@dataclass(frozen=True)
class AttributeChange:
    """One change; `value` counts for add and replace."""

    operation: str
    name: str
    value: Any = None


def parsed_changes(document: object, media_type: str) -> list[AttributeChange]:
    """The changes that a body of one of MEDIA_TYPES asks for. Raises BadValue, NotChangeable."""
    if not isinstance(document, list) or len(document) > CHANGES_MAX:
        raise BadValue(f"Request body must be a JSON array of at most {CHANGES_MAX} operation objects.")
    return [_change(entry, old_form=media_type == MEDIA_TYPES[1]) for entry in document]


def _change(entry: object, old_form: bool) -> AttributeChange:
    if not isinstance(entry, dict):
        raise BadValue("Operations must be JSON objects.")
    if old_form:
        named = [each for each in OPERATIONS if each in entry]
        if len(named) != 1:
            raise BadValue("Operation objects must contain only one member named 'add', 'remove', or 'replace'.")
        operation: object = named[0]
        path: object = entry[named[0]]
    else:
        operation, path = entry.get("op"), entry.get("path")
        if operation not in OPERATIONS:
            raise BadValue(f"Unable to find '{', '.join(OPERATIONS)}' in JSON Schema change: {operation!r:.50}")
    if operation != "remove" and "value" not in entry:
        raise BadValue(f"Operation '{operation}' requires a member named 'value'.")
    return AttributeChange(str(operation), _name(path), entry.get("value"))


def _name(path: object) -> str:
    """The attribute that a JSON pointer names. Raises BadValue, NotChangeable."""
    if not isinstance(path, str) or not path.startswith("/") or path.endswith("/") or "//" in path:
        raise BadValue(f"Pointer {path!r:.100} does not name an attribute.")
    if BAD_ESCAPE.search(path):
        raise BadValue(f"Pointer {path!r:.100} contains '~' not part of a recognized escape sequence.")
    first, *deeper = path[1:].split("/")
    if first == "locations":
        raise NotChangeable(first, "is read-only")
    if deeper:
        raise BadValue(f"Pointer {path!r:.100} is too deep: attributes have no parts.")
    return first.replace("~1", "/").replace("~0", "~")


def changed(attributes: Mapping[str, Any], changes: list[AttributeChange]) -> dict[str, Any]:
    """The attributes after all changes. Raises BadValue, NotChangeable, NoSuchProperty; then none is meant."""
    result = dict(attributes)
    for change in changes:
        if change.operation == "remove":
            if change.name in BASE:
                raise NotChangeable(change.name, "may not be removed")
            checked(change.name, "")
            if change.name not in result:
                raise NoSuchProperty(change.name)
            del result[change.name]
            continue
        value = checked(change.name, change.value)
        if change.operation == "replace" and change.name not in result:
            raise NoSuchProperty(change.name)
        result[change.name] = value
    return result
