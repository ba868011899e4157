"""The server of images and the reader of disks, against each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.compute.host.driver import MachineError
from objstore.compute.host.nbd import NbdClient, NbdServer

CONTENT = bytes(range(256)) * 100


class Bytes:
    """An export that holds CONTENT, and cannot read its last byte."""

    size = len(CONTENT)

    def read(self, offset: int, length: int) -> bytes:
        if offset + length == self.size:
            raise MachineError("damaged")
        return CONTENT[offset : offset + length]


def find(name: str) -> Bytes:
    if name != "image":
        raise MachineError("no such image")
    return Bytes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NbdServer]:
    running = NbdServer(str(tmp_path / "socket"), find)
    yield running
    running.close()


def test_reads_give_what_the_export_holds(server: NbdServer) -> None:
    with NbdClient(server.path, "image") as client:
        assert client.size == len(CONTENT)
        assert client.read(300, 1000) == CONTENT[300:1300]
        assert client.read(0, 1) == b"\0"


def test_an_unknown_export_is_refused(server: NbdServer) -> None:
    with pytest.raises(MachineError):
        NbdClient(server.path, "../../etc/passwd")


def test_errors_are_told_and_the_connection_goes_on(server: NbdServer) -> None:
    with NbdClient(server.path, "image") as client:
        with pytest.raises(MachineError, match="error 22"):
            client.read(len(CONTENT) - 5, 6)
        with pytest.raises(MachineError, match="error 5"):
            client.read(len(CONTENT) - 5, 5)
        assert client.read(0, 5) == CONTENT[:5]


def test_a_server_takes_the_place_of_one_that_was_killed(server: NbdServer) -> None:
    second = NbdServer(server.path, find)
    with NbdClient(server.path, "image") as client:
        assert client.read(0, 4) == CONTENT[:4]
    second.close()
