"""The statuses by which storage servers answer, and the verbs beyond those of the APIs."""

from __future__ import annotations

from typing import Final

from objstore.headers import Backend

SUCCESS_MAX: Final = 299
FOUND: Final = 200
CREATED: Final = 201
ACCEPTED: Final = 202
DELETED: Final = 204
PARTIAL: Final = 206
NOT_MODIFIED: Final = 304
INVALID: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
PRECONDITION_FAILED: Final = 412
TOO_LARGE: Final = 413
INVALID_RANGE: Final = 416
CHECKSUM_MISMATCH: Final = 422
# From here on the server itself has failed.
SERVER_ERROR: Final = 500
UNAVAILABLE: Final = 503
DISK_GONE: Final = 507
# As good as the body itself: the node has the resource, and has weighed the request's conditions.
CONDITION_ANSWERS: Final = (NOT_MODIFIED, PRECONDITION_FAILED, INVALID_RANGE)
# With such an answer: a disk that is full serves what it has.
DEVICE_FULL: Final = Backend.DEVICE_FULL

RESEND_CONTAINER_UPDATE: Final = "RESEND_CONTAINER_UPDATE"
ROWS: Final = "ROWS"
