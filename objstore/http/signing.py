"""Requests of operators' programs that change a server: signed with a key that only the cluster's own machines know.

The signature is HMAC-SHA256 (RFC 2104) over method, path, the body's SHA-256, the time and a random number; each server
takes it once, within five minutes of the time.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.system.shared_counters import SharedMarks
from objstore.system.wallclock import WallClock

VALID_SECONDS: Final = 300.0
NONCE_BYTES: Final = 16
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
TIME: Final = re.compile(r"[0-9]{1,12}")
NONCE: Final = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")


@dataclass(frozen=True)
class Signer:
    """Signs and checks; both sides derive the key from the cluster's secrets."""

    key: bytes
    clock: WallClock

    def headers(self, method: str, path: str, body_digest: str) -> dict[str, str]:
        """What a request carries; `body_digest` is the body's SHA-256 in hex."""
        at, nonce = str(int(self.clock.now())), secrets.token_hex(NONCE_BYTES)
        return {
            Backend.BODY_DIGEST: body_digest,
            Backend.SIGNED_AT: at,
            Backend.SIGNATURE_NONCE: nonce,
            Backend.SIGNATURE: self._signature(method, path, body_digest, at, nonce),
        }

    def check(self, request: Request, taken: SharedMarks) -> str:
        """The digest that the body must have. Raises HttpError 403 unless the request is signed lately, and is new.

        `taken` remembers it, and nothing unsigned: strangers can neither fill the table nor make it forget.
        """
        digest = request.header(Backend.BODY_DIGEST, "") or ""
        at = request.header(Backend.SIGNED_AT, "") or ""
        nonce = request.header(Backend.SIGNATURE_NONCE, "") or ""
        given = request.header(Backend.SIGNATURE, "") or ""
        well_formed = DIGEST.fullmatch(digest) and TIME.fullmatch(at) and NONCE.fullmatch(nonce)
        if not (well_formed and DIGEST.fullmatch(given)):
            raise HttpError(403, "The request is not signed")
        expected = self._signature(request.method, request.path, digest, at, nonce)
        if not hmac.compare_digest(expected, given):
            raise HttpError(403, "The signature is wrong: is it the objstore.toml of this cluster?")
        if abs(self.clock.now() - int(at)) > VALID_SECONDS:
            raise HttpError(403, f"The signature is of another time; clocks may differ by {VALID_SECONDS:.0f} s")
        # Twice as long: the sender's clock may be ahead by as much as a signature is good for.
        if taken.is_marked(nonce, self.clock.now(), 2 * VALID_SECONDS):
            raise HttpError(403, "The request was taken before; sign each one anew")
        taken.mark(nonce, self.clock.now())
        return digest

    def _signature(self, method: str, path: str, body_digest: str, at: str, nonce: str) -> str:
        message = "\n".join((method, path, body_digest, at, nonce))
        return hmac.digest(self.key, message.encode("latin-1", "replace"), "sha256").hex()
