"""Events of writes through the Swift API: which there are, and what of them is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from objstore.config.cluster import WebhookConfig
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.errors import ObjectNotFound, OutcomeUnknown, QuorumNotReached
from objstore.proxy.core.info import PRESENT, ContainerInfo
from objstore.proxy.core.objects import DeleteObject, GetObject, PutObject
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.settings import BucketSettings
from objstore.proxy.s3.told_objects import ToldObjects
from tests.unit.proxy.s3.memory import NOTIFICATION, MemoryCore, MemoryOutbox

PATH, OTHER = ResourcePath("AUTH_a", "photos"), ResourcePath("AUTH_a", "silent")


class Bench:
    def __init__(self) -> None:
        self.core = MemoryCore()
        self.outbox, context = MemoryOutbox(), self.core.context
        context.outbox = self.outbox
        context.cluster.webhooks = (WebhookConfig("hook", "http://h"),)
        self.core.made = {PATH: ContainerInfo(PRESENT), OTHER: ContainerInfo(PRESENT)}
        BucketSettings(context).write(Bucket(PATH, self.core.made[PATH]), {"Notification": NOTIFICATION}, "")
        self.objects = ToldObjects(context)

    def put(self, path: ResourcePath) -> None:
        body = b"content"
        self.objects.put(PutObject(path, 0, self.core.clock.timestamp(), BytesBody(body), 7, 7, "a/b"))

    def delete(self, path: ResourcePath, **more: str) -> None:
        self.objects.delete(DeleteObject(path, 0, self.core.clock.timestamp(), **more))  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_write_is_told_with_what_it_made(bench: Bench) -> None:
    bench.put(PATH.with_object("a"))
    assert bench.outbox.steps == ["intend", "settle"]
    record = bench.outbox.told[-1][1].message["Records"][0]
    assert (record["eventName"], record["s3"]["object"]["size"]) == ("ObjectCreated:Put", 7)
    bench.delete(PATH.with_object("a"))
    assert bench.outbox.told[-1][1].message["Records"][0]["eventName"] == "ObjectRemoved:Delete"


def test_what_no_rule_covers_is_not_told(bench: Bench) -> None:
    bench.put(PATH.with_object("b"))
    bench.put(OTHER.with_object("a"))
    assert bench.outbox.told == []


def test_a_refused_write_is_withdrawn_and_one_of_unknown_outcome_is_not(bench: Bench) -> None:
    with pytest.raises(ObjectNotFound):
        bench.delete(PATH.with_object("a"))
    assert bench.outbox.steps == ["intend", "withdraw"]

    def fail() -> None:
        raise OutcomeUnknown(PATH)

    bench.core.before_write = fail
    with pytest.raises(OutcomeUnknown):
        bench.put(PATH.with_object("a"))
    assert bench.outbox.steps[2:] == ["intend"]


def test_without_an_outbox_nothing_is_written(bench: Bench) -> None:
    bench.outbox.is_there = False
    with pytest.raises(QuorumNotReached):
        bench.put(PATH.with_object("a"))
    assert PATH.with_object("a") not in bench.core.stored


def test_reads_are_those_of_the_core(bench: Bench) -> None:
    bench.core.context.objects = SimpleNamespace(head=lambda command: command, open=lambda command: command)
    objects, command = ToldObjects(bench.core.context), GetObject(PATH, 0)
    assert objects.head(command) is command and objects.open(command) is command  # type: ignore[comparison-overlap]
