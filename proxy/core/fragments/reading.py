"""Reads of objects that are stored as fragments, whole objects among them.

One device is asked for the object and others, at the same time, for the names of its files, until so many have answered
that a body could be read and one of every majority is among them. Nearly always all say the same. If not, `weigh` says
what counts: writes that count and are not durable everywhere are committed first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.ranges import ByteRange
from objstore.http.transport import BackendResponse, Exchange
from objstore.proxy.core.backend import agreement, codes
from objstore.proxy.core.backend.fragments import (
    FragmentedObject,
    asking_headers,
    asking_own,
    fragmented,
    fragments_of,
    names_of,
    own_fragment,
    tells_names_alone,
)
from objstore.proxy.core.backend.objects import given_range
from objstore.proxy.core.errors import BodyBrokenOff
from objstore.proxy.core.fragments.body import FragmentBody
from objstore.proxy.core.fragments.commits import Committer
from objstore.proxy.core.fragments.streams import (
    READ_AHEAD_BYTES_MAX,
    REPORTS_MAX,
    FragmentSources,
    FragmentStream,
    ReadLimit,
)
from objstore.proxy.core.fragments.weighing import PendingWrite, Quorums, Weighed, survivors, weigh
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.polling import ObjectPoll
from objstore.proxy.core.quorum_request import Writer
from objstore.proxy.core.reading import SMALL_BODY_MAX, Reader
from objstore.proxy.core.strong import Agreement
from objstore.system import concurrency
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.objects import PutObject

READS_MAX: Final = 12
# So often it is looked whether writes under way have come to their end, before what is newest is brought to a majority.
PATIENT_READS: Final = 2


class FragmentOperations:
    """Reads objects of erasure-coded policies, and commits their writes; one for each process."""

    def __init__(self, reader: Reader, writer: Writer, agreement: Agreement) -> None:
        self._reader: Final = reader
        self._agreement: Final = agreement
        self._committer: Final = Committer(writer)
        self._ahead: Final = ReadLimit(READ_AHEAD_BYTES_MAX)
        self._reports: Final = ReadLimit(REPORTS_MAX)

    def commit_later(
        self, placement: Placement, nodes: Sequence[Device], command: PutObject, stamp: Timestamp, version: str
    ) -> None:
        """Commit a write that is about to be acknowledged, without waiting for it."""
        self._committer.later(placement, nodes, asking_headers(command), PendingWrite(stamp.internal, version))

    def read(self, method: str, placement: Placement, headers: Mapping[str, str]) -> BackendResponse:
        """The answer about what counts; its body, of a fragmented object, is a FragmentBody, or at hand if small.

        Never raises: it says UNAVAILABLE if too few devices answer.
        """
        quorums = Quorums(placement.replicas, placement.quorum, placement.majority, placement.data)
        deadline = concurrency.monotonic() + self._reader.timeout_seconds
        for tries in range(READS_MAX):
            poll = _Poll(self._reader, method, placement, headers, quorums)
            try:
                found = poll.run()
                if found is not None:
                    return self._with_body(method, placement, headers, found, poll)
            finally:
                poll.close()
            if poll.is_short or concurrency.monotonic() > deadline:
                break
            for pending in poll.weighed.commits:
                self._committer.commit(placement, poll.nodes, headers, pending)
            if not poll.weighed.commits:
                if tries >= PATIENT_READS and placement.strict:
                    self._agreement.settle(placement, headers)
                self._agreement.back_off(tries)
        return _unavailable()

    def _with_body(
        self, method: str, placement: Placement, headers: Mapping[str, str], found: BackendResponse, poll: _Poll
    ) -> BackendResponse:
        about = fragmented(found)
        if about is None:
            poll.hand_over(found)
            return found
        at_hand = [FragmentStream(*each, range(1), about, self._ahead) for each in poll.at_hand(about)]
        sources = FragmentSources(
            self._reader, placement, headers, about, poll.sources(about), self._ahead, self._reports
        )
        part = given_range(found)
        wanted = ByteRange(0, about.size - 1) if part is None else part
        body = FragmentBody(sources, wanted, at_hand)
        found = BackendResponse(found.status, found.headers | {"Content-Length": str(about.size)}, body)
        if method == "HEAD" or wanted.length > SMALL_BODY_MAX:
            return found
        try:
            found.body = BytesBody(b"".join(map(bytes, body)))
        except BodyBrokenOff:
            return _unavailable()
        return found


def _unavailable() -> BackendResponse:
    return BackendResponse(codes.UNAVAILABLE, {}, BytesBody(b""))


class _Poll(ObjectPoll):
    """One look at what the devices have, and at the object on one of them."""

    def __init__(
        self, reader: Reader, method: str, placement: Placement, headers: Mapping[str, str], quorums: Quorums
    ) -> None:
        is_get = method == "GET"
        super().__init__(reader, method, placement, asking_own(headers, or_names=False) if is_get else headers)
        if is_get:
            self._question = "GET", asking_own(headers, or_names=True)
        self._quorums = quorums
        self._answers: dict[Device, BackendResponse] = {}
        self._states: dict[Device, frozenset[str]] = {}
        self._of_object: set[Device] = set()  # who has answered with the object
        self._handed_over: list[BackendResponse] = []
        self.weighed = Weighed()

    @property
    def has_object(self) -> bool:
        return bool(self._of_object)

    @property
    def nodes(self) -> Sequence[Device]:
        """The devices that have answered."""
        return list(self._states)

    @property
    def is_short(self) -> bool:
        """Whether too few devices have answered."""
        return len(self._states) < self._quorums.read

    def run(self) -> BackendResponse | None:
        """The answer about what counts; None if something must be committed first, or cannot be known."""
        try:
            self.ask(self._quorums.read)
            for exchange in self.answered():
                self._take(exchange, self.pending.pop(exchange))
                if len(self._states) < self._quorums.read:
                    continue
                chosen = self._decision(final=False)
                if chosen is not None or self.weighed.commits:
                    return chosen
                if not self.pending:
                    self.ask_next(for_object=False)
            return None if self.is_short else self._decision(final=True)
        finally:
            for exchange in self.pending:
                exchange.abandon()

    def close(self) -> None:
        """Let go of all answers but those that were handed over."""
        for response in self._answers.values():
            if response not in self._handed_over:
                response.close()

    def hand_over(self, response: BackendResponse) -> None:
        """Somebody else closes this answer."""
        self._handed_over.append(response)

    def at_hand(self, about: FragmentedObject) -> Iterator[tuple[Device, int, BackendResponse]]:
        """Hand over fragments of an object of one segment that have come with the answers, each number once."""
        found = set[int]()
        for node, response in self._answers.items():
            number = own_fragment(response, about)
            if number is not None and number not in found:
                found.add(number)
                self.hand_over(response)
                yield node, number, response

    def _decision(self, final: bool) -> BackendResponse | None:
        """The answer that counts as far as is known; the last word where nobody is left to be asked."""
        states = {node.id: names for node, names in self._states.items()}
        numbers = {node.id: self._number(node) for node in self._states}
        heard = sum(node in self._states for node in self.placement.primaries)
        self.weighed = weighed = weigh(states, numbers, self.placement.replicas - heard, self._quorums)
        if weighed.commits or weighed.is_unknown:
            return None
        effective = {node: names - weighed.void for node, names in self._states.items()}
        for names in dict.fromkeys(effective.values()):
            holders = [node for node, held in effective.items() if held == names]
            if len(holders) >= self._quorums.majority:
                if not self.placement.strict and not final and not any(name.endswith(".data") for name in names):
                    return None  # a handoff may have it
                return self._about(holders)
        if not final:
            return None
        if self.placement.strict:
            return self._about(survivors(effective, self._quorums))
        return self._about(sorted(effective, key=lambda node: _newness(effective[node]), reverse=True))

    def _number(self, node: Device) -> int:
        known = (self.placement.fragments or {}).get(node.id)
        if known is not None:
            return known
        held = fragments_of(self._answers[node].headers)
        return held[-1].number or 0 if held else 0

    def _about(self, holders: Sequence[Device]) -> BackendResponse | None:
        """The answer with the object, of the first of these devices that gives one."""
        for node in holders:
            if node in self._of_object:
                return self._answers[node]
        for node in holders:
            response = self.reader.ask(self.method, node, self.placement, self.headers)
            if response is None:
                continue
            state = names_of(agreement.state_of(response) or "-")
            if state == self._states[node] and not tells_names_alone(response):
                self._answers[node] = response
                return response
            response.close()
        return None

    def _take(self, exchange: Exchange, for_object: bool) -> None:
        response = self.reader.answer_of(exchange)
        state = None if response is None else agreement.state_of(response)
        if response is None or state is None:  # it cannot say what it has
            if response is not None:
                response.close()
            self.ask_next(for_object)
            return
        node = exchange.node
        self._states[node], self._answers[node] = names_of(state), response
        if fragmented(response) is not None or (for_object and not tells_names_alone(response)):
            self._of_object.add(node)
        elif for_object:
            self.ask_next(for_object=True)

    def sources(self, about: FragmentedObject) -> list[tuple[Device, int]]:
        """Who has fragments of an object: first those who have said so, then those who should."""
        found = []
        for node, response in self._answers.items():
            held = [file for file in fragments_of(response.headers) if file.timestamp == about.timestamp]
            found += [(node, file.number) for file in held if file.number is not None]
        numbers = self.placement.fragments or {}
        unheard = [node for node in self.placement.primaries if node not in self._states]
        return found + [(node, numbers[node.id]) for node in unheard]


def _newness(names: frozenset[str]) -> tuple[str, str]:
    """When data was written or removed last, by the names of a device."""
    deciding = [name for name in names if not name.endswith(".meta")]
    return max(deciding, default=""), max(names, default="")
