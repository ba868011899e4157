"""Key pairs: made here or brought, known by their fingerprints."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from sqlalchemy import select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core import quotas
from objstore.compute.core.context import ComputeContext, Requester
from objstore.compute.errors import AlreadyExists, InvalidRequest, no_such
from objstore.compute.model.tables import KeypairRow

PUBLIC_KEY_MAX: Final = 16384
NAME: Final = re.compile(r"[\w@. -]{1,255}", re.ASCII)


def _colons(digest: str) -> str:
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _fingerprints(public_key: str) -> tuple[str, str]:
    """Of an OpenSSH key: MD5 of its blob, as Nova has it, and the EC2 API's of an imported key.

    Raises InvalidRequest.
    """
    try:
        key = serialization.load_ssh_public_key(public_key.encode())
        blob = base64.b64decode(public_key.split()[1])
    except (ValueError, UnsupportedAlgorithm, IndexError) as error:
        raise InvalidRequest(f"Keypair data is invalid: {error}") from error
    nova = _colons(hashlib.md5(blob, usedforsecurity=False).hexdigest())
    if isinstance(key, ed25519.Ed25519PublicKey):
        return nova, base64.b64encode(hashlib.sha256(blob).digest()).decode()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return nova, _colons(hashlib.md5(der, usedforsecurity=False).hexdigest())


def _generate(kind: str) -> tuple[str, str, str]:
    """Public key, private key, and the EC2 API's fingerprint of a key that was made."""
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if kind == "ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.OpenSSH
    else:
        private = rsa.generate_private_key(65537, 2048)
        form = serialization.PrivateFormat.TraditionalOpenSSL
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    secret = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    if kind == "ed25519":
        blob = base64.b64decode(public.split()[1])
        fingerprint = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    else:
        der = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        fingerprint = _colons(hashlib.sha1(der, usedforsecurity=False).hexdigest())
    return public.decode(), secret.decode(), fingerprint


def create_keypair(
    context: ComputeContext, requester: Requester, name: str, public_key: str | None, kind: str = "rsa"
) -> tuple[KeypairRow, str | None]:
    """A key pair, and the private key if it was made here. Raises InvalidRequest, AlreadyExists, OverQuota."""
    if not NAME.fullmatch(name) or name != name.strip():
        raise InvalidRequest("A key pair's name has 1 to 255 letters, digits, blanks, and characters of @._-")
    private = ec2 = None
    if public_key is None:
        public_key, private, ec2 = _generate(kind)
    elif len(public_key) > PUBLIC_KEY_MAX:
        raise InvalidRequest(f"Keypair data is invalid: it has more than {PUBLIC_KEY_MAX} characters.")
    nova, imported = _fingerprints(public_key)

    def work(session: SqlSession) -> KeypairRow:
        limits = quotas.limits_of(session, requester.project_id or "", context.limits.quotas)
        quotas.check(limits, quotas.used_by(session, requester.project_id or "", requester.user_id), {"key_pairs": 1})
        if find_keypair(session, requester.user_id, name) is not None:
            raise AlreadyExists(f"Key pair '{name}' already exists.")
        row = KeypairRow(
            user_id=requester.user_id,
            name=name,
            type="ssh",
            public_key=public_key,
            fingerprint=nova,
            ec2_fingerprint=ec2 or imported,
            created_at=context.now(),
        )
        session.add(row)
        session.flush()
        session.expunge(row)
        return row

    return context.run(work), private


def find_keypair(session: SqlSession, user_id: str, name: str) -> KeypairRow | None:
    found = select(KeypairRow).where(KeypairRow.user_id == user_id, KeypairRow.name == name)
    return session.scalars(found).one_or_none()


def get_keypair(session: SqlSession, user_id: str, name: str) -> KeypairRow:
    """Raises NoSuch."""
    row = find_keypair(session, user_id, name)
    if row is None:
        raise no_such("keypair", name)
    return row


def delete_keypair(context: ComputeContext, user_id: str, name: str) -> None:
    """Raises NoSuch."""
    context.run(lambda session: session.delete(get_keypair(session, user_id, name)))


def list_keypairs(session: SqlSession, user_id: str) -> list[KeypairRow]:
    found = select(KeypairRow).where(KeypairRow.user_id == user_id).order_by(KeypairRow.name)
    return list(session.scalars(found))
