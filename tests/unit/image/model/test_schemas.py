"""The schemas say what the attributes' rules say."""

from __future__ import annotations

from objstore.image.model.attributes import BASE, READ_ONLY
from objstore.image.model.schemas import SCHEMAS


def test_the_schema_of_an_image_has_its_attributes() -> None:
    properties = SCHEMAS["image"]["properties"]
    assert properties.keys() == BASE - {"direct_url", "locations"}
    read_only = {name for name, rule in properties.items() if rule.get("readOnly")}
    assert read_only == READ_ONLY - {"direct_url", "locations", "id"}  # an id may be given at creation


def test_lists_hold_what_they_are_lists_of() -> None:
    for name in ("image", "member", "task"):
        assert SCHEMAS[f"{name}s"]["properties"][f"{name}s"]["items"] == SCHEMAS[name]
