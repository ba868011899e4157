"""Bytes in and out, and what failures leave."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from objstore.config.image import ImageQuotaConfig
from tests.unit.image.bytes_of_images import qcow2
from tests.unit.image.service_in_memory import ADMIN, OTHER, RAW, SERVICE, ServiceInMemory

MIB = 1 << 20


def test_an_upload_and_what_it_says(images: ServiceInMemory) -> None:
    content = bytes(range(256)) * 4096 * 2 + b"rest"
    image = images.active(content)
    shown = images.shown(image)
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", len(content), len(content))
    assert shown["checksum"] == hashlib.md5(content).hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(content).hexdigest())
    assert shown["stores"] == "first"
    answer = images.ask("GET", f"/v2/images/{image}/file")
    assert (answer.status, answer.body, answer.headers["Content-MD5"]) == (200, content, shown["checksum"])
    digests = images.ask("GET", f"/v2/images/{image}/digests")
    chunks = [content[start : start + MIB] for start in range(0, len(content), MIB)]
    assert digests.body == b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    assert digests.headers["X-Image-Digest-Chunk-Bytes"] == str(MIB)


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=0-99", 200, b"0123456789"),
        ("bytes=10-", 416, None),
        ("bytes=5-4", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=0-1,4-5", 416, None),
        ("lines=1-2", 416, None),
    ],
)
def test_ranges(images: ServiceInMemory, wanted: str, status: int, content: bytes | None) -> None:
    image = images.active(b"0123456789")
    answer = images.ask("GET", f"/v2/images/{image}/file", Range=wanted)
    assert answer.status == status
    if content is None:
        assert answer.headers["Content-Range"] == "bytes */10"
    else:
        assert answer.body == content
    assert ("Content-MD5" in answer.headers) is (status == 200)


def test_an_image_without_bytes(images: ServiceInMemory) -> None:
    image = images.active(b"")
    answer = images.ask("GET", f"/v2/images/{image}/file")
    assert (answer.status, answer.body, images.shown(image)["size"]) == (200, b"", 0)


def test_what_an_upload_needs(images: ServiceInMemory) -> None:
    image = images.create()
    assert images.ask("PUT", f"/v2/images/{image}/file", body=b"x", kind="text/plain").status == 415
    assert images.ask("GET", f"/v2/images/{image}/file").status == 204
    assert images.upload(image, token=OTHER) == 404
    assert images.upload(images.create(disk_format=None)) == 400
    assert images.upload(image, X_Image_Meta_Store="third") == 400
    assert images.upload(image, X_Image_Meta_Store="second") == 204
    assert images.shown(image)["stores"] == "second"
    assert images.upload(image) == 409
    assert images.ask("GET", f"/v2/images/{image}/file").body == b"content"


def test_services_fill_snapshots_and_nothing_else(images: ServiceInMemory) -> None:
    image = images.create(image_type="snapshot", disk_format=None, container_format=None)
    for name, value in RAW.items():
        assert images.replace(image, name, value, token=SERVICE).status == 200
    assert images.upload(image, token=SERVICE) == 204
    assert images.ask("DELETE", f"/v2/images/{image}", token=SERVICE).status == 403
    failed = images.create(image_type="backup")
    assert images.ask("DELETE", f"/v2/images/{failed}", token=SERVICE).status == 204
    assert images.upload(images.create(), token=SERVICE) == 403


def test_unsafe_bytes_are_refused_and_leave_nothing(images: ServiceInMemory) -> None:
    image = images.create(disk_format="qcow2")
    assert images.upload(image, qcow2(backing=8)) == 415
    assert images.first.objects == {}
    shown = images.shown(image)
    assert (shown["status"], shown["size"], shown["checksum"]) == ("queued", None, None)
    assert images.upload(image, qcow2()) == 204
    assert images.shown(image)["virtual_size"] == 1 << 30


def test_a_store_that_fails(images: ServiceInMemory) -> None:
    image = images.create()
    images.first.fails = True
    assert images.upload(image) == 503
    assert images.shown(image)["status"] == "queued"
    assert images.first.objects != {}
    images.reclaimer.reclaim()
    images.first.fails = False
    images.reclaimer.reclaim()
    assert images.first.objects == {}
    assert images.upload(image) == 204


def test_deletion_while_bytes_come(images: ServiceInMemory) -> None:
    image = images.create()
    images.first.while_writing = lambda: images.ask("DELETE", f"/v2/images/{image}")
    assert images.upload(image) == 410
    assert images.first.objects == {}


def test_cve_2014_9623_deleted_images_count_while_their_bytes_come(tmp_path: Path) -> None:
    """Uploads to images that were deleted meanwhile were a way around the quota; they end instead."""
    images = ServiceInMemory(tmp_path, ImageQuotaConfig(image_size_total=8 * MIB))
    image = images.create()
    deletions: list[int] = []
    images.first.while_writing = lambda: deletions.append(images.ask("DELETE", f"/v2/images/{image}").status)
    assert images.upload(image, b"x" * (4 * MIB)) == 410
    assert deletions == [204]  # no piece after the first one was taken
    images.first.while_writing = lambda: None
    assert images.upload(images.create(), b"x" * (8 * MIB + 1)) == 413
    images.close()


def test_an_image_whose_activation_only_seemed_to_fail_keeps_its_data(images: ServiceInMemory) -> None:
    image = images.create()
    database = images.service.transfers.database
    run, lost = database.run, []

    def unheard(work: Any) -> Any:
        """Stores, and then loses the connection to the database once the image is active."""
        result = run(work)
        if not lost and images.shown(image)["status"] == "active":
            lost.append(image)
            raise ConnectionError
        return result

    database.run = unheard  # type: ignore[method-assign]
    assert images.upload(image) == 500
    images.reclaimer.reclaim()
    assert images.shown(image)["status"] == "active"
    assert images.ask("GET", f"/v2/images/{image}/file").body == b"content"


def test_what_a_killed_process_left_is_reclaimed(images: ServiceInMemory) -> None:
    image = images.create()

    def die() -> None:
        raise KeyboardInterrupt

    transfers = images.service.transfers
    images.first.while_writing = die
    discard, transfers.discard = transfers.discard, lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        images.upload(image)
    transfers.discard = discard  # type: ignore[method-assign]
    images.first.while_writing = lambda: None
    images.reclaimer.reclaim()
    assert (images.shown(image)["status"], len(images.first.objects)) == ("saving", 1)
    images.later(61)
    images.reclaimer.reclaim()
    assert (images.shown(image)["status"], images.first.objects) == ("queued", {})
    assert images.upload(image) == 204


def test_work_that_is_renewed_is_left_alone(images: ServiceInMemory) -> None:
    image = images.create()

    def long_ago() -> None:
        images.later(50)
        images.reclaimer.renew()
        images.later(50)
        images.reclaimer.reclaim()

    images.first.while_writing = long_ago
    assert images.upload(image) == 204


def test_work_that_another_process_reclaimed_stops(images: ServiceInMemory) -> None:
    image = images.create()

    def stall() -> None:
        images.later(100)
        images.reclaimer.reclaim()
        images.reclaimer.renew()

    images.first.while_writing = stall
    assert images.upload(image) == 410
    assert (images.shown(image)["status"], images.first.objects) == ("queued", {})


def test_quotas(tmp_path: Path) -> None:
    images = ServiceInMemory(tmp_path, ImageQuotaConfig(image_size_max=8, image_size_total=10, image_count_total=3))
    assert images.upload(images.create(), b"123456789") == 413
    images.active(b"12345678")
    image = images.create()
    assert images.upload(image, b"123") == 413
    assert images.upload(image, b"12") == 204
    assert images.ask("POST", "/v2/images", {}).status == 413
    usage = images.ask("GET", "/v2/info/usage").json["usage"]
    assert usage["image_count_total"] == {"usage": 3, "limit": 3}
    assert usage["image_stage_total"] == {"usage": 0, "limit": -1}
    images.close()


def test_deactivation(images: ServiceInMemory) -> None:
    image = images.active()
    action = f"/v2/images/{image}/actions/"
    images.replace(image, "visibility", "community")
    assert images.ask("POST", action + "deactivate", token=OTHER).status == 403
    for _ in range(2):
        assert images.ask("POST", action + "deactivate").status == 204
        assert images.shown(image)["status"] == "deactivated"
    assert images.ask("GET", f"/v2/images/{image}/file").status == 403
    assert images.ask("GET", f"/v2/images/{image}/digests").status == 403
    assert images.ask("GET", f"/v2/images/{image}/file", token=ADMIN).body == b"content"
    assert images.upload(image) == 409
    for _ in range(2):
        assert images.ask("POST", action + "reactivate", token=ADMIN).status == 204
    assert images.ask("GET", f"/v2/images/{image}/file").body == b"content"
    queued = images.create()
    assert images.ask("POST", f"/v2/images/{queued}/actions/deactivate", token=ADMIN).status == 403


def test_an_image_that_disks_rest_on_stays(images: ServiceInMemory) -> None:
    image = images.active()
    use = f"/v2/images/{image}/uses/machine-1"
    assert images.ask("PUT", use).status == 403
    assert images.ask("PUT", use, token=SERVICE).status == 204
    assert images.ask("PUT", use, token=SERVICE).status == 204
    assert images.ask("DELETE", f"/v2/images/{image}", token=ADMIN).status == 409
    assert images.ask("DELETE", use, token=SERVICE).status == 204
    assert images.ask("DELETE", use, token=SERVICE).status == 204
    assert images.ask("DELETE", f"/v2/images/{image}").status == 204
    assert images.ask("PUT", f"/v2/images/{images.create()}/uses/m", token=SERVICE).status == 409
