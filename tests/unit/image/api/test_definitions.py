"""Metadata definitions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.image.service_in_memory import ADMIN, OTHER, ServiceInMemory

BASE = "/v2/metadefs/namespaces"
PROPERTY = {"title": "Cores", "type": "integer"}


def made(images: ServiceInMemory, **more: object) -> None:
    answer = images.ask("POST", BASE, {"namespace": "n", **more}, token=ADMIN)
    assert (answer.status, answer.headers["Location"]) == (201, f"http://localhost{BASE}/n")


def test_a_namespace(images: ServiceInMemory) -> None:
    parts: dict[str, Any] = {
        "resource_type_associations": [{"name": "OS::Nova::Server"}],
        "properties": {"cores": PROPERTY},
        "objects": [{"name": "o", "required": ["cores"]}],
        "tags": [{"name": "t"}],
    }
    made(images, display_name="d", protected=True, **parts)
    assert images.ask("POST", BASE, {"namespace": "n"}, token=ADMIN).status == 409
    shown = images.ask("GET", f"{BASE}/n", token=ADMIN).json
    assert (shown["visibility"], shown["protected"], shown["owner"]) == ("private", True, "p0")
    assert shown["properties"] == parts["properties"]
    assert [each["name"] for each in (*shown["objects"], *shown["tags"])] == ["o", "t"]
    assert images.ask("GET", f"{BASE}/n", token=OTHER).status == 404
    assert images.ask("GET", BASE, token=OTHER).json["namespaces"] == []
    assert images.ask("DELETE", f"{BASE}/n", token=ADMIN).status == 403
    changed = {"namespace": "m", "visibility": "public"}
    assert images.ask("PUT", f"{BASE}/n", changed, token=OTHER).status == 403
    assert images.ask("PUT", f"{BASE}/n", changed, token=ADMIN).json["namespace"] == "m"
    assert [each["namespace"] for each in images.ask("GET", BASE, token=OTHER).json["namespaces"]] == ["m"]
    assert images.ask("GET", f"{BASE}/m/objects/o", token=OTHER).json["required"] == ["cores"]
    assert images.ask("DELETE", f"{BASE}/m", token=ADMIN).status == 204
    assert images.ask("GET", f"{BASE}/m/objects/o", token=ADMIN).status == 404


@pytest.mark.parametrize(
    ("word", "part", "listed"),
    [
        ("objects", {"name": "x", "description": "d"}, "objects"),
        ("properties", {**PROPERTY, "name": "x"}, "properties"),
        ("resource_types", {"name": "x", "prefix": "hw_"}, "resource_type_associations"),
    ],
)
def test_parts(images: ServiceInMemory, word: str, part: dict[str, str], listed: str) -> None:
    made(images, visibility="public")
    path = f"{BASE}/n/{word}"
    assert images.ask("POST", path, part, token=OTHER).status == 403
    assert images.ask("POST", path, {"colour": "red"}, token=ADMIN).status == 400
    assert images.ask("POST", path, part, token=ADMIN).json.items() >= part.items()
    assert images.ask("POST", path, part, token=ADMIN).status == 409
    assert images.ask("PUT", f"{path}/x", {**part, "name": "y"}, token=ADMIN).json["name"] == "y"
    assert images.ask("GET", f"{path}/x", token=OTHER).status == 404
    found = images.ask("GET", path, token=OTHER).json[listed]
    assert list(found) == ["y"] if word == "properties" else [each["name"] for each in found] == ["y"]
    assert images.ask("DELETE", f"{path}/y", token=ADMIN).status == 204
    assert len(images.ask("GET", path).json[listed]) == 0


def test_tags(images: ServiceInMemory) -> None:
    made(images, visibility="public")
    path = f"{BASE}/n/tags"

    def names() -> list[str]:
        return [each["name"] for each in images.ask("GET", path).json["tags"]]

    assert images.ask("POST", path, {"tags": [{"name": "a"}, {"name": "b"}]}, token=ADMIN).status == 201
    assert images.ask("POST", f"{path}/c", token=ADMIN).status == 201
    assert names() == ["a", "b", "c"]
    assert images.ask("POST", path, {"tags": [{"name": "d"}]}, token=ADMIN).status == 201
    assert names() == ["d"]
    assert images.ask("DELETE", path, token=ADMIN).status == 204
    assert names() == []


def test_schemas_and_resource_types(images: ServiceInMemory) -> None:
    for name in ("namespace", "object", "property", "tag", "resource_type"):
        plural = "properties" if name == "property" else f"{name}s"
        assert images.ask("GET", f"/v2/schemas/metadefs/{name}").json["name"].startswith(name)
        assert images.ask("GET", f"/v2/schemas/metadefs/{plural}").json["name"].startswith(plural[:-1])
    assert {"name": "OS::Glance::Image"} in images.ask("GET", "/v2/metadefs/resource_types").json["resource_types"]
