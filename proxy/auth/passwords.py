"""Keys of users, as the file of users holds them: hashed, or plain where secrecy does not matter.

    scrypt$16384$8$1$<salt>$<hash>          cost, block size, parallelism; salt and hash in base64
    pbkdf2_sha256$600000$<salt>$<hash>      iterations
    anything else                           the key itself

`objstore hash-password` makes the first.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

SCRYPT: Final = "scrypt"
PBKDF2: Final = "pbkdf2_sha256"
SCRYPT_COST: Final = 16_384
SCRYPT_BLOCK_SIZE: Final = 8
SCRYPT_MEMORY_MAX: Final = 256 * 1024 * 1024
SALT_BYTES: Final = 16


def is_hashed(stored: str) -> bool:
    """Whether checking it takes long, by design."""
    return stored.startswith((SCRYPT + "$", PBKDF2 + "$"))


def is_right(given: str, stored: str) -> bool:
    """Whether a client that shows `given` knows the key. Takes as long for a wrong one.

    Blocks for some hundredths of a second if the key is hashed. Raises ValueError if a hashed key is malformed.
    """
    key = given.encode("utf-8", "surrogatepass")
    if not is_hashed(stored):
        return hmac.compare_digest(key, stored.encode())
    kind, *parameters, salt, expected = stored.split("$")
    known = b64decode(expected, validate=True)
    return hmac.compare_digest(_derive(kind, key, b64decode(salt, validate=True), parameters, len(known)), known)


def _derive(kind: str, key: bytes, salt: bytes, parameters: list[str], size: int) -> bytes:
    if kind == SCRYPT:
        cost, block_size, parallelism = map(int, parameters)
        return hashlib.scrypt(key, salt=salt, n=cost, r=block_size, p=parallelism, maxmem=SCRYPT_MEMORY_MAX, dklen=size)
    (iterations,) = map(int, parameters)
    return hashlib.pbkdf2_hmac("sha256", key, salt, iterations, size)


def hashed(key: str, salt: bytes) -> str:
    """A key as the file of users should hold it."""
    derived = _derive(SCRYPT, key.encode(), salt, [str(SCRYPT_COST), str(SCRYPT_BLOCK_SIZE), "1"], 32)
    salt_text, derived_text = (b64encode(part).decode() for part in (salt, derived))
    return f"{SCRYPT}${SCRYPT_COST}${SCRYPT_BLOCK_SIZE}$1${salt_text}${derived_text}"
