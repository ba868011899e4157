"""Errors become answers of the Swift API, by one table."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Final

from objstore.errors import StoreError
from objstore.headers import Client, is_internal
from objstore.http.errors import HttpError, http_error_of
from objstore.http.messages import Response
from objstore.http.transport import NodeFailure
from objstore.logs import Logger
from objstore.passwords import TooManyLogins
from objstore.policies import BadPolicies, UnknownPolicy
from objstore.proxy.auth.identity_service import IdentityServiceDown
from objstore.proxy.core import errors as core
from objstore.proxy.core.versions import public_id
from objstore.proxy.swift.handlers.object import DELETED_TYPE, object_headers
from objstore.proxy.swift.request import SwiftRequest
from objstore.ring.errors import RingFileError, RingMissing
from objstore.system.concurrency import WaitTimeout
from objstore.system.locks import LockTimeout
from objstore.system.threads import CallTimeout

# What the API answers with wherever it has nothing of its own to send.
PAGE_TYPE: Final = "text/html; charset=UTF-8"
TEXT_TYPE: Final = "text/plain; charset=UTF-8"
# Clients of the API know this page.
CONFLICT_PAGE: Final = "<html><h1>Conflict</h1><p>There was a conflict when trying to complete your request.</p></html>"
UNFORESEEN: Final = HttpError(500, "Internal error; the log tells more under the transaction id")

Answer = int | Callable[[Any], HttpError]


def _facts(status: int) -> Answer:
    """The status, with headers for the facts that the error has about the object."""

    def answer(error: core.PreconditionFailed | core.InvalidRange) -> HttpError:
        facts = error.facts
        headers = {
            Client.ETAG: facts.etag,
            Client.LAST_MODIFIED: facts.last_modified,
            Client.TIMESTAMP: facts.timestamp,
            Client.ACCEPT_RANGES: "bytes" if facts.etag else "",
            Client.CONTENT_RANGE: "" if facts.size is None else f"bytes */{facts.size}",
        }
        return HttpError(status, headers={name: value for name, value in headers.items() if value})

    return answer


def _told(status: int) -> Answer:
    """The status, with the error's message as the reason."""
    return lambda error: HttpError(status, str(error))


def _no_object(error: core.ObjectNotFound) -> HttpError:
    """404; of a delete marker that is a version, which."""
    if not error.version:
        return HttpError(404)
    return HttpError(
        404, headers={Client.OBJECT_VERSION_ID: public_id(error.version), Client.CONTENT_TYPE: DELETED_TYPE}
    )


# An HttpError is its own answer, and one table of all our servers has those to errors of values. Every other error that
# can reach the edge stands here. 503 tells a client to try again, 500 that it would be in vain.
ANSWERS: Final[dict[type[StoreError], Answer]] = {
    BadPolicies: 500,
    CallTimeout: 503,
    IdentityServiceDown: 503,
    LockTimeout: 503,
    NodeFailure: 503,
    RingFileError: 500,
    RingMissing: 500,
    TooManyLogins: lambda error: HttpError(503, str(error), {Client.RETRY_AFTER: "2"}),
    UnknownPolicy: 500,
    WaitTimeout: 503,
    core.AccountDeleted: lambda error: HttpError(410, headers={Client.ACCOUNT_STATUS: "Deleted"}),
    core.AccountNotFound: 404,
    core.AccountNotReaped: _told(403),
    core.BodyBrokenOff: 503,
    core.ChecksumMismatch: 422,
    core.ContainerLimitReached: _told(403),
    core.ContainerNotEmpty: _told(409),
    core.ContainerNotFound: 404,
    core.CustomerKeyNeeded: _told(400),
    core.CustomerKeyUnfit: _told(400),
    core.CustomerKeyWrong: _told(403),
    core.EncryptionKeyMissing: 500,
    core.IncompleteBody: 499,
    core.InvalidPart: _told(400),
    core.InvalidPartOrder: _told(400),
    core.InvalidRange: _facts(416),
    core.LinkTargetChanged: lambda error: HttpError(
        409, f"Object Etag '{error.actual}' does not match {Client.SYMLINK_TARGET_ETAG} header '{error.expected}'"
    ),
    core.ManifestDamaged: 500,
    core.ManifestsTooDeep: lambda error: HttpError(409, CONFLICT_PAGE),
    core.MetadataRefused: _told(400),
    core.NewerStored: 409,
    core.ObjectLocked: lambda _: HttpError(403, "The version is protected by object lock"),
    # Caches take headers of this answer for those of the object (RFC 9111, section 3.2), its type among them.
    core.NotModified: lambda error: HttpError(304, headers=object_headers(error.info)),
    core.ObjectNotFound: _no_object,
    core.PartTooSmall: _told(400),
    core.OutboxFull: 503,
    core.OutcomeUnknown: 503,
    core.PartUnavailable: _told(409),
    core.PolicyConflict: _told(409),
    core.PreconditionFailed: _facts(412),
    core.QuorumNotReached: 503,
    core.QuotaExceeded: _told(413),
    core.SealBroken: 500,
    core.TooManyLinks: _told(409),
    core.TooManyVersions: _told(400),
    core.UploadNotFound: _told(404),
    core.WriteRefused: 400,
}


def is_foreseen(error: BaseException) -> bool:
    """Whether the error happens in a healthy store; others are bugs or mistakes of operators, and are logged."""
    if not isinstance(error, StoreError):
        return False
    return http_error_of(error) is not None or ANSWERS.get(type(error), 500) != 500


def answer_to(error: BaseException) -> Response:
    """The response to an error: never with headers of our own servers, nor with a reason from inside."""
    refusal = page(refusal_of(error))
    for name in [name for name in refusal.headers if is_internal(name)]:
        del refusal.headers[name]
    return refusal


def refusal_of(error: BaseException) -> HttpError:
    """The error as the table renders it."""
    known = http_error_of(error) if isinstance(error, StoreError) else None
    if known is not None:
        return known
    answer = ANSWERS.get(type(error))  # type: ignore[arg-type]
    if answer is None:
        return UNFORESEEN
    return HttpError(answer) if isinstance(answer, int) else answer(error)


def guarded(log: Logger, request: SwiftRequest, work: Callable[[], Response]) -> Response:
    """What work comes to of which the client has been told that it is under way: refusals come as answers."""
    try:
        return work()
    except Exception as error:
        if not is_foreseen(error):
            log.exception("unforeseen error", trans_id=request.transaction_id, path=request.path)
        return answer_to(error)


def with_headers(error: StoreError, headers: dict[str, str]) -> StoreError:
    """The error as its answer with further headers; one that is not foreseen stays what it is."""
    if not is_foreseen(error):
        return error
    refusal = refusal_of(error)
    return HttpError(refusal.status, refusal.reason, refusal.headers | headers)


def page(error: HttpError) -> Response:
    """The answer of a refusal: its reason, and nothing else, in the type that clients of the API know.

    A reason may quote what the client sent, so it is escaped unless it goes as text: browsers take the page for HTML.
    """
    as_is = error.headers.get(Client.CONTENT_TYPE) == TEXT_TYPE or error.reason == CONFLICT_PAGE
    text = error.reason if as_is else escape(error.reason, quote=False)
    return Response(error.status, {Client.CONTENT_TYPE: PAGE_TYPE, **error.headers}, text.encode("utf-8", "replace"))
