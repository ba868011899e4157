"""Lines of access logs: gathered within limits, stored together, by bucket."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from objstore.http.access import SENT
from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.core.info import PRESENT, ContainerInfo
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers import log_delivery
from objstore.proxy.s3.handlers.log_delivery import LogDelivery
from objstore.proxy.s3.server_log import LogTarget, logging_element
from objstore.proxy.s3.settings import BucketSettings
from objstore.proxy.s3.xml import document
from tests.unit.proxy.s3.memory import MemoryCore

PATH, LOGS = ResourcePath("AUTH_a", "photos"), ResourcePath("AUTH_a", "logs")


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.core = MemoryCore()
        self.core.made |= {PATH: ContainerInfo(PRESENT), LOGS: ContainerInfo(PRESENT)}
        context = self.core.context
        context.config.s3 = SimpleNamespace(region="us-east-1", access_log_interval=60.0)
        self.warnings: list[str] = []
        context.runtime.log = SimpleNamespace(warning=lambda reason, **_: self.warnings.append(reason))
        self.settings = BucketSettings(context)
        self.write(LogTarget("logs", "p/"))
        self.spawned: list[Any] = []
        monkeypatch.setattr(log_delivery.concurrency, "spawn", self.spawned.append)
        monkeypatch.setattr(log_delivery, "log_line", lambda request, *_: request.line)
        self.delivery = LogDelivery(SimpleNamespace(proxy=context, settings=self.settings))  # type: ignore[arg-type]

    def write(self, target: LogTarget | None) -> None:
        text = document(logging_element(target))
        self.settings.write(Bucket(PATH, self.core.made[PATH]), {"Logging": text}, "")

    def serve(self, line: str) -> None:
        request: Any = SimpleNamespace(
            found=Bucket(PATH, self.core.made[PATH]), transaction_id="", environ={}, line=line
        )
        self.delivery.expect(request, Response(200), self.core.clock.monotonic())
        for sent in request.environ.get(SENT, ()):
            sent(0, True)

    @property
    def objects(self) -> list[bytes]:
        return [content for path, (content, _) in self.core.stored.items() if path.container == "logs"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_lines_are_stored_together(bench: Bench) -> None:
    for line in ("one", "two"):
        bench.serve(line)
    assert (bench.objects, len(bench.spawned)) == ([], 1)
    bench.delivery.deliver()
    assert bench.objects == [b"one\ntwo\n"]
    [path] = [path for path in bench.core.stored if path.container == "logs"]
    assert path.object.startswith("p/2023-11-14-22-13-20-")
    bench.delivery.deliver()
    assert bench.objects == [b"one\ntwo\n"]


def test_a_bucket_that_has_logging_off_is_not_logged(bench: Bench) -> None:
    bench.write(None)
    bench.serve("one")
    bench.delivery.deliver()
    assert bench.objects == []


def test_limits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_delivery, "OBJECT_BYTES_MAX", 10)
    monkeypatch.setattr(log_delivery, "WAITING_BYTES_MAX", 20)
    for _ in range(6):
        bench.serve("four")
    bench.delivery.deliver()
    assert bench.objects == [b"four\nfour\n"] * 2
    assert bench.warnings == ["lines of access logs dropped: too many wait"]
    bench.serve("four")
    bench.delivery.deliver()
    assert len(bench.objects) == 3


def test_a_target_that_is_gone_harms_nobody(bench: Bench) -> None:
    bench.serve("one")
    del bench.core.made[LOGS]
    bench.delivery.deliver()
    assert bench.core.stored == {}


def test_the_target_is_a_bucket_of_the_same_owner(bench: Bench) -> None:
    request: Any = SimpleNamespace(transaction_id="")
    bucket = Bucket(PATH, bench.core.made[PATH])
    bench.delivery.check(request, bucket, document(logging_element(LogTarget("logs", ""))))
    with pytest.raises(S3Error) as error:
        bench.delivery.check(request, bucket, document(logging_element(LogTarget("other", ""))))
    assert error.value.code == "InvalidTargetBucketForLogging"
