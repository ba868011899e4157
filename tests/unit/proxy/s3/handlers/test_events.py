"""Events around writes: an intent before the write, settled after it, withdrawn if it was refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from objstore.config.cluster import WebhookConfig
from objstore.paths import ResourcePath
from objstore.proxy.core.errors import OutcomeUnknown, PreconditionFailed, QuorumNotReached
from objstore.proxy.core.info import PRESENT, VERSIONS_ENABLED, ContainerInfo, StoredObjectInfo
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.events import EventStage
from objstore.proxy.s3.settings import BucketSettings
from tests.unit.proxy.s3.memory import NOTIFICATION, MemoryCore, MemoryOutbox

PATH = ResourcePath("AUTH_a", "photos")


class Bench:
    def __init__(self) -> None:
        self.core = MemoryCore()
        self.core.made[PATH] = ContainerInfo(PRESENT)
        self.outbox, context = MemoryOutbox(), self.core.context
        context.outbox = self.outbox
        context.cluster.webhooks = (WebhookConfig("hook", "http://h"),)
        context.config.large_objects = None
        context.cluster.limits = SimpleNamespace(container_listing_limit=1000)
        context.runtime.log = None
        self.settings = BucketSettings(context)
        self.settings.write(Bucket(PATH, self.core.made[PATH]), {"Notification": NOTIFICATION}, "")
        self.stage = EventStage(
            SimpleNamespace(proxy=context, settings=self.settings, authorizer=None)  # type: ignore[arg-type]
        )
        self.stage._reader = SimpleNamespace(head=self._head)  # type: ignore[misc, assignment]
        self.steps: list[str] = []

    def _head(self, _request: Any, _command: Any) -> StoredObjectInfo:
        return StoredObjectInfo(7, "e", "text/plain", "1700000000.00000", "")

    def write(self, error: Exception | None = None, key: str = "a", event: str = "ObjectCreated:Put") -> str:
        request: Any = SimpleNamespace(
            container=Bucket(PATH, self.core.made[PATH]), transaction_id="tx", environ={}, identity=None
        )

        def work() -> str:
            self.steps = list(self.outbox.steps)
            if error is not None:
                raise error
            return "done"

        return self.stage.carry_out(request, event, key, None, work, lambda _made: "")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_intent_comes_before_the_write(bench: Bench) -> None:
    assert bench.write() == "done"
    assert bench.steps == ["intend"]
    assert bench.outbox.steps == ["intend", "settle"]
    intent, settled = (entry for _, entry in bench.outbox.told)
    assert (intent.path, intent.shows) == ("/AUTH_a/photos/a", True)
    of_object = settled.message["Records"][0]["s3"]["object"]
    assert (of_object["size"], of_object["eTag"]) == (7, "e")


def test_a_write_that_was_refused_has_no_event(bench: Bench) -> None:
    for error in (PreconditionFailed(), S3Error("EntityTooLarge")):
        with pytest.raises(type(error)):
            bench.write(error)
        assert bench.outbox.steps[-2:] == ["intend", "withdraw"]


@pytest.mark.parametrize("error", [QuorumNotReached(PATH), OutcomeUnknown(PATH), RuntimeError("a bug")])
def test_the_intent_of_a_write_that_may_be_done_stays(bench: Bench, error: Exception) -> None:
    with pytest.raises(type(error)):
        bench.write(error)
    assert bench.outbox.steps == ["intend"]


def test_nothing_is_written_without_an_intent(bench: Bench) -> None:
    bench.outbox.is_there = False
    bench.steps = ["untouched"]
    with pytest.raises(QuorumNotReached):
        bench.write()
    assert bench.steps == ["untouched"]


def test_others_have_no_events(bench: Bench) -> None:
    assert bench.write(key="b") == bench.write(event="ObjectTagging:Put") == "done"
    assert bench.outbox.told == []


def test_a_deletion_makes_a_marker_where_versions_are(bench: Bench) -> None:
    bench.write(event="ObjectRemoved")
    info = bench.core.made[PATH]
    bench.core.made[PATH] = ContainerInfo(PRESENT, sysmeta={**info.sysmeta, VERSIONS_ENABLED: "true"})
    bench.write(event="ObjectRemoved")
    names = [entry.message["Records"][0]["eventName"] for _, entry in bench.outbox.told]
    assert names == ["ObjectRemoved:Delete"] * 2 + ["ObjectRemoved:DeleteMarkerCreated"] * 2
