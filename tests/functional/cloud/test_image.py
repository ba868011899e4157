"""The image service on a running store: clients, failures, and what stays in the store."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from objstore.client.connections import ServerAddress
from objstore.client.requests import HttpClient
from objstore.client.store import StoreClient
from objstore.image.stores.s3 import S3ImageStore
from objstore.image.stores.signing import AwsCredentials
from objstore.image.stores.store import ImageStore
from objstore.image.stores.swift import SwiftImageStore
from tests.functional.client import Client
from tests.functional.cloud.image_server import ADMIN, CONTAINER, ImageServer
from tests.functional.cloud.tiny_identity import TinyIdentity, tiny_identity
from tests.functional.conftest import CLIENTS
from tests.functional.servers import Store, resident_bytes
from tests.waiting import wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A web server's port, and its folder."""
    folder = tmp_path_factory.mktemp("web")

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], folder
        server.shutdown()


@pytest.fixture(scope="module")
def identity() -> Iterator[TinyIdentity]:
    with tiny_identity({}) as running:
        yield running


@pytest.fixture(scope="module")
def images(
    tmp_path_factory: pytest.TempPathFactory, store: Store, web: tuple[int, Path], identity: TinyIdentity
) -> Iterator[ImageServer]:
    server = ImageServer(tmp_path_factory.mktemp("image"), store, web[0])
    identity.catalog["image"] = server.url
    server.start(identity.url)
    owner = Client.login(store.host, store.port)
    for container in (CONTAINER, f"{CONTAINER}-s3"):
        assert owner.put(container).status == 201
    yield server
    assert server.end() == 0


@pytest.fixture(autouse=True)
def nothing_is_left(images: ImageServer, client: Client) -> Iterator[None]:
    """After each test all images go, and with them all that is in the store."""
    yield
    for image in json.loads(images.ask("GET", "/v2/images?visibility=all&limit=1000", token=ADMIN).body)["images"]:
        assert images.ask("DELETE", f"/v2/images/{image['id']}", token=ADMIN).status == 204
    for container in (CONTAINER, f"{CONTAINER}-s3"):
        wait_until(lambda name=container: client.rows(name) == [], f"nothing is left in {container}")  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["swift", "s3"])
def test_a_store_keeps_objects_in_parts(store: Store, client: Client, container: str, kind: str) -> None:
    made: ImageStore
    with HttpClient() as http:
        if kind == "swift":
            login = StoreClient(f"{store.url}/auth/v1.0", "test:tester", "testing", http)
            made = SwiftImageStore("a", login, container, MIB)
        else:
            key = AwsCredentials("test:tester", "testing", "us-east-1")
            made = S3ImageStore("a", ServerAddress(store.host, store.port), container, key, http, 5 * MIB)
        content = os.urandom(11 * MIB + 5)
        made.write("whole", [content[start : start + 300_000] for start in range(0, len(content), 300_000)])
        made.write("empty", [])
        assert b"".join(made.read("whole", 0, len(content))) == content
        assert b"".join(made.read("whole", MIB - 3, 2 * MIB)) == content[MIB - 3 : 3 * MIB - 3]
        assert b"".join(made.read("empty", 0, 0)) == b""

        def breaking() -> Iterator[bytes]:
            yield content
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            made.write("broken", breaking())
        for name in ("whole", "empty", "broken", "never there"):
            made.discard(name)
        assert client.rows(container) == []


def test_an_image_comes_down_as_it_went_up(images: ImageServer) -> None:
    content = os.urandom(3 * MIB + 7)
    image = images.create(name="n")
    assert (
        images.upload(image, (content[start : start + 100_000] for start in range(0, len(content), 100_000))).status
        == 204
    )
    shown = images.shown(image)
    assert (shown["status"], shown["os_hash_value"]) == ("active", hashlib.sha512(content).hexdigest())
    assert images.ask("GET", f"/v2/images/{image}/file").body == content
    part = images.ask("GET", f"/v2/images/{image}/file", Range=f"bytes={MIB - 2}-{MIB + 1}")
    assert (part.status, part.body) == (206, content[MIB - 2 : MIB + 2])
    digests = images.ask("GET", f"/v2/images/{image}/digests").body
    assert digests[32:64] == hashlib.sha256(content[MIB : 2 * MIB]).digest()
    with closing(images.connect()) as connection:
        connection.request("HEAD", f"/v2/images/{image}/file", headers={"X-Auth-Token": ADMIN})
        assert connection.getresponse().getheader("Content-Length") == str(len(content))


def test_large_images_take_little_memory(images: ImageServer) -> None:
    image = images.create()
    assert images.process is not None
    before = resident_bytes(images.process.pid)
    peaks = []

    def pieces() -> Iterator[bytes]:
        for _ in range(160):
            yield bytes(MIB)
            peaks.append(resident_bytes(images.process.pid))  # type: ignore[union-attr]

    assert images.upload(image, pieces()).status == 204
    assert images.shown(image)["size"] == 160 * MIB
    assert max(peaks) - before < 64 * MIB


def interrupted(images: ImageServer) -> str:
    """An image whose bytes are on their way into the store."""
    image = images.create()
    with closing(images.connect()) as connection:
        connection.putrequest("PUT", f"/v2/images/{image}/file")
        for name, value in {"Content-Type": "application/octet-stream", "Content-Length": str(64 * MIB)}.items():
            connection.putheader(name, value)
        connection.putheader("X-Auth-Token", ADMIN)
        connection.endheaders()
        for _ in range(8):
            connection.send(os.urandom(MIB))
        assert images.shown(image)["status"] == "saving"
        if images.kills:
            assert images.end(signal.SIGKILL) == -signal.SIGKILL
    return image


def test_an_uploader_that_goes_leaves_nothing(images: ImageServer, client: Client) -> None:
    image = interrupted(images)
    wait_until(lambda: images.shown(image)["status"] == "queued", "the image is queued again")
    wait_until(lambda: client.rows(CONTAINER) == [], "nothing is left in the store")
    assert images.upload(image, b"whole").status == 204


def test_kill_9_in_the_middle_of_an_upload_leaves_nothing(
    images: ImageServer, client: Client, identity: TinyIdentity
) -> None:
    images.kills = True
    image = interrupted(images)
    images.kills = False
    images.start(identity.url)
    wait_until(lambda: images.shown(image)["status"] == "queued", "the image is queued again")
    wait_until(lambda: client.rows(CONTAINER) == [], "nothing is left in the store")
    assert images.upload(image, b"whole").status == 204
    assert images.ask("GET", f"/v2/images/{image}/file").body == b"whole"


def test_imports_from_the_web_into_both_stores(images: ImageServer, web: tuple[int, Path]) -> None:
    port, folder = web
    content = os.urandom(2 * MIB)
    (folder / "disk.raw").write_bytes(content)
    image = images.create()
    method = {"name": "web-download", "uri": f"http://127.0.0.1:{port}/disk.raw"}
    assert images.ask("POST", f"/v2/images/{image}/import", {"method": method, "all_stores": True}).status == 202
    wait_until(lambda: images.shown(image)["status"] == "active", "the image is imported")
    shown = images.shown(image)
    assert set(shown["stores"].split(",")) == {"objstore", "s3"}
    assert images.ask("DELETE", f"/v2/stores/objstore/{image}", token=ADMIN).status == 204
    assert images.ask("GET", f"/v2/images/{image}/file").body == content


def run_client(images: ImageServer, identity: TinyIdentity, *words: str, stdin: Path | None = None) -> str:
    """What a program of the clients' environment prints; it may read a file as its input."""
    variables = {"AUTH_URL": identity.url, "USERNAME": "tester", "PASSWORD": "p", "PROJECT_NAME": "p1"}
    variables |= {"USER_DOMAIN_NAME": "Default", "PROJECT_DOMAIN_NAME": "Default", "REGION_NAME": "R"}
    variables["IDENTITY_API_VERSION"] = "3"
    environ = {**os.environ, **{f"OS_{name}": value for name, value in variables.items()}}
    environ.pop("PYTHONPATH", None)
    program = str(CLIENTS / "bin" / words[0])
    command = [program, *words[1:]]
    folder = images.folder
    with Path(os.devnull if stdin is None else stdin).open("rb") as given:
        done = subprocess.run(command, stdin=given, env=environ, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_openstack_command_line(images: ImageServer, identity: TinyIdentity) -> None:
    (images.folder / "disk.raw").write_bytes(os.urandom(MIB))
    create = ["image", "create", "--disk-format", "raw", "--container-format", "bare"]
    create += ["--property", "colour=red", "--tag", "t", "--file", "disk.raw"]
    made = json.loads(run_client(images, identity, "openstack", *create, "-f", "json", "disk"))
    assert images.shown(made["id"])["colour"] == "red"
    listed = json.loads(run_client(images, identity, "openstack", "image", "list", "--tag", "t", "-f", "json"))
    assert [(each["Name"], each["Status"]) for each in listed] == [("disk", "active")]
    run_client(images, identity, "openstack", "image", "save", "--file", "copy.raw", "disk")
    assert (images.folder / "copy.raw").read_bytes() == (images.folder / "disk.raw").read_bytes()


def test_glanceclient(images: ImageServer, identity: TinyIdentity) -> None:
    (images.folder / "disk.raw").write_bytes(os.urandom(MIB))
    formats = ["--disk-format", "raw", "--container-format", "bare", "--name", "staged"]
    disk = images.folder / "disk.raw"
    run_client(images, identity, "glance", "image-create-via-import", *formats, stdin=disk)
    (image,) = json.loads(images.ask("GET", "/v2/images").body)["images"]
    wait_until(lambda: images.shown(image["id"])["status"] == "active", "the image is imported")
    run_client(images, identity, "glance", "image-update", "--property", "a=b", image["id"])
    run_client(images, identity, "glance", "member-create", image["id"], "p2")
    run_client(images, identity, "glance", "image-download", "--file", "copy.raw", image["id"])
    assert (images.folder / "copy.raw").read_bytes() == (images.folder / "disk.raw").read_bytes()
    assert images.shown(image["id"])["a"] == "b"


SDK = """
import openstack, hashlib
cloud = openstack.connect()
image = cloud.create_image("sdk", filename="disk.raw", disk_format="raw", container_format="bare", wait=True,
                           meta={"weight": "3"})
assert image.status == "active" and cloud.image.find_image("sdk").id == image.id
content = cloud.image.download_image(image.id).content
assert hashlib.md5(content).hexdigest() == image.checksum
cloud.image.update_image(image.id, name="renamed", min_disk=1)
cloud.image.add_tag(image.id, "t")
member = cloud.image.add_member(image.id, member_id="p2")
assert [each.member_id for each in cloud.image.members(image.id)] == ["p2"], member
assert [each.name for each in cloud.image.images(tag="t")] == ["renamed"]
staged = cloud.image.create_image("staged", disk_format="raw", container_format="bare", use_import=True,
                                  data=open("disk.raw", "rb"))
cloud.image.wait_for_status(staged, "active", interval=1)
assert cloud.image.get_import_info().import_methods["value"]
for each in cloud.image.images():
    cloud.image.delete_image(each.id)
"""


def test_openstacksdk(images: ImageServer, identity: TinyIdentity) -> None:
    (images.folder / "disk.raw").write_bytes(os.urandom(MIB))
    run_client(images, identity, "python", "-c", SDK)
