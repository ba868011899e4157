"""What a machine is told about itself: OpenStack's and EC2's trees, by HTTP at 169.254.169.254 or on a config drive.

Each machine has a socket of its own, so who asks is known by the channel; nothing in a request says it.
"""

from __future__ import annotations

import base64
import binascii
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from objstore.compute.host.processes import run_tool
from objstore.compute.protocol import MachineSpec

OPENSTACK_VERSIONS: Final = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27",
    "2020-10-14", "latest",
)  # fmt: skip
EC2_VERSIONS: Final = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "latest",
)  # fmt: skip
REQUEST_BYTES_MAX: Final = 16 * 1024
REQUEST_SECONDS: Final = 10.0
CLIENTS_MAX: Final = 16  # of one machine at a time

Tree = dict[str, Any]  # folders are trees, files bytes


def user_data(machine: MachineSpec) -> bytes | None:
    """As the machine's owner gave it."""
    if machine.user_data is None:
        return None
    try:
        return base64.b64decode(machine.user_data)
    except binascii.Error:
        return None


def openstack_files(machine: MachineSpec) -> dict[str, bytes]:
    """The files of one version of OpenStack's tree."""
    document: dict[str, object] = {
        "uuid": machine.server_id,
        "name": machine.name,
        "hostname": machine.hostname,
        "launch_index": machine.launch_index,
        "availability_zone": machine.availability_zone,
        "project_id": machine.project_id,
        "meta": machine.metadata,
        "devices": [],
        "dedicated_cpus": [],
    }
    if machine.keys:
        document["public_keys"] = {key.name: key.public_key for key in machine.keys}
        document["keys"] = [{"name": key.name, "type": key.type, "data": key.public_key} for key in machine.keys]
    if machine.admin_password is not None:
        document["admin_pass"] = machine.admin_password
    links = [
        {"id": f"tap{number}", "type": "phy", "ethernet_mac_address": each.mac, "mtu": 1500, "vif_id": each.label}
        for number, each in enumerate(machine.networks)
    ]
    networks = [
        {"id": f"network{number}", "type": "ipv4_dhcp", "link": f"tap{number}", "network_id": each.label}
        for number, each in enumerate(machine.networks)
    ]
    files = {
        "meta_data.json": _json(document),
        "network_data.json": _json({"links": links, "networks": networks, "services": []}),
        "vendor_data.json": b"{}",
        "vendor_data2.json": b"{}",
    }
    content = user_data(machine)
    return files if content is None else files | {"user_data": content}


def ec2_tree(machine: MachineSpec, address: str) -> Tree:
    """One version of EC2's tree: meta-data, and user-data if there is any."""
    hostname = machine.hostname
    meta: Tree = {
        "ami-id": _ec2_id("ami", machine.image.id),
        "ami-launch-index": str(machine.launch_index),
        "ami-manifest-path": "FIXED",
        "block-device-mapping": {"ami": "vda", "root": "/dev/vda"},
        "hostname": hostname,
        "instance-action": "none",
        "instance-id": machine.instance_id,
        "instance-type": machine.flavor.name,
        "local-hostname": hostname,
        "local-ipv4": address,
        "placement": {"availability-zone": machine.availability_zone},
        "public-hostname": hostname,
        "public-ipv4": "",
        "reservation-id": machine.reservation_id,
        "security-groups": "\n".join(machine.security_groups),
    }
    if machine.keys:
        meta["public-keys"] = {f"{number}": {"openssh-key": key.public_key} for number, key in enumerate(machine.keys)}
    tree: Tree = {"meta-data": meta}
    content = user_data(machine)
    return tree if content is None else tree | {"user-data": content}


def _ec2_id(prefix: str, image_id: str) -> str:
    return f"{prefix}-{image_id.replace('-', '')[:17]}"


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def answer(machine: MachineSpec, address: str, path: str) -> bytes | None:
    """What stands at a path; a folder is a list of its names, folders among them with a slash. None: nothing does."""
    parts = [part for part in path.partition("?")[0].split("/") if part]
    if not parts:
        return "\n".join(EC2_VERSIONS).encode()
    if parts[0] == "openstack":
        if len(parts) == 1:
            return "\n".join(OPENSTACK_VERSIONS).encode()
        if parts[1] not in OPENSTACK_VERSIONS:
            return None
        node: Any = openstack_files(machine)
        rest = parts[2:]
    elif parts[0] in EC2_VERSIONS:
        node, rest = ec2_tree(machine, address), parts[1:]
    else:
        return None
    for part in rest:
        if rest[0] == "meta-data" and part.partition("=")[0] != part:
            part = part.partition("=")[0]
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    if isinstance(node, dict):
        is_keys = rest == ["meta-data", "public-keys"]
        names = (
            [f"{number}={key.name}" for number, key in enumerate(machine.keys)]
            if is_keys
            else [f"{name}/" if isinstance(each, dict) else name for name, each in node.items()]
        )
        return "\n".join(names).encode()
    return node if isinstance(node, bytes) else str(node).encode()


class MetadataServer:
    """Answers the requests of one machine, at a socket that only its own network reaches."""

    def __init__(self, path: Path, machine: Callable[[], tuple[MachineSpec, str]]) -> None:
        """`machine` gives it as it is now, and its address. Raises OSError."""
        self._machine = machine
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(CLIENTS_MAX)
        self._room = threading.BoundedSemaphore(CLIENTS_MAX)
        threading.Thread(target=self._accept, name="metadata", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._room.acquire()
            threading.Thread(target=self._serve, args=(client,), name="metadata client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                status, content = self._answer(_request_path(client))
                head = f"HTTP/1.0 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\n\r\n"
                client.settimeout(REQUEST_SECONDS)
                client.sendall(head.encode() + content)
        except OSError:
            pass
        finally:
            self._room.release()

    def _answer(self, path: str | None) -> tuple[str, bytes]:
        if path is None:
            return "400 Bad Request", b""
        content = answer(*self._machine(), path)
        return ("404 Not Found", b"") if content is None else ("200 OK", content)


def _request_path(client: socket.socket) -> str | None:
    """The path of a GET; None for any other request."""
    deadline = time.monotonic() + REQUEST_SECONDS
    head = b""
    while b"\r\n\r\n" not in head:
        left = deadline - time.monotonic()
        if left <= 0 or len(head) > REQUEST_BYTES_MAX:
            return None
        client.settimeout(left)
        piece = client.recv(4096)
        if not piece:
            return None
        head += piece
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    return words[1] if len(words) == 3 and words[0] == "GET" and words[1].startswith("/") else None


def make_config_drive(machine: MachineSpec, address: str, target: Path) -> None:
    """An ISO 9660 file system labelled config-2, with both trees. Raises MachineError, OSError."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="config-") as name:
        folder = Path(name)
        for version in ("2018-08-27", "latest"):
            for file, content in openstack_files(machine).items():
                _put(folder / "openstack" / version / file, content)
        _put(folder / "ec2/latest/meta-data.json", _json(ec2_tree(machine, address)["meta-data"]))
        data = user_data(machine)
        if data is not None:
            _put(folder / "ec2/latest/user-data", data)
        whole = folder.parent / f"{target.name}.new"
        run_tool("genisoimage", "-quiet", "-V", "config-2", "-J", "-r", "-o", str(whole), str(folder))
        whole.replace(target)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
