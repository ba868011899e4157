"""The event notifier: the daemon that delivers events from the outboxes to webhooks, each at least once.

An event leaves its outbox when the webhook has answered 2xx, so one that is delivered twice is possible, and one that
is never delivered is not, unless the webhook does not take it for as long as `give_up` says. While a webhook does not
take what it is sent, attempts become rarer, and each begins behind the event that was refused: one that it never takes
holds no others up.

An intent that nobody has settled is a write that is under way, was interrupted, or failed. After SETTLE_SECONDS the
object's own servers are asked whether it was written since; if it was, the event is delivered.

Every server of a webhook's outbox may deliver. The first primary does so at once; the next ones take what has waited
for TURN_SECONDS and longer, so a server that is down holds nothing up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from objstore.config.cluster import WebhookConfig
from objstore.config.container import NotifierConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.direct import Direct, NodeResponse
from objstore.headers import STANDS_FOR_OTHERS, Backend, Client
from objstore.http.webhook import WebhookConnection
from objstore.outbox import OutboxEntry, begun_at, entry_of, outbox_of, removal_row, sequencer, with_facts
from objstore.paths import ResourcePath
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ObjectRow, encode_rows
from objstore.system import concurrency
from objstore.system.threads import CallTimeout
from objstore.timestamps import Timestamp

# One server alone delivers an event for so long, then the next one does, too.
TURN_SECONDS: Final = 300.0
# Longer than a proxy takes to settle a write that is done.
SETTLE_SECONDS: Final = 60.0
# An intent whose write is not found by then was of one that failed: no upload takes longer.
INTENT_SECONDS: Final = 86_400.0
# A pass spends no longer on one webhook, so that the others get their turn.
WEBHOOK_SECONDS: Final = 5.0
PAUSE_FIRST_SECONDS: Final = 1.0
# Events that are delivered are removed so many at a time.
REMOVED_AT_ONCE: Final = 100
# Of one request: to connect, to send, and for the answer; and as often again if the connection was an old one.
POST_WAITS: Final = 6
LOOKED_AT_MAX: Final = 10_000


class Poster(Protocol):
    """Sends to one webhook; see WebhookConnection."""

    def post(self, content: bytes) -> str: ...

    def close(self) -> None: ...


class QueuedEvent(Struct, frozen=True):
    """A row of an outbox. listed: as it was written last; begun: when its write began."""

    name: str
    listed: Timestamp
    begun: Timestamp
    entry: OutboxEntry | None  # None of a row that cannot be read

    @property
    def removed_row(self) -> ObjectRow:
        return removal_row(self.name, self.listed)


class EventNotifier:
    """A worker: each step delivers what waits for any webhook."""

    name: str = "event-notifier"

    def __init__(
        self,
        config: NotifierConfig,
        context: DaemonContext,
        timeout_seconds: float,
        connect: Callable[[str, str, float], Poster] = WebhookConnection,
    ) -> None:
        """`timeout_seconds` is how long a storage server may take to answer."""
        direct = Direct(context.transport, context.cluster.hasher, timeout_seconds)
        self._report = PassReport(self.name, context.recon, context.runtime, "events")
        self._is_reported = False
        self._deliveries = [
            WebhookDelivery(each, config, context, direct, self._report, connect) for each in context.cluster.webhooks
        ]

    def step(self) -> Step:
        """A pass over all webhooks whose turn it is; BUSY if there was no time for all that can be delivered.

        Where there are no webhooks, the first pass is reported, and no other.
        """
        if not self._deliveries and self._is_reported:
            return Step.IDLE
        self._report.begin()
        tasks = [concurrency.spawn(each.run) for each in self._deliveries]
        is_cut_short = [task.wait() for task in tasks]
        self._report.end()
        self._is_reported = True
        return Step.BUSY if any(is_cut_short) else Step.IDLE


class WebhookDelivery:
    """Delivers the events of one webhook, and remembers how that goes."""

    def __init__(
        self,
        webhook: WebhookConfig,
        config: NotifierConfig,
        context: DaemonContext,
        direct: Direct,
        report: PassReport,
        connect: Callable[[str, str, float], Poster],
    ) -> None:
        self._webhook = webhook
        self._config = config
        self._rings = context.rings
        self._is_mine = context.is_mine
        self._clock = context.runtime.clock
        self._log = context.runtime.log
        self._threads = context.runtime.threads.of(f"webhooks/{webhook.name}")
        self._direct = direct
        self._report = report
        self._connect = connect
        self._outbox = outbox_of(webhook.name)
        self._poster: Poster | None = None
        self._marker = ""  # the event behind which it goes on
        self._failures = 0  # since the last success
        self._due = 0.0
        self._looked_at: dict[str, float] = {}  # intents, and when
        self._removed: list[ObjectRow] = []

    def run(self) -> bool:
        """Deliver for WEBHOOK_SECONDS at most; whether there was no time for all."""
        try:
            return self._clock.monotonic() >= self._due and self._run()
        except Exception as error:  # one webhook must not keep the others waiting
            self._report.count("failed")
            self._log.exception("events not delivered", webhook=self._webhook.name, reason=str(error))
            return False
        finally:
            self._remove()
            if self._poster is not None:
                self._poster.close()
                self._poster = None

    def _run(self) -> bool:
        patience = self._patience()
        if patience is None:
            return False
        until = self._clock.monotonic() + WEBHOOK_SECONDS
        while (page := self._direct.page(self._rings.container, self._outbox, self._marker)) and page.entries:
            for listed in page.entries:
                event = queued_event(listed)
                self._marker = event.name
                if self._clock.now() - event.begun.seconds >= patience and not self._deal_with(event):
                    return False
                if self._clock.monotonic() >= until:
                    return True
        self._marker = ""
        return False

    def _patience(self) -> float | None:
        """How long an event has to wait until this server delivers it; None if it never does."""
        _, primaries = self._direct.primaries(self._rings.container, self._outbox)
        turn = next((number for number, node in enumerate(primaries) if self._is_mine(node)), None)
        return None if turn is None else turn * TURN_SECONDS

    def _deal_with(self, event: QueuedEvent) -> bool:
        """Deliver an event, or see what came of its write; False if the webhook is to be left alone for a while."""
        entry, age = event.entry, self._clock.now() - event.begun.seconds
        if entry is None:
            self._log.error("event cannot be read", webhook=self._webhook.name, event=event.name)
            self._drop(event, "unreadable")
            return True
        facts = None if entry.is_settled else self._look(event, entry, age)
        if not entry.is_settled and facts is None:
            if age > INTENT_SECONDS:
                self._drop(event, "not_written")
            return True
        reason = self._post(msgspec.json.encode(with_facts(entry.message, facts or {})))
        if not reason:
            self._failures = 0
            self._drop(event, "delivered")
            return True
        self._failures += 1
        pause = min(PAUSE_FIRST_SECONDS * 2.0 ** min(self._failures - 1, 30), self._config.longest_pause)
        self._due = self._clock.monotonic() + pause
        self._report.count("refused")
        self._log.warning(
            "event not delivered", webhook=self._webhook.name, event=event.name, reason=reason, pause_seconds=pause
        )
        if age > self._config.give_up:
            self._log.error("event given up", webhook=self._webhook.name, event=event.name, reason=reason)
            self._drop(event, "given_up")
        return False

    def _post(self, content: bytes) -> str:
        """Why the webhook has not taken it, "" if it has."""
        if self._poster is None:
            self._poster = self._connect(self._webhook.url, self._webhook.token, self._config.timeout)
        try:
            return self._threads.call_within(POST_WAITS * self._config.timeout, self._poster.post, content)
        except CallTimeout:
            self._poster = None  # the thread still uses it
            return "no answer in time"

    def _look(self, event: QueuedEvent, entry: OutboxEntry, age: float) -> dict[str, Any] | None:
        """What its servers say of the object that an intent is about, None unless it was written since.

        Where the object cannot show that, or its servers do not answer for INTENT_SECONDS, it counts as written.
        """
        if age < SETTLE_SECONDS or not entry.path:
            return None
        if not entry.shows:
            return {}
        if self._clock.monotonic() < self._looked_at.get(event.name, 0.0):
            return None
        if len(self._looked_at) >= LOOKED_AT_MAX:
            self._looked_at.clear()
        self._looked_at[event.name] = self._clock.monotonic() + SETTLE_SECONDS
        headers = {Backend.POLICY_INDEX: str(entry.policy_index), Backend.OPEN_EXPIRED: "true"}
        path = ResourcePath.parse(entry.path)
        replies = self._direct.send(self._rings.object(entry.policy_index), "HEAD", path, headers).replies
        newest = max(replies, key=lambda reply: reply.headers.get(Backend.TIMESTAMP, ""))
        if newest.headers.get(Backend.TIMESTAMP, "") >= event.begun.internal:
            return facts_of(newest)
        has_all = all(reply.status in (200, 404) for reply in replies)
        return {} if age > INTENT_SECONDS and not has_all else None

    def _drop(self, event: QueuedEvent, outcome: str) -> None:
        self._report.count(outcome)
        self._looked_at.pop(event.name, None)
        self._removed.append(event.removed_row)
        if len(self._removed) >= REMOVED_AT_ONCE:
            self._remove()

    def _remove(self) -> None:
        """A server that misses it gets it from the others; at worst events are delivered again."""
        removed, self._removed = self._removed, []
        if removed:
            self._direct.update(self._rings.container, self._outbox, encode_rows(removed))


def queued_event(listed: Mapping[str, Any]) -> QueuedEvent:
    """The event of a row of the listing; one that cannot be read has no entry, and is as old as its row."""
    name, written = str(listed["name"]), Timestamp.from_isoformat(str(listed["last_modified"]))
    try:
        return QueuedEvent(name, written, begun_at(name), entry_of(listed))
    except ValueError:
        return QueuedEvent(name, written, written, None)


def facts_of(reply: NodeResponse) -> dict[str, Any]:
    """What an event says of an object, as far as one of its servers knows: not what the parts of one make."""
    headers = reply.headers
    facts: dict[str, Any] = {"sequencer": sequencer(Timestamp.parse(headers[Backend.TIMESTAMP]))}
    if reply.status == 200 and STANDS_FOR_OTHERS.isdisjoint(headers):
        facts |= {"size": int(headers.get(Client.CONTENT_LENGTH, "0")), "eTag": headers.get(Client.ETAG, "").strip('"')}
    return facts
