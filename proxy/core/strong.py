"""Writes to objects of strong policies: what is acknowledged is on a quorum of the primaries, once and for all.

    unconditional    send it, and stamp it anew while all refuse it: something newer is there. With no quorum: rounds
    conditional      rounds

    a round          PREPARE at a new stamp, at all nodes: each promises to take no older write, and says what it has
                     -> no quorum of promises: again, later than all that was seen
                     -> `judge`: done, unknown, or what is newest must be brought to a quorum (REPAIR): then again;
                        or it is the write itself, in too few fragments: it is sent again at the stamp
                     -> decide the condition on the state that a quorum has
                     -> the write itself at the stamp, to those that have promised; no quorum of them stores it: again

The agreement of each write is single-decree Paxos without a leader (CASPaxos, Rystsov 2018), the stamp its ballot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from objstore.devices import Device
from objstore.http.transport import BackendRequest, Exchange, NodeFailure, wait_any
from objstore.proxy.core.agreement import Ballot, SentWrite, WriteStanding, judge
from objstore.proxy.core.backend import agreement as backend
from objstore.proxy.core.backend.rows import StoredWrite, stored_write
from objstore.proxy.core.container_update_fallback import require_listed
from objstore.proxy.core.errors import CoreError, OutcomeUnknown, QuorumNotReached
from objstore.proxy.core.fragments.commits import Committer
from objstore.proxy.core.fragments.weighing import weigh_prepared, without
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.quorum_request import QuorumResult, Writer
from objstore.system import concurrency
from objstore.system.clock import Clock
from objstore.timestamps import Timestamp

RESTAMPS_MAX: Final = 8
ROUNDS_MAX: Final = 16
# So often nodes that have not answered are asked again, since they may say that an attempt was not done.
UNKNOWN_MAX: Final = 4
# After this no further round begins: nodes remember for longer what was pushed to them.
ROUNDS_SECONDS: Final = 40.0
BACKOFF_SECONDS: Final = 0.005
BACKOFF_SECONDS_MAX: Final = 0.5
REPAIR_SECONDS: Final = 30.0
# Timestamps of a write differ from those of all others; the lowest bits are left to what daemons add.
_OWN_BITS: Final = 48
_DAEMON_BITS: Final = 16


class Accept(Struct, frozen=True):
    """A write at `stamp`, to the nodes of `placement`; `state`: what those have that prepared it, None if none has."""

    stamp: Timestamp
    placement: Placement
    state: str | None = None


class Sent(Struct, frozen=True):
    """An attempt: `headers[i]` went to the i-th node of `placement`, and what they answered."""

    placement: Placement
    headers: Sequence[Mapping[str, str]]
    result: QuorumResult


class Sender(Protocol):
    """One write, as it is sent."""

    @property
    def method(self) -> str: ...

    def asking(self) -> Mapping[str, str]:
        """The headers by which nodes are asked about the object it is for."""

    def reachable(self, nodes: Sequence[Device]) -> tuple[Device, ...]:
        """Those nodes to which it can be sent, perhaps once more."""

    def send(self, accept: Accept) -> Sent:
        """Send it to the nodes of a placement."""

    def check(self, found: backend.Prepared) -> None:
        """Raises CoreError if the write is not to be done in this state of its object."""

    def raise_refusal(self, result: QuorumResult) -> None:
        """Raises the CoreError that stands for why nodes refuse it, if that is not its time."""


class Agreement:
    """How the nodes of strong policies are brought to agree; one for each process."""

    def __init__(self, writer: Writer, clock: Clock, random: Random) -> None:
        self._writer: Final = writer
        self._clock: Final = clock
        self._random: Final = random
        self._committer: Final = Committer(writer)

    def stamp(self, timestamp: Timestamp | None = None, after: str = "") -> Timestamp:
        """A timestamp that no other write has: `timestamp`, or now, but later than `after`."""
        ticks = (timestamp or self._clock.timestamp()).ticks
        if after:
            ticks = max(ticks, Timestamp.parse(after).ticks + 1)
        return Timestamp(ticks, self._random.getrandbits(_OWN_BITS) << _DAEMON_BITS)

    def prepare(
        self, placement: Placement, headers: Mapping[str, str], stamp: Timestamp
    ) -> tuple[list[backend.Prepared], str, int]:
        """The promises for `stamp`, the newest timestamp that stands against others, and how many have answered."""
        sent = [backend.preparing(headers, stamp)] * len(placement.primaries)
        result = self._writer.send(backend.PREPARE, placement, sent)
        granted, later = backend.prepared(result)
        return granted, later, len(result.responses)

    def repair(
        self, placement: Placement, headers: Mapping[str, str], stamp: Timestamp, granted: Sequence[backend.Prepared]
    ) -> None:
        """Have those that have prepared `stamp` give each other what they lack; the next round shows what it did."""
        sent, pending = {**backend.asking(headers), **backend.agreed(stamp)}, list[Exchange]()
        for node, order in backend.repairs(granted):
            request = BackendRequest(backend.REPAIR, node, placement.partition, placement.path, sent)
            try:
                pending.append(self._writer.transport.start(request, order, REPAIR_SECONDS))
            except NodeFailure:
                self._writer.nodes.record_failure(node)
        deadline = concurrency.monotonic() + REPAIR_SECONDS
        while pending and (ready := wait_any(pending, deadline - concurrency.monotonic())):
            for exchange in ready:
                pending.remove(exchange)
                try:
                    exchange.response().close()
                except NodeFailure:
                    self._writer.nodes.record_failure(exchange.node)
        for exchange in pending:
            exchange.abandon()

    def settle(self, placement: Placement, headers: Mapping[str, str]) -> None:
        """Bring what is newest to a majority, if one promises to take no older write meanwhile."""
        seen = ""
        for _ in range(2):  # a stamp that is too old is told what is newer
            stamp = self.stamp(after=seen)
            granted, seen, _ = self.prepare(placement, headers, stamp)
            if len(granted) >= placement.majority:
                if placement.fragments is not None:
                    self.settle_fragments(placement, headers, stamp, granted)
                self.repair(placement, headers, stamp, granted)
                return

    def settle_fragments(
        self, placement: Placement, headers: Mapping[str, str], stamp: Timestamp, granted: list[backend.Prepared]
    ) -> list[backend.Prepared] | None:
        """The promises without what is pending and does not count.

        None if there is something pending that counts, which is committed by then, or of which nobody can know.
        """
        weighed = weigh_prepared(granted, placement)
        for pending in weighed.commits:
            nodes = [each.node for each in granted]
            self._committer.commit(placement, nodes, headers, pending, stamp)
        if weighed.commits or weighed.is_unknown:
            return None
        return [without(each, weighed.void) for each in granted] if weighed.void else granted

    def back_off(self, tries: int) -> None:
        """Let others get through: a random time, the longer the more tries there were."""
        concurrency.sleep(self._random.random() * min(BACKOFF_SECONDS * 2**tries, BACKOFF_SECONDS_MAX))


class WriteAgreement:
    """One write on its way."""

    def __init__(self, agreement: Agreement, sender: Sender, placement: Placement) -> None:
        """`placement` is strict."""
        self._agreement = agreement
        self._sender = sender
        self._placement = placement
        self._seen = ""
        self._unknown = 0  # rounds that have not shown what became of an attempt
        self._attempts: list[SentWrite] = []
        self._written: dict[str, list[StoredWrite]] = {}  # by the stamps of the attempts
        self.sent: list[Sent] = []

    def next_stamp(self, timestamp: Timestamp | None) -> Timestamp:
        """One later than all that has been seen."""
        return self._agreement.stamp(timestamp, self._seen)

    def see(self, timestamp: str) -> None:
        self._seen = max(self._seen, timestamp)

    def unconditional(self, timestamp: Timestamp | None) -> Timestamp:
        """Write it whatever is there, at about `timestamp` or now; when that was. Raises CoreError."""
        placement = self._placement
        for _ in range(RESTAMPS_MAX):
            nodes = self._sender.reachable(placement.primaries)
            if len(nodes) < placement.quorum:
                break
            if nodes != placement.primaries:
                placement = replace(placement, primaries=nodes)
            stamp = self.next_stamp(timestamp)
            answers = self._attempt(Accept(stamp, placement))
            if len(answers.stored) >= placement.quorum:
                return stamp
            if len(answers.refused) < placement.replicas:
                break  # some may have it, or may yet
        return self.rounds(timestamp, on_state=False)

    def _attempt(self, accept: Accept) -> backend.Answers:
        """Send it once. Raises CoreError if a quorum refuses it for what it is."""
        sent = self._sender.send(accept)
        answers = backend.answers(sent.result, accept.stamp, deletes=self._sender.method == "DELETE")
        stamp, asked = accept.stamp.internal, frozenset([node.id for node in accept.placement.primaries])
        self._attempts.append(SentWrite(stamp, asked - answers.refused))
        self.sent.append(sent)
        headers = dict(zip([node.id for node in sent.placement.primaries], sent.headers, strict=True))
        self._written[stamp] = [
            stored_write(node, headers[node.id], response)
            for node, response in zip(sent.result.nodes, sent.result.responses, strict=True)
            if node.id in answers.stored
        ]
        self.see(max(answers.later, stamp))  # an attempt that is left behind is older than the next
        if answers.refusals >= self._placement.quorum and not self._may_be_stored:
            self._sender.raise_refusal(sent.result)
        return answers

    @property
    def _may_be_stored(self) -> bool:
        """Whether a node may have it: then it may come to be read even now."""
        return any(attempt.holders for attempt in self._attempts)

    def rounds(self, timestamp: Timestamp | None, *, on_state: bool) -> Timestamp:
        """Write it if it is to be done in the state that a quorum has, and know that it is; when. Raises CoreError."""
        deadline = concurrency.monotonic() + ROUNDS_SECONDS
        for tries in range(ROUNDS_MAX):
            if concurrency.monotonic() > deadline:
                break
            if (done := self._round(timestamp, on_state)) is not None:
                return done
            self._agreement.back_off(tries)
        raise self._gave_up()

    def _round(self, timestamp: Timestamp | None, on_state: bool) -> Timestamp | None:
        placement, sender = self._placement, self._sender
        stamp, ballot = self.prepare(timestamp)
        if ballot is None:
            return None
        match standing := judge(ballot, self._attempts, on_state):
            case WriteStanding.DONE:
                self._note_holders(ballot)
                return Timestamp.parse(ballot.newest)
            case WriteStanding.UNKNOWN:
                self._unknown += 1
                if len(ballot.granted) < placement.replicas and self._unknown < UNKNOWN_MAX:
                    return None
                raise OutcomeUnknown(placement.path)
            case WriteStanding.REPAIR:
                self._agreement.repair(placement, sender.asking(), stamp, ballot.granted)
                return None
        # What is there already is written again whatever the condition says: that has been decided.
        state = self.check(ballot) if on_state and standing is WriteStanding.OPEN else ""
        nodes = sender.reachable([each.node for each in ballot.granted])
        if len(nodes) < placement.quorum:
            raise self._gave_up()
        answers = self._attempt(Accept(stamp, replace(placement, primaries=nodes), state))
        return stamp if len(answers.stored) >= placement.quorum else None

    def prepare(self, timestamp: Timestamp | None = None) -> tuple[Timestamp, Ballot | None]:
        """The promises of a quorum for a new stamp, None if there are too few. Raises CoreError if nobody is there."""
        placement = self._placement
        stamp = self.next_stamp(timestamp)
        granted, later, answered = self._agreement.prepare(placement, self._sender.asking(), stamp)
        self.see(max(later, stamp.internal))
        if answered < placement.quorum:
            raise self._gave_up()
        if len(granted) < placement.quorum:
            return stamp, None
        if placement.fragments is not None:
            settled = self._agreement.settle_fragments(placement, self._sender.asking(), stamp, granted)
            if settled is None:
                return stamp, None
            granted = settled
        return stamp, Ballot(granted, placement.replicas, placement.quorum, placement.majority)

    def check(self, ballot: Ballot) -> str:
        """The state that a quorum has, in which the write is to be done. Raises CoreError if it is not."""
        shared = ballot.shared
        assert shared is not None
        try:
            self._sender.check(shared)
        except CoreError as error:
            # An older attempt was not chosen, says `judge`, and who asks a majority from now on finds what is newer.
            if any(attempt.holders and attempt.stamp > shared.newest for attempt in self._attempts):
                raise OutcomeUnknown(self._placement.path) from error
            raise
        return shared.state

    def _note_holders(self, ballot: Ballot) -> None:
        """Nodes that have the write from others, or whose answer was lost, can still inform the container."""
        index = next(n for n, attempt in enumerate(self._attempts) if attempt.stamp == ballot.newest)
        written, sent = self._written[ballot.newest], self.sent[index].headers[0]
        known = {each.node.id for each in written}
        holders = (each.node for each in ballot.granted if each.newest == ballot.newest)
        written += [stored_write(node, sent) for node in holders if node.id not in known]

    def _gave_up(self) -> OutcomeUnknown | QuorumNotReached:
        path = self._placement.path
        return OutcomeUnknown(path) if self._may_be_stored else QuorumNotReached(path)

    def others(self, stamp: Timestamp | None = None) -> list[str]:
        """The stamps of attempts that a node may have stored beside the one that has counted, if one has."""
        counted = "" if stamp is None else stamp.internal
        return [each.stamp for each in self._attempts if each.holders and each.stamp != counted]

    def require_rows(self, writer: Writer, container: Placement, stamp: Timestamp) -> None:
        """Have the row of what was written at `stamp` on a majority of the container's servers. Raises CoreError."""
        try:
            require_listed(writer, self._placement, container, self._written[stamp.internal])
        except QuorumNotReached as error:
            raise OutcomeUnknown(self._placement.path) from error
