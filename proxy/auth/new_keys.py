"""Access keys made at random: those that last, and those of sessions."""

from __future__ import annotations

import base64
import secrets
import string
from datetime import UTC, datetime
from typing import Final

from objstore.config.access_keys import StoredKey

LASTING: Final = "OS"
# Clients and people know by it that a token belongs to the key.
TEMPORARY: Final = "ASIA"
ID_BYTES: Final = 10
SECRET_LENGTH: Final = 40


def new_id(prefix: str) -> str:
    """An id as long as those of AWS, which nothing else has."""
    return prefix + base64.b32encode(secrets.token_bytes(ID_BYTES)).decode()


def new_secret_key() -> str:
    """Letters and digits only: some clients trip over others, and a hyphen at the beginning is taken for an option."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(SECRET_LENGTH))


def new_access_key(now: float) -> StoredKey:
    """An access key that lasts; `now` is in seconds since the epoch."""
    return StoredKey(new_id(LASTING), new_secret_key(), moment_of(now))


def moment_of(now: float) -> str:
    """Seconds since the epoch as keys, users and policies have the moment of their creation."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
