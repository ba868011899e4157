"""Tokens of sessions: what they say, under seal."""

from __future__ import annotations

from random import Random

import pytest

from objstore.proxy.auth.sessions import TOKEN_BYTES_MAX, VERSION, AccessSession, SessionSealer, TokenTooLarge

SESSION = AccessSession(VERSION, "ASIA1", "secret", "OS1", 1_700_000_000, 1_700_003_600, "test:anna", "batch", ("{}",))
SEALER = SessionSealer(b"secret of the cluster")


def test_every_proxy_with_the_secret_reads_a_token() -> None:
    token = SEALER.token(SESSION)
    assert SessionSealer(b"secret of the cluster").read(token) == SESSION
    assert SessionSealer(b"another secret").read(token) is None
    assert "secret" not in token and "secret" not in repr(SESSION)


def test_a_token_has_one_spelling() -> None:
    token = SEALER.token(SESSION)
    changed = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]
    for other in (*changed, token + "=", token + "\n", " " + token, token[:-1], "", "é"):
        assert SEALER.read(other) is None


def test_a_token_fits_into_a_header() -> None:
    noise = Random(1).randbytes(TOKEN_BYTES_MAX).hex()
    with pytest.raises(TokenTooLarge):
        SEALER.token(AccessSession(VERSION, "a", "b", "c", 1, 2, policies=(noise,)))
