"""JSON patch in both forms, and what it may not touch."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.image.model.attributes import BadValue, ImageLimits, LimitExceeded, NotChangeable
from objstore.image.model.patch import MEDIA_TYPES, NoSuchProperty, changed, parsed_changes

IMAGE = {"name": "a", "min_ram": 0, "tags": [], "visibility": "shared", "disk_format": None, "colour": "red"}


def patched(*changes: dict[str, Any], form: int = 0) -> dict[str, Any]:
    """What is other than before; None for what is gone."""
    after = changed(IMAGE, parsed_changes(list(changes), MEDIA_TYPES[form]))
    return {name: after.get(name) for name in after.keys() | IMAGE.keys() if after.get(name) != IMAGE.get(name)}


def test_add_replace_remove() -> None:
    changes = [
        {"op": "replace", "path": "/name", "value": "b"},
        {"op": "add", "path": "/min_ram", "value": 512},
        {"op": "add", "path": "/size~1of~0it", "value": "large"},
        {"op": "remove", "path": "/colour"},
    ]
    assert patched(*changes) == {"name": "b", "min_ram": 512, "size/of~it": "large", "colour": None}


def test_the_old_form() -> None:
    assert patched({"replace": "/name", "value": "b"}, {"remove": "/colour"}, form=1) == {"name": "b", "colour": None}


def test_changes_see_those_before_them() -> None:
    assert patched({"op": "add", "path": "/x", "value": "1"}, {"op": "replace", "path": "/x", "value": "2"}) == {
        "x": "2"
    }


def test_tags_are_a_set() -> None:
    assert patched({"op": "replace", "path": "/tags", "value": ["b", "a", "b"]}) == {"tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("document", "form"),
    [
        ({"op": "remove", "path": "/x"}, 0),
        (["remove"], 0),
        ([{"op": "move", "path": "/x", "value": "y"}], 0),
        ([{"op": "add", "path": "/x"}], 0),
        ([{"path": "/x", "value": "y"}], 0),
        ([{"op": "add", "value": "y"}], 0),
        ([{"op": "add", "path": "x", "value": "y"}], 0),
        ([{"op": "add", "path": "/x/", "value": "y"}], 0),
        ([{"op": "add", "path": "/x//y", "value": "y"}], 0),
        ([{"op": "add", "path": "/x/y", "value": "y"}], 0),
        ([{"op": "add", "path": "/x~2", "value": "y"}], 0),
        ([{"op": "add", "path": "/", "value": "y"}], 0),
        ([{"add": "/x", "remove": "/y", "value": "y"}], 1),
        ([{"op": "remove", "path": "/x"}] * 1001, 0),
    ],
)
def test_malformed_changes(document: object, form: int) -> None:
    with pytest.raises(BadValue):
        parsed_changes(document, MEDIA_TYPES[form])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", 5),
        ("name", "n" * 256),
        ("visibility", "everyone"),
        ("protected", "true"),
        ("min_ram", -1),
        ("min_ram", True),
        ("min_disk", 2**31),
        ("tags", "a"),
        ("tags", [""]),
        ("disk_format", "floppy"),
        ("container_format", "box"),
        ("colour", 7),
        ("colour", None),
        ("colour", "c" * 65_536),
        ("c" * 256, "v"),
    ],
)
def test_bad_values(name: str, value: object) -> None:
    with pytest.raises(BadValue):
        patched({"op": "add", "path": f"/{name}", "value": value})


@pytest.mark.parametrize(
    "name", ["id", "status", "size", "checksum", "locations", "deleted", "os_glance_failed", "owner"]
)
@pytest.mark.parametrize("operation", ["add", "replace", "remove"])
def test_cve_2016_0757_what_the_service_says_is_not_changed(name: str, operation: str) -> None:
    if (name, operation) in (("owner", "add"), ("owner", "replace")):
        return  # a right, which the rules of access decide
    with pytest.raises(NotChangeable):
        patched({"op": operation, "path": f"/{name}", "value": "active"})


def test_base_attributes_are_not_removed() -> None:
    with pytest.raises(NotChangeable, match="may not be removed"):
        patched({"op": "remove", "path": "/name"})


@pytest.mark.parametrize("operation", ["replace", "remove"])
def test_a_property_that_is_missing(operation: str) -> None:
    with pytest.raises(NoSuchProperty):
        patched({"op": operation, "path": "/size", "value": "x"} | {"path": "/weight"})


def test_limits_hold_what_grows() -> None:
    limits = ImageLimits(properties=2, tags=1)
    many = {"name": "a", "p1": "", "p2": "", "p3": "", "tags": []}
    with pytest.raises(LimitExceeded, match="at most 2 properties"):
        limits.check(many, {})
    limits.check(many, many)
    with pytest.raises(LimitExceeded, match="at most 1 tags"):
        limits.check({"tags": ["a", "b"]}, {"tags": ["a"]})
