"""Staging and imports."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.image.bytes_of_images import qcow2
from tests.unit.image.service_in_memory import ADMIN, OTHER, ServiceInMemory


def begun(images: ServiceInMemory, image: str, name: str, uri: str | None = None, **body: Any) -> int:
    """The status of the answer; the import has ended."""
    method = {"name": name} | ({"uri": uri} if uri else {})
    answer = images.ask("POST", f"/v2/images/{image}/import", {"method": method, **body})
    images.imported()
    return answer.status


def test_staged_bytes_become_the_image(images: ServiceInMemory) -> None:
    image = images.create()
    assert images.stage(image) == 204
    shown = images.shown(image)
    assert (shown["status"], shown["size"]) == ("uploading", 7)
    assert images.stage(image) == 409
    assert images.upload(image) == 409
    assert images.ask("GET", f"/v2/images/{image}/file").status == 204
    assert images.ask("GET", "/v2/info/usage").json["usage"]["image_count_uploading"]["usage"] == 1
    assert begun(images, image, "glance-direct") == 202
    shown = images.shown(image)
    assert (shown["status"], shown["checksum"], shown["stores"]) == (
        "active",
        "9a0364b9e99bb480dd25e1f0284c8555",
        "first",
    )
    assert images.ask("GET", f"/v2/images/{image}/file").body == b"content"
    assert len(images.first.objects) == 2  # the data and its digests: nothing was copied
    task = images.ask("GET", f"/v2/images/{image}/tasks").json["tasks"][0]
    assert (task["status"], task["type"], task["image_id"]) == ("success", "api_image_import", image)
    assert images.ask("GET", f"/v2/tasks/{task['id']}", token=ADMIN).json == task
    assert [each["id"] for each in images.ask("GET", "/v2/tasks", token=ADMIN).json["tasks"]] == [task["id"]]
    assert images.ask("GET", "/v2/tasks").status == 403


def test_staged_bytes_go_to_several_stores(images: ServiceInMemory) -> None:
    image = images.create()
    images.stage(image)
    assert begun(images, image, "glance-direct", all_stores=True) == 202
    shown = images.shown(image)
    assert (shown["status"], shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == (
        "active",
        "",
        "",
    )
    assert set(shown["stores"].split(",")) == {"first", "second"}
    images.first.fails = True
    assert images.ask("GET", f"/v2/images/{image}/file").body == b"content"


def test_staged_bytes_that_are_not_kept_where_they_are(images: ServiceInMemory) -> None:
    image = images.create()
    images.stage(image)
    assert begun(images, image, "glance-direct", stores=["second"]) == 202
    assert images.shown(image)["stores"] == "second"
    images.reclaimer.reclaim()
    assert images.first.objects == {}


def test_unsafe_bytes_are_not_imported(images: ServiceInMemory) -> None:
    image = images.create(disk_format="qcow2")
    images.stage(image, qcow2(backing=8))
    assert begun(images, image, "glance-direct") == 202
    shown = images.shown(image)
    assert (shown["status"], shown["os_glance_failed_import"], shown["size"]) == ("queued", "first", None)
    task = images.ask("GET", f"/v2/images/{image}/tasks").json["tasks"][0]
    assert (task["status"], task["message"]) == ("failure", "the qcow2 names a backing file")
    assert images.first.objects == {}


def test_a_store_of_several_fails(images: ServiceInMemory) -> None:
    image = images.create()
    images.stage(image)
    images.second.fails = True
    assert begun(images, image, "glance-direct", all_stores=True, all_stores_must_succeed=False) == 202
    shown = images.shown(image)
    assert (shown["status"], shown["stores"], shown["os_glance_failed_import"]) == ("active", "first", "second")
    image = images.create()
    images.stage(image)
    assert begun(images, image, "glance-direct", all_stores=True) == 202
    shown = images.shown(image)
    assert (shown["status"], "stores" in shown, shown["os_glance_failed_import"]) == ("queued", False, "second")


def test_copies(images: ServiceInMemory) -> None:
    image = images.active()
    assert begun(images, image, "copy-image", stores=["first"]) == 400
    assert begun(images, image, "copy-image", stores=["second"]) == 202
    assert images.shown(image)["stores"] == "first,second"
    delete = "/v2/stores/{}/" + image
    assert images.ask("DELETE", delete.format("third")).status == 404
    assert images.ask("DELETE", delete.format("first"), token=OTHER).status == 404
    assert images.ask("DELETE", delete.format("first")).status == 204
    assert images.ask("DELETE", delete.format("second")).status == 403
    assert images.ask("GET", f"/v2/images/{image}/file").body == b"content"
    images.reclaimer.reclaim()
    assert images.first.objects == {}


def test_a_copy_that_fails_leaves_the_image(images: ServiceInMemory) -> None:
    image = images.active()
    images.second.fails = True
    assert begun(images, image, "copy-image", all_stores=True) == 202
    shown = images.shown(image)
    assert (shown["status"], shown["stores"], shown["os_glance_failed_import"]) == ("active", "first", "second")


def test_a_copy_of_damaged_bytes_is_none(images: ServiceInMemory) -> None:
    image = images.active()
    for name in images.first.objects:
        images.first.objects[name] = b"c0ntent"
    begun(images, image, "copy-image", all_stores=True)
    assert images.shown(image)["stores"] == "first"
    assert images.second.objects == {}


@pytest.mark.parametrize(
    ("name", "uri", "body", "status"),
    [
        ("glance-direct", None, {}, 409),
        ("copy-image", None, {}, 409),
        ("magic", None, {}, 400),
        ("web-download", None, {}, 400),
        ("web-download", "file:///etc/passwd", {}, 400),
        ("web-download", "http://example.org:22/", {}, 400),
        ("web-download", "http://example.org/", {"stores": ["third"]}, 400),
        ("web-download", "http://example.org/", {"stores": ["first"], "all_stores": True}, 400),
    ],
)
def test_imports_that_do_not_begin(
    images: ServiceInMemory, name: str, uri: str | None, body: dict[str, Any], status: int
) -> None:
    image = images.create()
    assert begun(images, image, name, uri, **body) == status
    assert images.shown(image)["status"] == "queued"


def test_an_import_needs_formats(images: ServiceInMemory) -> None:
    image = images.create(disk_format=None)
    assert images.stage(image) == 204
    assert begun(images, image, "glance-direct") == 409


def test_cve_2026_34881_a_download_from_a_private_address(images: ServiceInMemory) -> None:
    image = images.create()
    assert begun(images, image, "web-download", "http://rebound.example/") == 202
    task = images.ask("GET", f"/v2/images/{image}/tasks").json["tasks"][0]
    assert (task["status"], images.shown(image)["status"]) == ("failure", "queued")
    assert "public address" in task["message"]
    assert "127" not in task["message"]


def test_what_a_killed_import_left_is_reclaimed(images: ServiceInMemory) -> None:
    image = images.create()
    images.stage(image)
    images.service.pool.submit = lambda *_: None  # type: ignore[method-assign, assignment, return-value]
    images.ask("POST", f"/v2/images/{image}/import", {"method": {"name": "glance-direct"}})
    assert images.ask("POST", f"/v2/images/{image}/import", {"method": {"name": "glance-direct"}}).status == 409
    images.later(61)
    images.reclaimer.reclaim()
    assert images.shown(image)["status"] == "queued"
    assert images.first.objects == {}
    assert images.ask("GET", f"/v2/images/{image}/tasks").json["tasks"][0]["status"] == "failure"
