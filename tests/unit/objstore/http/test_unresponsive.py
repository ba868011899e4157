"""When a server counts as unresponsive, and who may still ask it."""

from __future__ import annotations

import pytest

from objstore.devices import Device
from objstore.http import unresponsive
from objstore.http.client import HttpTransport
from objstore.http.transport import NodeFailure
from objstore.http.unresponsive import PROBE_SECONDS, SILENCE_SECONDS, UnresponsiveServers
from tests.doubles import ManualClock
from tests.unit.objstore.http.nodes import Script, request
from tests.waiting import elapse_in_hub

NODE = Device.at("10.0.0.1:6201", "sda")
OTHER_DEVICE = Device.at("10.0.0.1:6201", "sdb")
OTHER_SERVER = Device.at("10.0.0.1:6202", "sda")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """What the servers' memory goes by."""
    made = ManualClock(1000.0)
    monkeypatch.setattr(unresponsive.concurrency, "monotonic", made.monotonic)
    return made


def silent_for(servers: UnresponsiveServers, clock: ManualClock, seconds: float) -> None:
    asked_at = clock.monotonic()
    clock.elapsed += seconds
    servers.unanswered(NODE, asked_at)


def test_a_server_that_answers_nothing_for_long_is_not_asked_again(clock: ManualClock) -> None:
    servers = UnresponsiveServers()
    silent_for(servers, clock, SILENCE_SECONDS)
    assert servers.refusal(NODE, 1.0) == "unresponsive"
    assert servers.is_unresponsive(NODE)


def test_all_its_devices_hang_with_it_and_no_other_server(clock: ManualClock) -> None:
    servers = UnresponsiveServers()
    silent_for(servers, clock, SILENCE_SECONDS)
    assert servers.is_unresponsive(OTHER_DEVICE)
    assert servers.refusal(OTHER_DEVICE, 1.0) is not None
    assert not servers.is_unresponsive(OTHER_SERVER)
    assert servers.refusal(OTHER_SERVER, 1.0) is None


def test_short_waits_add_up(clock: ManualClock) -> None:
    servers = UnresponsiveServers()
    silent_for(servers, clock, SILENCE_SECONDS / 2)
    assert servers.refusal(NODE, 1.0) is None
    silent_for(servers, clock, SILENCE_SECONDS / 2)
    assert servers.is_unresponsive(NODE)


def test_a_slow_request_to_a_server_that_answers_others_means_nothing(clock: ManualClock) -> None:
    servers = UnresponsiveServers()
    asked_at = clock.monotonic()
    clock.elapsed += 10.0
    servers.answered(OTHER_DEVICE)
    servers.unanswered(NODE, asked_at)
    assert not servers.is_unresponsive(NODE)


def test_an_answer_between_two_short_waits_starts_the_time_again(clock: ManualClock) -> None:
    servers = UnresponsiveServers()
    silent_for(servers, clock, SILENCE_SECONDS / 2)
    servers.answered(NODE)
    silent_for(servers, clock, SILENCE_SECONDS / 2)
    assert not servers.is_unresponsive(NODE)


def test_one_probe_at_a_time(clock: ManualClock) -> None:
    servers = UnresponsiveServers()
    silent_for(servers, clock, SILENCE_SECONDS)
    clock.elapsed += PROBE_SECONDS
    assert servers.refusal(NODE, 10.0) is None
    clock.elapsed += 9.9  # the probe may still be answered
    assert servers.refusal(NODE, 0.1) is not None
    clock.elapsed += 0.1
    assert servers.refusal(NODE, 0.1) is None
    clock.elapsed += PROBE_SECONDS - 0.1
    assert servers.refusal(NODE, 0.1) is not None


def test_an_answer_ends_it_at_once(clock: ManualClock) -> None:
    servers = UnresponsiveServers()
    silent_for(servers, clock, SILENCE_SECONDS)
    clock.elapsed += PROBE_SECONDS
    assert servers.refusal(NODE, 10.0) is None
    servers.answered(NODE)
    assert not servers.is_unresponsive(NODE)
    assert [servers.refusal(NODE, 10.0) for _ in range(3)] == [None] * 3


def ask(transport: HttpTransport, node: Device, how: str) -> None:
    """Send a request that is not answered, and stop waiting for it in one of several ways."""
    if how == "upload":
        upload = transport.start_upload(request(node, "PUT"), None, 0.01)
        with pytest.raises(NodeFailure, match="timeout"):
            upload.expect()
    elif how == "large":
        with pytest.raises(NodeFailure, match="timeout"):
            transport.start(request(node, "PUT"), b"x" * 50_000_000, 0.01)
    elif how == "abandon":
        exchange = transport.start(request(node), timeout_seconds=0.01)
        assert not exchange.ready_within(0.01)
        exchange.abandon()
    else:
        with pytest.raises(NodeFailure, match="timeout"):
            transport.start(request(node), timeout_seconds=0.01).response()


@pytest.mark.parametrize("how", ["answer", "abandon", "upload", "large"])
def test_a_server_that_hangs_is_not_waited_for_again(
    script: Script, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(unresponsive, "SILENCE_SECONDS", 0.005)
    ask(transport, script.node, how)
    assert transport.is_unresponsive(script.node)
    with pytest.raises(NodeFailure, match="unresponsive"):
        transport.start(request(script.node))
    with pytest.raises(NodeFailure, match="unresponsive"):
        transport.start_upload(request(script.node, "PUT"), None)


def test_an_answer_ends_that(script: Script, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unresponsive, "SILENCE_SECONDS", 0.005)
    monkeypatch.setattr(unresponsive, "PROBE_SECONDS", 0.0)
    ask(transport, script.node, "answer")
    script.accept().close()
    probe = transport.start(request(script.node), timeout_seconds=20.0)
    with pytest.raises(NodeFailure, match="unresponsive"):
        transport.start(request(script.node))
    with script.accept() as server:
        server.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        assert probe.response().status == 503
        assert not transport.is_unresponsive(script.node)
        transport.start(request(script.node)).abandon()


def test_a_server_that_waits_for_a_body_does_not_hang(
    script: Script, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unresponsive, "SILENCE_SECONDS", 0.005)
    upload = transport.start_upload(request(script.node, "PUT"), None)
    with script.accept() as server:
        server.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert upload.expect() is None
        elapse_in_hub(0.01, "the sender is slow")
        upload.abandon()
    assert not transport.is_unresponsive(script.node)


def test_kept_connections_to_a_server_that_hangs_are_closed(script: Script, transport: HttpTransport) -> None:
    kept = transport._pool
    idle, hung = kept.connect(script.node), kept.connect(script.node)
    kept.give_back(idle)
    kept.timed_out(hung)
    hung.close()
    assert idle.descriptor == -1
    assert kept._idle == {}
