"""Which server of the level above each server of a write tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from objstore.devices import Device
from objstore.headers import Backend
from objstore.proxy.core.nodes import Placement
from objstore.quorum import quorum_size


class UpdateHeaders(Struct, frozen=True):
    """The three headers that name the servers to tell."""

    host: str
    device: str
    partition: str


OF_CONTAINER: Final = UpdateHeaders(Backend.CONTAINER_HOST, Backend.CONTAINER_DEVICE, Backend.CONTAINER_PARTITION)
OF_ACCOUNT: Final = UpdateHeaders(Backend.ACCOUNT_HOST, Backend.ACCOUNT_DEVICE, Backend.ACCOUNT_PARTITION)
OF_QUEUE: Final = UpdateHeaders(Backend.DELETE_AT_HOST, Backend.DELETE_AT_DEVICE, Backend.DELETE_AT_PARTITION)


def update_count(writers: int, servers: int) -> int:
    """How many updates to send, so that any quorum of `writers` reaches a quorum of `servers`, and all reach all."""
    return max(quorum_size(servers) + writers - quorum_size(writers), servers)


def spread(count: int, writers: int) -> list[list[int]]:
    """For each of the writers the numbers of the updates it sends, of `count` in all, in turn."""
    return [list(range(writer, count, writers)) for writer in range(writers)]


def add_updates(headers: Sequence[dict[str, str]], place: Placement, names: UpdateHeaders) -> None:
    """Add to the headers for each server of a write whom it tells: the servers of `place` between them."""
    servers = place.primaries
    partition = str(place.partition)
    writers, count = len(headers), len(servers)
    if writers == count:  # the usual case: each tells one
        for each, server in zip(headers, servers, strict=True):
            each[names.host] = server.address
            each[names.device] = server.device
            each[names.partition] = partition
        return
    for each, numbers in zip(headers, spread(update_count(writers, count), writers), strict=True):
        told = _told(servers, numbers)
        if told:
            each[names.host] = ",".join(server.address for server in told)
            each[names.device] = ",".join(server.device for server in told)
            each[names.partition] = partition


def _told(servers: Sequence[Device], numbers: Sequence[int]) -> list[Device]:
    return [servers[number] for number in dict.fromkeys(number % len(servers) for number in numbers)]
