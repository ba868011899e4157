"""Checks keys of users against what the file of users holds (`objstore.config.users` says what that is).

`objstore hash-password` makes what stands there for scrypt.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from objstore.config.users import PBKDF2, SCRYPT, SCRYPT_MEMORY_MAX, Derivation, HashedKey, parse_key
from objstore.errors import StoreError
from objstore.system.processes import lower_thread_priority
from objstore.system.threads import ThreadGroup

SCRYPT_NUMBERS: Final = (16_384, 8, 1)
SALT_BYTES: Final = 16
DERIVED_BYTES: Final = 32
# At 50 ms each, the last one waits for two seconds.
WAITING_MAX: Final = 32
CHECK_TIMEOUT_SECONDS: Final = 30.0


@dataclass(eq=False)
class TooManyLogins(StoreError):
    """More keys are to be checked than this process gets done within moments."""

    message: ClassVar[str] = "Too many logins at this moment"


class KeyChecker:
    """Checks keys in the same time, whether the stored key is hashed or plain, or there is no such user.

    Each check derives a hash once for each kind of derivation that the file has, commonly one. That happens on one
    thread of low priority, and few checks wait for it: whoever makes up logins takes no more of the machine than that,
    and no thread that serves requests.
    """

    def __init__(self, stored: Iterable[str], threads: ThreadGroup | None = None) -> None:
        """`stored` are all keys of the file. Raises ValueError if a hashed one is malformed."""
        hashed = [known for key in stored if (known := parse_key(key)) is not None]
        self._decoys = [
            HashedKey(derivation, b"\0" * SALT_BYTES, b"\0" * derivation.size)
            for derivation in sorted({known.derivation for known in hashed})
        ]
        self._threads = ThreadGroup(1, "logins") if threads is None else threads
        self._waiting = 0

    def is_right(self, given: str, stored: str | None) -> bool:
        """Whether a client that shows `given` knows the key; `stored` is None if there is no such user.

        Raises TooManyLogins, and WaitTimeout.
        """
        if not self._decoys:
            return is_right(given, stored, ())
        if self._waiting >= WAITING_MAX:
            raise TooManyLogins
        self._waiting += 1
        try:
            return self._threads.call_within(CHECK_TIMEOUT_SECONDS, _check_in_thread, given, stored, self._decoys)
        finally:
            self._waiting -= 1


def _check_in_thread(given: str, stored: str | None, decoys: Iterable[HashedKey]) -> bool:
    lower_thread_priority()
    return is_right(given, stored, decoys)


def is_right(given: str, stored: str | None, decoys: Iterable[HashedKey]) -> bool:
    key = given.encode("utf-8", "surrogatepass")
    known = None if stored is None else parse_key(stored)
    right = False
    for decoy in decoys:
        own = known is not None and known.derivation == decoy.derivation
        checked = known if own and known is not None else decoy
        right |= hmac.compare_digest(_derive(checked.derivation, key, checked.salt), checked.derived) and own
    plain = hmac.compare_digest(hashlib.sha256(key).digest(), hashlib.sha256((stored or "").encode()).digest())
    return right or (plain and stored is not None and known is None)


def _derive(derivation: Derivation, key: bytes, salt: bytes) -> bytes:
    if derivation.kind == PBKDF2:
        return hashlib.pbkdf2_hmac("sha256", key, salt, derivation.numbers[0], derivation.size)
    cost, block_size, parallelism = derivation.numbers
    return hashlib.scrypt(
        key, salt=salt, n=cost, r=block_size, p=parallelism, maxmem=SCRYPT_MEMORY_MAX, dklen=derivation.size
    )


def hashed(key: str, salt: bytes) -> str:
    """A key as the file of users should hold it."""
    derived = _derive(Derivation(SCRYPT, SCRYPT_NUMBERS, DERIVED_BYTES), key.encode(), salt)
    salt_text, derived_text = (b64encode(part).decode() for part in (salt, derived))
    return "$".join([SCRYPT, *map(str, SCRYPT_NUMBERS), salt_text, derived_text])
