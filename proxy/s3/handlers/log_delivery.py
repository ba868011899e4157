"""Access logs: lines about the requests of a bucket are gathered and stored as objects in the bucket that it names.

Best effort, as AWS promises it: lines wait in memory for up to the interval, and what does not fit is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.http.access import SENT
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.encryption.settings import container_seal
from objstore.proxy.core.errors import CoreError
from objstore.proxy.core.info import PRESENT
from objstore.proxy.core.objects import PutObject
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.server_log import LogTarget, log_line, log_target
from objstore.proxy.s3.settings_table import LOGGING
from objstore.system import concurrency
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.http.messages import Response
    from objstore.proxy.answered import AnsweredRequest
    from objstore.proxy.s3.context import S3Context

# Of one object; and of all that waits in a process.
OBJECT_BYTES_MAX: Final = 1 << 20
WAITING_BYTES_MAX: Final = 16 << 20
LINE_BYTES_MAX: Final = 16 << 10


class LogDestination(Struct, frozen=True):
    """Lines that go into one object: about a bucket, of events of one day."""

    target: LogTarget
    owner: str
    bucket: str
    day: str


class LogDelivery:
    """Gathers the lines of one process."""

    def __init__(self, context: S3Context) -> None:
        proxy, runtime = context.proxy, context.proxy.runtime
        self._settings: Final = context.settings
        self._lookup: Final = proxy.lookup
        self._objects: Final = proxy.objects
        self._region: Final = proxy.config.s3.region
        self._interval: Final = proxy.config.s3.access_log_interval
        self._clock: Final = runtime.clock
        self._random: Final = runtime.random
        self._log: Final = runtime.log
        self._lines: dict[LogDestination, list[bytes]] = {}
        self._waiting = 0
        self._dropped = 0
        self._is_running = False

    def expect(self, request: S3Request, response: Response, begun: float) -> None:
        """Log a request of a bucket that has this set, once its response is sent; `begun` is of the monotonic clock."""
        bucket = request.found
        if bucket is None or not self._settings.is_set(bucket, LOGGING):
            return
        answered, now = self._clock.monotonic(), self._clock.timestamp()
        began = Timestamp.from_seconds(now.seconds - (answered - begun))

        def sent(size: int, _complete: bool) -> None:
            target = self._target(bucket, request.transaction_id)
            if target is not None:
                line = log_line(request, response, began, size, answered - begun, self._clock.monotonic() - begun)
                self._add(LogDestination(target, bucket.owner, bucket.name, began.isoformat[:10]), line)

        request.environ.setdefault(SENT, []).append(sent)

    def expect_other(self, answered: AnsweredRequest) -> None:
        """The same for a request of the Swift API."""
        bucket = Bucket(answered.path.container_path, answered.container)
        if not self._settings.is_set(bucket, LOGGING):
            return
        request = S3Request(answered.environ)
        request.method, request.identity = answered.method, answered.identity
        request.found, request.bucket, request.key = bucket, bucket.name, answered.path.object
        request.transaction_id = answered.transaction_id
        self.expect(request, answered.response, answered.begun)

    def _target(self, bucket: Bucket, transaction_id: str) -> LogTarget | None:
        try:
            stored = self._settings.read(bucket, LOGGING, transaction_id)
        except CoreError:
            return None
        return None if stored is None else log_target(stored)

    def _add(self, destination: LogDestination, line: str) -> None:
        content = line.encode("utf-8", "replace")[:LINE_BYTES_MAX] + b"\n"
        if self._waiting + len(content) > WAITING_BYTES_MAX:
            self._dropped += 1
            return
        self._lines.setdefault(destination, []).append(content)
        self._waiting += len(content)
        if not self._is_running:
            self._is_running = True
            concurrency.spawn(self._deliver_later)

    def _deliver_later(self) -> None:
        """Deliver when the interval is over, again and again as long as there are lines."""
        try:
            while self._lines:
                concurrency.sleep(self._interval)
                self.deliver()
        finally:
            self._is_running = False

    def deliver(self) -> None:
        """Store all lines that wait."""
        waiting, self._lines, self._waiting = self._lines, {}, 0
        if self._dropped:
            self._log.warning("lines of access logs dropped: too many wait", lines=self._dropped)
            self._dropped = 0
        for destination, lines in waiting.items():
            while lines:
                content = b""
                while lines and len(content) + len(lines[0]) <= OBJECT_BYTES_MAX:
                    content += lines.pop(0)
                self._store(destination, content)

    def _store(self, destination: LogDestination, content: bytes) -> None:
        target, now = destination.target, self._clock.timestamp()
        nonce = self._random.getrandbits(64)
        key = target.key(destination.owner, self._region, destination.bucket, destination.day, now, nonce)
        path = ResourcePath(destination.owner, target.bucket, key)
        try:
            container = self._lookup.container(path.container_path, "")
            if container.existence is not PRESENT:
                return
            command = PutObject(
                path,
                container.policy_index,
                now,
                BytesBody(content),
                len(content),
                len(content),
                "text/plain",
                version_mode=container.version_mode,
                seal=container_seal(container),
            )
            self._objects.put(command)
        except Exception as error:
            self._log.warning("access log not delivered", path=path, reason=str(error))

    def check(self, request: S3Request, bucket: Bucket, document: bytes) -> None:
        """The bucket into which lines go is one of the same owner. Raises S3Error InvalidTargetBucketForLogging."""
        target = log_target(document)
        if target is None:
            return
        path = ResourcePath(bucket.owner, target.bucket)
        if self._lookup.container(path, request.transaction_id).existence is not PRESENT:
            raise S3Error("InvalidTargetBucketForLogging", TargetBucket=target.bucket)
