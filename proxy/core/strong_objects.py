"""PUT, POST and DELETE of objects whose policy is strong: each as one write on which nodes agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from objstore.devices import Device
from objstore.http.transport import BackendRequest, BackendUpload, Exchange, NodeFailure
from objstore.proxy.core.backend import agreement, codes
from objstore.proxy.core.backend import objects as backend
from objstore.proxy.core.errors import ObjectNotFound, OutcomeUnknown, PreconditionFailed, QuorumNotReached
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.quorum_request import QuorumResult, ResponseCollector, Writer, send_body
from objstore.proxy.core.strong import RESTAMPS_MAX, Accept, Agreement, Sent, WriteAgreement
from objstore.proxy.core.strong_reading import StrongReader
from objstore.proxy.core.upload import NOTHING, StreamingUpload, upload
from objstore.scheme import Scheme
from objstore.system.threads import ThreadGroup
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.checksums import Algorithm
    from objstore.proxy.core.lookup import Lookup
    from objstore.proxy.core.objects import DeleteObject, PostObject, PutObject

    Command = PutObject | PostObject | DeleteObject


# Where an object is written, and the container, and the expiry queue if it expires, that its nodes inform.
Places = tuple[Placement, Placement, Placement | None]


class _Write:
    """A command, as it is sent: the headers for an attempt, and who refuses it why."""

    method = ""
    makes_version = False  # each attempt one of its own

    def __init__(self, writer: Writer, command: Command, fields: backend.Headers, places: Places) -> None:
        self._writer = writer
        self.command = command
        self._fields = fields
        self.places = places
        self.placement, self.container, self._queue = places

    @property
    def is_conditional(self) -> bool:
        return self.command.conditions is not None

    def headers(self, stamp: Timestamp, placement: Placement) -> list[backend.Headers]:
        """Those of an attempt, for each node."""
        command = replace(self.command, timestamp=stamp)
        return backend.write_headers(command, self._fields, placement, self.container, self._queue)

    def asking(self) -> Mapping[str, str]:
        sent = self.headers(self.command.timestamp, self.placement)[0]
        return agreement.asking_before(sent, of_version=self.is_of_version)

    @property
    def is_of_version(self) -> bool:
        """Whether it depends on the version that it names, and not on what is current."""
        return False

    def reachable(self, nodes: Sequence[Device]) -> tuple[Device, ...]:
        return tuple(nodes)

    def send(self, accept: Accept) -> Sent:
        headers = self.headers(accept.stamp, accept.placement)
        if accept.state is not None:
            for each in headers:
                each |= agreement.agreed(accept.stamp, self.bound_to(accept.state))
        return Sent(accept.placement, headers, self.pass_on(accept.placement, headers))

    def bound_to(self, _state: str) -> str:
        """The state outside of which nodes must not take the write; "" for any."""
        return ""

    def pass_on(self, placement: Placement, headers: list[backend.Headers]) -> QuorumResult:
        return self._writer.send(self.method, placement, headers)

    def check(self, found: agreement.Prepared) -> None:
        conditions = self.command.conditions
        if conditions is not None and conditions.refuse(found.found):
            raise PreconditionFailed

    def raise_refusal(self, result: QuorumResult) -> None:
        raise NotImplementedError


class _Put(_Write):
    method = "PUT"

    def __init__(self, writer: Writer, command: PutObject, places: Places) -> None:
        super().__init__(writer, command, backend.put_fields(command), places)
        self._put = command

    def raise_refusal(self, result: QuorumResult) -> None:
        backend.put_outcome(self._put, result)


class _WholePut(_Put):
    """A body that is at hand."""

    def __init__(self, writer: Writer, command: PutObject, places: Places, content: bytes, scheme: Scheme) -> None:
        super().__init__(writer, command, places)
        self.makes_version = command.version_mode == "keep" and not command.version
        self._content = content
        self._scheme = scheme
        self.stored: tuple[str, Mapping[Algorithm, str]] = NOTHING

    def pass_on(self, placement: Placement, headers: list[backend.Headers]) -> QuorumResult:
        etag, kept, result = send_body(self._writer, self._put, self._content, self._scheme, placement, headers)
        self.stored = etag, kept
        return result


class _StreamedPut(_Put):
    """A body that passes through once: when it is there, those nodes that have it learn when it was written.

    Those that refuse that keep it for the next attempt.
    """

    sending: _DecidedUpload | None = None

    def reachable(self, nodes: Sequence[Device]) -> tuple[Device, ...]:
        sending = self.sending
        return tuple(nodes) if sending is None else tuple(node for node in nodes if sending.has_body(node))

    def send(self, accept: Accept) -> Sent:
        assert self.sending is not None
        return self.sending.end(accept)


class _DecidedUpload(StreamingUpload):
    """A body whose write is decided once it is there: `decide` is called then, and has the upload end."""

    def __init__(
        self,
        writer: Writer,
        placement: Placement,
        headers: list[backend.Headers],
        length: int | None,
        scheme: Scheme,
        decide: Callable[[], None],
    ) -> None:
        super().__init__(writer, placement, headers, length, scheme)
        agreement.expect_decision(headers)
        self.headers: Final = headers
        self._decide = decide
        self._proofs: Sequence[Mapping[str, str]] = ()
        self._kept: dict[int, str] = {}  # names of bodies, by the ids of devices that have kept them
        self._index_of: dict[int, int] = {}  # by the ids of devices
        self.is_begun = False

    def open(self) -> bool:
        self.is_begun = super().open()
        return self.is_begun

    def has_body(self, node: Device) -> bool:
        return node.id in self._kept or any(exchange.node.id == node.id for exchange in self._uploads.values())

    def finish(self, trailers: Sequence[Mapping[str, str]]) -> None:
        self._proofs = trailers
        self._decide()

    def end(self, accept: Accept) -> Sent:
        """One attempt, at the nodes of the placement: those end the body now, or go on with what they have kept of it.

        The others wait: another attempt may be for them.
        """
        agreement.restamp(self.headers, accept.stamp)
        decided = agreement.decided(accept.stamp, is_agreed=accept.state is not None)
        collector = ResponseCollector(self._writer, accept.placement)
        wanted = {node.id: node for node in accept.placement.primaries}
        for index, exchange in list(self._uploads.items()):
            if exchange.node.id in wanted:
                del self._uploads[index]
                self._index_of[exchange.node.id] = index
                if self._ends(exchange, {**self._proofs[index], **decided}):
                    collector.add(exchange)
        for number, name in self._kept.items():
            if number in wanted and (again := self._started(wanted[number], name, decided)) is not None:
                collector.add(again)
        result = collector.collect()
        for node, response in zip(result.nodes, result.responses, strict=True):
            if name := agreement.kept_body(response):
                self._kept[node.id] = name
        return Sent(self._placement, [dict(each) for each in self.headers], result)

    def _ends(self, exchange: BackendUpload, trailers: Mapping[str, str]) -> bool:
        try:
            exchange.finish(trailers)
        except NodeFailure:
            self._drop(exchange)
            return False
        return True

    def _started(self, node: Device, name: str, decided: backend.Headers) -> Exchange | None:
        index, placement, writer = self._index_of[node.id], self._placement, self._writer
        headers = agreement.with_kept_body(self.headers[index], {**self._proofs[index], **decided}, name)
        try:
            request = BackendRequest("PUT", node, placement.partition, placement.path, headers)
            return writer.transport.start(request, b"", writer.timeout_seconds)
        except NodeFailure:
            writer.nodes.record_failure(node)
            return None


class _Post(_Write):
    method = "POST"

    def __init__(self, writer: Writer, command: PostObject, places: Places) -> None:
        super().__init__(writer, command, backend.post_fields(command), places)
        self._post = command

    @property
    def is_of_version(self) -> bool:
        return True

    def bound_to(self, state: str) -> str:
        # The new metadata belongs to the data it was meant for: other data must not get it.
        return state

    def check(self, found: agreement.Prepared) -> None:
        super().check(found)
        if found.found is None:
            raise ObjectNotFound(self._post.path)

    def raise_refusal(self, result: QuorumResult) -> None:
        backend.post_outcome(self._post, result)


class _Delete(_Write):
    method = "DELETE"

    def __init__(self, writer: Writer, command: DeleteObject, places: Places) -> None:
        super().__init__(writer, command, backend.delete_fields(command), places)
        self.makes_version = command.version_mode == "keep"
        self._delete = command
        self.has_found = False

    @property
    def is_of_version(self) -> bool:
        return not self.is_conditional

    def bound_to(self, state: str) -> str:
        # Nodes weigh the lock of a version by what they have: that must be what a quorum has.
        return state if self._delete.version else ""

    def check(self, found: agreement.Prepared) -> None:
        super().check(found)
        self.has_found = found.found is not None
        expected = self._delete.only_if_expiring_at
        if expected is None:
            return
        if found.found is None:
            raise ObjectNotFound(self._delete.path)
        if found.delete_at != expected:
            raise PreconditionFailed

    def raise_refusal(self, result: QuorumResult) -> None:
        backend.delete_outcome(self._delete, result)


class StrongObjects:
    """Operations of one process on objects of strong policies."""

    def __init__(
        self, agreement: Agreement, reader: StrongReader, writer: Writer, threads: ThreadGroup, lookup: Lookup
    ) -> None:
        self._lookup: Final = lookup
        self._agreement: Final = agreement
        self.reader: Final = reader
        self._writer: Final = writer
        self._threads: Final = threads

    def put(
        self, command: PutObject, places: Places, content: bytes, whole: bool, scheme: Scheme
    ) -> tuple[str, Mapping[Algorithm, str], Timestamp, Timestamp]:
        """The ETag, the checksums that are kept, when it was stored, and the time that a new version is called by.

        That of a large body is when it began to come in: servers have called it so by then. Raises CoreError.

        `content` is the body or, unless that is `whole`, what of it is here already.
        """
        if not whole:
            return self._put_streamed(command, places, content, scheme)
        write = _WholePut(self._writer, command, places, content, scheme)
        agreed = WriteAgreement(self._agreement, write, places[0])
        stamp = self._carry_out(agreed, write, command.timestamp)
        return *write.stored, stamp, stamp

    def check_ahead(self, command: PutObject, places: Places) -> None:
        """Tell a sender before it sends the body that the conditions do not hold; with the body they are decided.

        Raises CoreError.
        """
        if command.conditions is None:
            return
        write = WriteAgreement(self._agreement, _Put(self._writer, command, places), places[0])
        _, ballot = write.prepare(command.timestamp)
        if ballot is not None and ballot.shared is not None:
            write.check(ballot)

    def _remove_attempts(self, sender: _Write, versions: Sequence[str]) -> None:
        """Versions stay whatever is written later, so what does not count of a write would be versions nobody has made.

        Of a delete marker, another one would hide the object still when its client has removed the one it knows of.
        """
        from objstore.proxy.core.objects import DeleteObject  # it imports this module

        command = sender.command
        for version in versions:
            removal = DeleteObject(
                command.path,
                command.policy_index,
                self._agreement.stamp(),
                transaction_id=command.transaction_id,
                version=version,
            )
            try:
                self.delete(removal, sender.places, on_state=False)
            except ObjectNotFound:
                pass  # its mark is set, should it turn up
            except QuorumNotReached as error:
                raise OutcomeUnknown(command.path) from error

    def _put_streamed(
        self, command: PutObject, places: Places, content: bytes, scheme: Scheme
    ) -> tuple[str, Mapping[Algorithm, str], Timestamp, Timestamp]:
        put, placement = _StreamedPut(self._writer, command, places), places[0]
        write = WriteAgreement(self._agreement, put, placement)
        done: list[Timestamp] = []

        def decide() -> None:
            done.append(self._carry_out(write, put, None))

        for _ in range(RESTAMPS_MAX):
            stamp = write.next_stamp(command.timestamp)
            headers = put.headers(stamp, placement)
            put.sending = sending = _DecidedUpload(self._writer, placement, headers, command.length, scheme, decide)
            etag, kept = upload(command, content, sending, scheme.encoder(placement.numbers), self._threads)
            if done:
                return etag, kept, done[0], stamp
            later = agreement.answers(sending.result, stamp, deletes=False).later
            if sending.is_begun or not later:
                break
            write.see(later)  # nobody has asked for the body yet
        backend.put_outcome(command, sending.result)
        raise QuorumNotReached(command.path)

    def post(self, command: PostObject, places: Places) -> backend.Headers:
        """Of a link, the system metadata that says where it leads. Raises CoreError."""
        post = _Post(self._writer, command, places)
        write = WriteAgreement(self._agreement, post, places[0])
        self._carry_out(write, post, command.timestamp, on_state=True)
        return next((fields for sent in write.sent if (fields := backend.link_fields(sent.result))), {})

    def delete(self, command: DeleteObject, places: Places, *, on_state: bool = True) -> Timestamp:
        """When it was deleted. Raises CoreError: also if there was nothing, when that is written.

        The removal of a version is decided `on_state` of a quorum, so that no lock is set at the same moment.
        """
        delete = _Delete(self._writer, command, places)
        write = WriteAgreement(self._agreement, delete, places[0])
        on_state = command.only_if_expiring_at is not None or (on_state and bool(command.version))
        stamp = self._carry_out(write, delete, command.timestamp, on_state=on_state)
        statuses = [status for sent in write.sent for status in sent.result.statuses]
        if delete.has_found or codes.DELETED in statuses or codes.NOT_FOUND not in statuses:
            return stamp
        raise backend.nothing_deleted(command, stamp)

    def _carry_out(
        self, write: WriteAgreement, sender: _Write, timestamp: Timestamp | None, *, on_state: bool = False
    ) -> Timestamp:
        if on_state or sender.is_conditional:
            try:
                stamp = write.rounds(timestamp, on_state=True)
            except PreconditionFailed:
                if sender.makes_version:
                    self._remove_attempts(sender, write.others())
                raise
        else:
            stamp = write.unconditional(timestamp)
        try:
            write.require_rows(self._writer, sender.container, stamp)
        except OutcomeUnknown:
            # Another proxy may have deleted it, or made it anew under another policy.
            self._lookup.forget_container(sender.container.path)
            raise
        if sender.makes_version:
            self._remove_attempts(sender, write.others(stamp))
        return stamp
