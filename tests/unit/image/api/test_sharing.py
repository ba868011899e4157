"""Members, tags, and what describes the service."""

from __future__ import annotations

from tests.unit.image.service_in_memory import ADMIN, OTHER, SERVICE, ServiceInMemory


def test_members(images: ServiceInMemory) -> None:
    image = images.active(name="n")
    members = f"/v2/images/{image}/members"
    assert images.ask("POST", members, {}).status == 400
    added = images.ask("POST", members, {"member": "p2"})
    assert (added.status, added.json["status"], added.json["member_id"]) == (200, "pending", "p2")
    assert images.ask("POST", members, {"member": "p2"}).status == 409
    assert images.shown(image, OTHER)["id"] == image
    assert images.ask("GET", f"/v2/images/{image}/file", token=OTHER).body == b"content"
    assert images.listed(token=OTHER) == []
    assert images.listed("visibility=shared&member_status=pending", token=OTHER) == ["n"]
    assert images.listed("member_status=all", token=OTHER) == ["n"]
    assert images.ask("PUT", f"{members}/p2", {"status": "accepted"}).status == 403
    assert images.ask("PUT", f"{members}/p2", {"status": "perhaps"}, token=OTHER).status == 400
    assert images.ask("PUT", f"{members}/p2", {"status": "accepted"}, token=OTHER).json["status"] == "accepted"
    assert images.listed(token=OTHER) == ["n"]
    assert images.ask("POST", members, {"member": "p3"}, token=OTHER).status == 403
    images.ask("POST", members, {"member": "p3"})
    assert [each["member_id"] for each in images.ask("GET", members).json["members"]] == ["p2", "p3"]
    assert [each["member_id"] for each in images.ask("GET", members, token=OTHER).json["members"]] == ["p2"]
    assert images.ask("GET", f"{members}/p3", token=OTHER).status == 404
    assert images.ask("GET", f"{members}/p2").json["status"] == "accepted"
    assert images.ask("DELETE", f"{members}/p2", token=OTHER).status == 403
    assert images.ask("DELETE", f"{members}/p2").status == 204
    assert images.ask("DELETE", f"{members}/p2").status == 404
    assert images.ask("GET", f"/v2/images/{image}", token=OTHER).status == 404


def test_only_shared_images_have_members(images: ServiceInMemory) -> None:
    image = images.create(visibility="private")
    assert images.ask("POST", f"/v2/images/{image}/members", {"member": "p2"}).status == 403
    assert images.ask("GET", f"/v2/images/{image}/members").status == 403
    assert images.ask("GET", f"/v2/images/{image}/members", token=OTHER).status == 404


def test_members_are_limited(images: ServiceInMemory) -> None:
    image = images.create()
    for number in range(128):
        images.ask("POST", f"/v2/images/{image}/members", {"member": f"m{number}"})
    assert images.ask("POST", f"/v2/images/{image}/members", {"member": "one more"}).status == 413


def test_tags(images: ServiceInMemory) -> None:
    image = images.create()
    tag = f"/v2/images/{image}/tags/"
    for _ in range(2):
        assert images.ask("PUT", tag + "a%20b").status == 204
    assert images.shown(image)["tags"] == ["a b"]
    assert images.ask("PUT", tag + "t" * 256).status == 400
    assert images.ask("DELETE", tag + "a%20b").status == 204
    assert images.ask("DELETE", tag + "a%20b").status == 404
    assert images.ask("PUT", tag + "x", token=OTHER).status == 404
    images.replace(image, "tags", [str(number) for number in range(128)])
    assert images.ask("PUT", tag + "one-more").status == 413
    assert images.ask("PUT", tag + "7").status == 204


def test_discovery(images: ServiceInMemory) -> None:
    for path, status in (("/", 300), ("/v2/", 300), ("/versions", 200)):
        answer = images.ask("GET", path, token="")
        assert answer.status == status
        assert answer.json["versions"][0]["id"] == "v2.9"
        assert {each["status"] for each in answer.json["versions"]} == {"CURRENT", "SUPPORTED"}
    assert images.ask("GET", "/v2/info/import").json["import-methods"]["value"][0] == "glance-direct"
    stores = images.ask("GET", "/v2/info/stores").json["stores"]
    assert stores == [{"id": "first", "default": "true"}, {"id": "second"}]
    assert images.ask("GET", "/v2/info/stores/detail").status == 403
    detail = images.ask("GET", "/v2/info/stores/detail", token=ADMIN).json["stores"]
    assert detail[1] == {"id": "second", "type": "memory", "properties": {}}
    for name in ("image", "images", "member", "members", "task", "tasks"):
        assert images.ask("GET", f"/v2/schemas/{name}").json["name"] == name
    assert images.ask("GET", "/v2/schemas/house").status == 404
    image = images.active()
    assert images.ask("GET", f"/v2/images/{image}/locations").status == 403
    locations = images.ask("GET", f"/v2/images/{image}/locations", token=SERVICE).json
    assert locations[0]["metadata"] == {"store": "first"}


def test_images_of_the_api_match_their_schema(images: ServiceInMemory) -> None:
    shown = images.shown(images.active(colour="red"))
    properties = images.ask("GET", "/v2/schemas/image").json["properties"]
    assert shown.keys() - {"colour"} == properties.keys()
