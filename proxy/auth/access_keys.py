"""Access keys: pairs of an id and a secret with which users of the S3 API sign their requests.

A signature is verified with the secret itself. So a user whose key in the file of users is plain has an access key
already: "account:name" and that key. A user whose key is hashed needs one that is made, and kept in a file of its own.
"""

from __future__ import annotations

from msgspec import Struct

from objstore.proxy.auth.identity import Identity


class AccessKey(Struct, frozen=True):
    """An access key that is in use, and whose it is."""

    id: str
    secret: str
    identity: Identity

    def __repr__(self) -> str:
        return f"AccessKey({self.id!r})"
