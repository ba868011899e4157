"""Keys are checked in the same time whatever the file holds, and only so many at once."""

from __future__ import annotations

import hashlib
import os
import threading
from base64 import b64encode
from typing import Any

import pytest

from objstore import passwords
from objstore.config.users import Derivation
from objstore.passwords import WAITING_MAX, KeyChecker, TooManyLogins
from objstore.system.concurrency import Event, spawn
from objstore.system.processes import THREAD_NICENESS
from objstore.system.threads import ThreadGroup

SCRYPT = passwords.hashed("secret", b"0123456789abcdef")
PBKDF2 = "pbkdf2_sha256$10$c2FsdA==$" + b64encode(hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 10)).decode()


@pytest.mark.parametrize("stored", [SCRYPT, PBKDF2, "secret"])
@pytest.mark.parametrize("others", [(), ("plain",), (SCRYPT,), (SCRYPT, PBKDF2)])
def test_a_key(stored: str, others: tuple[str, ...]) -> None:
    keys = KeyChecker([stored, *others])
    assert keys.is_right("secret", stored)
    for wrong in ("wrong", "", stored + "x", "\0" * 32):
        assert not keys.is_right(wrong, stored)
        assert not keys.is_right(wrong, None)
    assert not keys.is_right("secret", None)
    assert keys.is_right(stored, stored) is (stored == "secret")


@pytest.mark.parametrize("stored", [SCRYPT, PBKDF2, "plain", None])
@pytest.mark.parametrize("given", ["secret", "wrong"])
def test_every_check_takes_the_same_derivations(
    monkeypatch: pytest.MonkeyPatch, stored: str | None, given: str
) -> None:
    derivations: list[Derivation] = []

    def derive(derivation: Derivation, key: bytes, salt: bytes) -> bytes:
        derivations.append(derivation)
        return b"x" * derivation.size

    monkeypatch.setattr(passwords, "_derive", derive)
    KeyChecker([SCRYPT, SCRYPT, PBKDF2, "plain"]).is_right(given, stored)
    assert derivations == [Derivation("pbkdf2_sha256", (10,), 32), Derivation("scrypt", (16384, 8, 1), 32)]


def test_a_check_leaves_the_processor_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def derive(derivation: Derivation, key: bytes, salt: bytes) -> bytes:
        seen.append((threading.get_ident(), os.getpriority(os.PRIO_PROCESS, 0)))
        return b""

    monkeypatch.setattr(passwords, "_derive", derive)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    keys = KeyChecker([SCRYPT])
    keys.is_right("secret", SCRYPT)
    keys.is_right("secret", SCRYPT)
    (thread, niceness), again = seen
    assert thread != threading.get_ident()
    assert niceness == max(THREAD_NICENESS, before)
    assert again == (thread, niceness)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


class BusyThreads(ThreadGroup):
    """Answers every call when the test says so."""

    def __init__(self) -> None:
        super().__init__(1)
        self.answer: Event[bool] = Event()

    def call_within(self, seconds: float, function: Any, *arguments: Any) -> Any:
        return self.answer.wait(seconds)


def test_only_so_many_wait() -> None:
    threads = BusyThreads()
    keys = KeyChecker([SCRYPT], threads)
    waiting = [spawn(keys.is_right, "secret", SCRYPT) for _ in range(WAITING_MAX)]
    last = spawn(keys.is_right, "secret", SCRYPT)
    with pytest.raises(TooManyLogins):
        last.wait(5)
    threads.answer.set(True)
    assert [task.wait(5) for task in waiting] == [True] * WAITING_MAX
    assert keys.is_right("secret", SCRYPT)
