"""Requests of operators' programs that change a server: signed with a key that only the cluster's own machines know.

The signature is HMAC-SHA256 (RFC 2104) over method, path, the body's SHA-256 and the time; it is good for five minutes.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Final

from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.system.wallclock import WallClock

VALID_SECONDS: Final = 300.0
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
TIME: Final = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Signer:
    """Signs and checks; both sides derive the key from the cluster's secrets."""

    key: bytes
    clock: WallClock

    def headers(self, method: str, path: str, body_digest: str) -> dict[str, str]:
        """What a request carries; `body_digest` is the body's SHA-256 in hex."""
        at = str(int(self.clock.now()))
        return {
            Backend.BODY_DIGEST: body_digest,
            Backend.SIGNED_AT: at,
            Backend.SIGNATURE: self._signature(method, path, body_digest, at),
        }

    def check(self, request: Request) -> str:
        """The digest that the body must have. Raises HttpError 403 unless the request is signed, and that lately."""
        digest = request.header(Backend.BODY_DIGEST, "") or ""
        at = request.header(Backend.SIGNED_AT, "") or ""
        given = request.header(Backend.SIGNATURE, "") or ""
        if not (DIGEST.fullmatch(digest) and TIME.fullmatch(at) and DIGEST.fullmatch(given)):
            raise HttpError(403, "The request is not signed")
        expected = self._signature(request.method, request.path, digest, at)
        if not hmac.compare_digest(expected, given):
            raise HttpError(403, "The signature is wrong: is it the objstore.toml of this cluster?")
        if abs(self.clock.now() - int(at)) > VALID_SECONDS:
            raise HttpError(403, f"The signature is of another time; clocks may differ by {VALID_SECONDS:.0f} s")
        return digest

    def _signature(self, method: str, path: str, body_digest: str, at: str) -> str:
        message = "\n".join((method, path, body_digest, at))
        return hmac.digest(self.key, message.encode("latin-1", "replace"), "sha256").hex()
