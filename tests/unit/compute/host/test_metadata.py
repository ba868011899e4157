"""The metadata service's trees, and who may read them."""

import base64
import json
import socket
from pathlib import Path

import pytest

from objstore.compute.host import metadata
from objstore.compute.host.metadata import MetadataServer, answer
from tests.unit.compute.host.machines import SERVER, machine

MACHINE = machine(user_data=base64.b64encode(b"#!/bin/sh\n\xff").decode())
ADDRESS = "169.254.3.4"


def text(path: str) -> str | None:
    content = answer(MACHINE, ADDRESS, path)
    return None if content is None else content.decode("latin-1")


def test_openstacks_tree() -> None:
    versions = text("/openstack")
    assert versions is not None
    assert versions.splitlines()[-1] == "latest"
    content = answer(MACHINE, ADDRESS, "/openstack/latest/meta_data.json")
    assert content is not None
    document = json.loads(content)
    assert document["uuid"] == SERVER
    assert document["meta"] == {"role": "web"}
    assert document["public_keys"] == {"mine": "ssh-ed25519 AAAA me"}
    assert answer(MACHINE, ADDRESS, "/openstack/2018-08-27/user_data") == b"#!/bin/sh\n\xff"
    network = answer(MACHINE, ADDRESS, "/openstack/latest/network_data.json")
    assert network is not None
    assert json.loads(network)["links"][0]["ethernet_mac_address"] == "fa:16:3e:00:00:01"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/latest/meta-data/instance-id", "i-0123456789abcdef0"),
        ("/2009-04-04/meta-data/local-ipv4", ADDRESS),
        ("/latest/meta-data/placement/", "availability-zone"),
        ("/latest/meta-data/placement/availability-zone", "nova"),
        ("/latest/meta-data/public-keys/", "0=mine"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA me"),
        ("/latest/", "meta-data/\nuser-data"),
        ("/latest/user-data", "#!/bin/sh\n\xff"),
        ("/latest/meta-data/none", None),
        ("/openstack/1999-01-01/meta_data.json", None),
        ("/etc/passwd", None),
        ("/latest/meta-data/../../etc/passwd", None),
    ],
)
def test_ec2s_tree(path: str, content: str | None) -> None:
    assert text(path) == content


def test_without_user_data_there_is_none() -> None:
    assert answer(machine(), ADDRESS, "/openstack/latest/user_data") is None
    assert answer(machine(), ADDRESS, "/latest/user-data") is None


def ask(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(request)
        pieces = b""
        while piece := client.recv(4096):
            pieces += piece
        return pieces


def test_a_machine_cannot_pass_for_another(tmp_path: Path) -> None:
    """Whatever a guest sends, the socket says which machine it is."""
    server = MetadataServer(tmp_path / "socket", lambda: (MACHINE, ADDRESS))
    try:
        head = b"X-Instance-ID: other\r\nX-Forwarded-For: 10.0.0.1\r\nX-Tenant-ID: t\r\n"
        answered = ask(tmp_path / "socket", b"GET /openstack/latest/meta_data.json HTTP/1.1\r\n" + head + b"\r\n")
        assert answered.startswith(b"HTTP/1.0 200 OK\r\n")
        assert json.loads(answered.partition(b"\r\n\r\n")[2])["uuid"] == SERVER
        assert ask(tmp_path / "socket", b"GET /none HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 404 ")
        assert ask(tmp_path / "socket", b"PUT /latest HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 400 ")
    finally:
        server.close()
    assert not (tmp_path / "socket").exists()


def test_a_request_may_not_go_on_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "REQUEST_BYTES_MAX", 100)
    server = MetadataServer(tmp_path / "socket", lambda: (MACHINE, ADDRESS))
    try:
        assert ask(tmp_path / "socket", b"GET / HTTP/1.0\r\nA: " + b"a" * 1000).startswith(b"HTTP/1.0 400 ")
    finally:
        server.close()
