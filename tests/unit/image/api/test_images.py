"""Images as records."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.unit.image.service_in_memory import ADMIN, OTHER, OWNER, READER, ServiceInMemory

BASE = {
    *(
        "name",
        "visibility",
        "protected",
        "os_hidden",
        "owner",
        "min_ram",
        "min_disk",
        "tags",
        "disk_format",
        "container_format",
    ),
    *("id", "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at", "updated_at"),
    *("self", "file", "schema"),
}


def test_a_new_image(images: ServiceInMemory) -> None:
    answer = images.ask("POST", "/v2/images", {"name": "n", "colour": "red", "tags": ["b", "a", "b"]})
    image = answer.json["id"]
    assert answer.status == 201
    assert answer.headers["Location"] == f"http://localhost/v2/images/{image}"
    assert answer.headers["OpenStack-image-import-methods"] == "glance-direct,web-download,copy-image"
    assert answer.json.keys() == BASE | {"colour"}
    shown = images.shown(image)
    assert shown == answer.json
    assert (shown["status"], shown["visibility"], shown["owner"]) == ("queued", "shared", "p1")
    assert (shown["tags"], shown["colour"], shown["size"]) == (["a", "b"], "red", None)
    assert shown["created_at"] == shown["updated_at"] == "2023-11-14T22:13:20Z"
    assert (shown["self"], shown["file"]) == (f"/v2/images/{image}", f"/v2/images/{image}/file")


def test_an_id_may_be_given_once(images: ServiceInMemory) -> None:
    image = str(uuid4())
    assert images.ask("POST", "/v2/images", {"id": image}).status == 201
    assert images.ask("POST", "/v2/images", {"id": image}).status == 409
    images.ask("DELETE", f"/v2/images/{image}")
    assert images.ask("POST", "/v2/images", {"id": image}).status == 409


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ([], 400),
        ({"id": "x"}, 400),
        ({"min_ram": -1}, 400),
        ({"weight": 5}, 400),
        ({"status": "active"}, 403),
        ({"os_glance_x": "y"}, 403),
        ({"owner": "p2"}, 403),
        ({"visibility": "public"}, 403),
        ({f"p{number}": "" for number in range(129)}, 413),
        ({"tags": [str(number) for number in range(129)]}, 413),
    ],
)
def test_images_that_are_not_created(images: ServiceInMemory, document: object, status: int) -> None:
    assert images.ask("POST", "/v2/images", document).status == status


def test_readers_only_read(images: ServiceInMemory) -> None:
    image = images.active(name="n")
    assert images.ask("POST", "/v2/images", {}, token=READER).status == 403
    assert images.replace(image, "name", "m", token=READER).status == 403
    assert images.ask("DELETE", f"/v2/images/{image}", token=READER).status == 403
    assert images.ask("GET", f"/v2/images/{image}/file", token=READER).body == b"content"


@pytest.mark.parametrize(
    ("visibility", "by_id", "in_list"),
    [("private", 404, False), ("shared", 404, False), ("community", 200, False), ("public", 200, True)],
)
def test_what_other_projects_see(images: ServiceInMemory, visibility: str, by_id: int, in_list: bool) -> None:
    image = images.create(ADMIN, name="n", visibility=visibility, owner="p1")
    assert images.ask("GET", f"/v2/images/{image}", token=OTHER).status == by_id
    assert images.listed(token=OTHER) == ["n"] * in_list
    assert images.listed(f"visibility={visibility}", token=OTHER) == ["n"] * (by_id == 200)
    assert images.listed("visibility=all", token=OTHER) == ["n"] * (by_id == 200)
    assert images.replace(image, "name", "m", token=OTHER).status == {404: 404, 200: 403}[by_id]
    assert images.listed(token=OWNER) == ["n"]
    assert images.shown(image, ADMIN)["name"] == "n"


def test_hidden_images_are_listed_on_request(images: ServiceInMemory) -> None:
    image = images.create(name="n", os_hidden=True)
    assert images.listed() == []
    assert images.listed("os_hidden=true") == ["n"]
    assert images.shown(image)["os_hidden"] is True


def test_a_patch_is_done_whole_or_not_at_all(images: ServiceInMemory) -> None:
    image = images.create(name="n", colour="red")
    good = {"op": "replace", "path": "/name", "value": "m"}
    assert images.patch(image, good, {"op": "remove", "path": "/weight"}).status == 409
    assert images.patch(image, good, {"op": "remove", "path": "/name"}).status == 403
    assert images.shown(image)["name"] == "n"
    changed = images.patch(
        image, good, {"op": "remove", "path": "/colour"}, {"op": "add", "path": "/a~1b", "value": "c"}
    )
    assert changed.status == 200
    assert changed.json == images.shown(image)
    assert (changed.json["name"], changed.json["a/b"], "colour" in changed.json) == ("m", "c", False)


def test_a_patch_of_another_type(images: ServiceInMemory) -> None:
    answer = images.patch(images.create(), kind="application/json")
    assert answer.status == 415
    assert "openstack-images-v2.1-json-patch" in answer.headers["Accept-Patch"]


def test_formats_are_fixed_once_there_is_data(images: ServiceInMemory) -> None:
    image = images.create()
    assert images.replace(image, "disk_format", "qcow2").status == 200
    assert images.replace(image, "disk_format", "raw").status == 200
    assert images.upload(image) == 204
    assert images.replace(image, "disk_format", "raw").status == 200  # nothing changes
    assert images.replace(image, "disk_format", "qcow2").status == 403


def test_publishing_needs_an_administrator(images: ServiceInMemory) -> None:
    image = images.create()
    assert images.replace(image, "visibility", "public").status == 403
    assert images.replace(image, "visibility", "community").status == 200
    assert images.replace(image, "visibility", "public", ADMIN).status == 200
    assert images.replace(image, "visibility", "private").status == 403
    assert images.replace(image, "owner", "p2").status == 403
    assert images.replace(image, "owner", "p2", ADMIN).status == 200


def test_properties_are_limited(images: ServiceInMemory) -> None:
    image = images.create(**{f"p{number}": "" for number in range(128)})
    assert images.patch(image, {"op": "add", "path": "/q", "value": ""}).status == 413
    assert images.patch(image, {"op": "remove", "path": "/p0"}, {"op": "add", "path": "/q", "value": ""}).status == 200


def test_deletion(images: ServiceInMemory) -> None:
    image = images.active(protected=True)
    assert images.ask("DELETE", f"/v2/images/{image}").status == 403
    images.replace(image, "protected", False)
    assert images.ask("DELETE", f"/v2/images/{image}", token=OTHER).status == 404
    assert images.ask("DELETE", f"/v2/images/{image}").status == 204
    for method in ("GET", "DELETE"):
        assert images.ask(method, f"/v2/images/{image}").status == 404
    images.reclaimer.reclaim()
    assert images.first.objects == {}
    assert images.listed("visibility=all", token=ADMIN) == []


def test_deleted_images_are_forgotten_in_the_end(images: ServiceInMemory) -> None:
    image = images.create()
    images.ask("DELETE", f"/v2/images/{image}")
    images.later(31 * 86_400)
    images.reclaimer.reclaim()
    assert images.ask("POST", "/v2/images", {"id": image}).status == 201


def test_filters(images: ServiceInMemory) -> None:
    images.active(b"12345", name="five", colour="red", tags=["x", "y"])
    images.later(100)
    images.create(name="none", min_ram=512, tags=["x"], disk_format="iso")
    for query, names in {
        "name=five": ["five"],
        "name=in:five,none": ["none", "five"],
        "status=active": ["five"],
        "colour=red": ["five"],
        "colour=blue": [],
        "tag=x": ["none", "five"],
        "tag=x&tag=y": ["five"],
        "size_min=5&size_max=5": ["five"],
        "size_min=6": [],
        "min_ram=512": ["none"],
        "disk_format=in:iso,raw": ["none", "five"],
        "created_at=gt:2023-11-14T22:13:21Z": ["none"],
        "created_at=lte:2023-11-14T22:13:20Z": ["five"],
        "created_at=eq:2023-11-14T22:13:20Z": ["five"],
        "created_at=neq:2023-11-14T22:13:20Z": ["none"],
        "owner=p1&os_hash_algo=sha512": ["five"],
        "protected=true": [],
        "self=x": [],
    }.items():
        assert images.listed(query) == names, query
    assert images.ask("GET", "/v2/images?marker=x").status == 400
    assert images.ask("GET", "/v2/images?name=%ff").status == 400
    assert images.ask("GET", "/v2/images?limit=0").json["images"] == []


@pytest.mark.parametrize("sort", ["", "sort=name:asc", "sort_key=size&sort_dir=asc", "sort=status,name:asc"])
def test_pages_hold_everything_once(images: ServiceInMemory, sort: str) -> None:
    for number in (3, 1, 2, 5, 4):
        images.create(name=f"n{number % 3}") if number > 3 else images.active(b"x" * number, name=f"n{number}")
    images.create()  # without a name
    whole = images.listed(sort)
    paged, path = [], f"/v2/images?limit=2&{sort}"
    while path:
        answer = images.ask("GET", path).json
        assert answer["first"].partition("&marker")[0] == answer["first"]
        paged += [each["name"] for each in answer["images"]]
        path = answer.get("next", "")
    assert paged == whole
    assert len(paged) == 6


def test_unknown_and_unseen(images: ServiceInMemory) -> None:
    for method in ("GET", "DELETE"):
        assert images.ask(method, f"/v2/images/{uuid4()}").status == 404
        assert images.ask(method, "/v2/images/").status == 404
    answer = images.ask("GET", "/v2/images/<b>")
    assert answer.status == 404
    assert b"<b>" not in answer.body
    assert answer.headers["Content-Type"].startswith("text/html")
