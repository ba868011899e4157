"""A token has one spelling: whatever differs from it in a character proves nothing."""

from __future__ import annotations

import string
from typing import Final

from hypothesis import assume, example, given
from hypothesis import strategies as st

from objstore.config.users import User
from objstore.proxy.auth.tokens import TokenIssuer
from tests.doubles import ManualClock

ISSUER: Final = TokenIssuer(b"secret", "AUTH_", ManualClock())
# Names of several lengths, so that tokens end in no, one and two characters of padding.
TOKENS: Final = [ISSUER.issue(User("test", "n" * length, "key"), 60) for length in (1, 20, 40)]
# What a token is made of, and what lenient decoders skip or take for it.
ALPHABET: Final = string.ascii_letters + string.digits + "-_=+/ \t\r\n.,:;!\0\x7f\xff\u0131"

changes = st.tuples(st.sampled_from(["change", "insert", "remove"]), st.integers(0, 300), st.sampled_from(ALPHABET))


def changed(token: str, change: tuple[str, int, str]) -> str:
    kind, place, character = change
    at = place % (len(token) + (kind == "insert"))
    return token[:at] + ("" if kind == "remove" else character) + token[at + (kind != "insert") :]


@given(st.sampled_from(TOKENS), st.lists(changes, min_size=1, max_size=3))
@example(TOKENS[0], [("insert", 20, "!")])
@example(TOKENS[0], [("insert", len(TOKENS[0]), "=")])
def test_a_changed_token_proves_nothing(token: str, many: list[tuple[str, int, str]]) -> None:
    mutated = token
    for change in many:
        mutated = changed(mutated, change)
    assume(mutated != token)
    assert ISSUER.read(token) is not None
    assert ISSUER.read(mutated) is None


def test_no_character_can_be_replaced_by_another() -> None:
    for token in TOKENS:
        for at in range(len(token)):
            for character in ALPHABET:
                if character != token[at]:
                    assert ISSUER.read(token[:at] + character + token[at + 1 :]) is None
