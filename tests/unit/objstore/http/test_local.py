"""What only the transport inside a process has: the hand-over of chunks without a copy."""

from collections.abc import Iterable
from typing import Any

import pytest

from objstore.devices import Device
from objstore.http import local
from objstore.http.bodies import BytesBody, ClientDisconnected, ClientTimeout
from objstore.http.local import LocalTransport, PipeBody
from objstore.http.messages import Environ
from objstore.http.transport import NodeFailure
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout
from tests.unit.objstore.http.nodes import request

NODE = Device(0, 1, 1, "127.0.0.1", 1, "", 0, "sda", 1.0)


def test_a_server_that_is_not_here() -> None:
    transport = LocalTransport(lambda request: None)
    with pytest.raises(NodeFailure, match="refused"):
        transport.start(request(NODE))
    with pytest.raises(NodeFailure, match="refused"):
        transport.start_upload(request(NODE), None)


def test_whole_bodies() -> None:
    assert list(BytesBody(b"ab")) == [b"ab"]
    assert list(BytesBody(b"")) == []


def test_a_chunk_is_handed_over_without_a_copy_and_free_after_the_next_write() -> None:
    pipe = PipeBody()
    first = bytearray(b"first")
    pipe.put(memoryview(first), 1.0)
    first[:] = b"FIRST"  # the same memory: the reader sees the change
    writing = concurrency.spawn(pipe.put, memoryview(b"second"), 1.0)
    concurrency.sleep()
    assert not writing.dead
    assert pipe.read(2) == b"FI"
    concurrency.sleep()
    assert not writing.dead
    assert pipe.read(100) == b"RST"
    writing.wait(1.0)
    assert pipe.read(100) == b"second"


def test_a_write_that_is_not_taken_in_time() -> None:
    pipe = PipeBody()
    pipe.put(memoryview(b"first"), 0.01)
    with pytest.raises(WaitTimeout):
        pipe.put(memoryview(b"second"), 0.01)
    with pytest.raises(WaitTimeout):
        pipe.end({}, 0.01)
    assert pipe.read(100) == b"first"


def test_a_reader_that_has_gone_lets_writers_go_on() -> None:
    pipe = PipeBody()
    pipe.put(memoryview(b"first"), 1.0)
    writing = concurrency.spawn(pipe.put, memoryview(b"second"), 1.0)
    concurrency.sleep()
    pipe.stop_reading()
    writing.wait(1.0)
    pipe.put(memoryview(b"third"), 0.0)
    pipe.end({}, 0.0)


def test_a_writer_that_gives_up() -> None:
    pipe = PipeBody()
    pipe.put(memoryview(b"first"), 1.0)
    writing = concurrency.spawn(pipe.put, memoryview(b"second"), 1.0)
    concurrency.sleep()
    pipe.break_off()
    writing.wait(1.0)
    with pytest.raises(ClientDisconnected):
        pipe.read()
    pipe = PipeBody()
    reading = concurrency.spawn(pipe.read)
    concurrency.sleep()
    pipe.break_off()
    with pytest.raises(ClientDisconnected):
        reading.wait(1.0)


def test_a_whole_body_stays_whole() -> None:
    pipe = PipeBody()
    pipe.end({"Etag": "x"}, 1.0)
    pipe.break_off()
    assert (pipe.read(), pipe.trailers) == (b"", {"Etag": "x"})


def test_a_writer_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WRITER_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(ClientTimeout):
        PipeBody().read(1)


def test_a_killed_reader_leaves_the_writer_free() -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        raise AssertionError("killed before")

    upload: Any = LocalTransport(lambda request: application).start_upload(request(NODE, "PUT"), None, 1.0)
    assert upload.expect() is None
    upload.write(b"first")
    upload.task.kill()
    with pytest.raises(NodeFailure, match="given up"):
        upload.write(b"second")
        upload.write(b"third")
    assert upload.ready


def test_an_answer_that_makes_no_sense() -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "many")])
        return [b"x"]

    with pytest.raises(NodeFailure, match="many"):
        LocalTransport(lambda request: application).request(request(NODE))
