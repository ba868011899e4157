"""Keys in a folder, one file each, and what they encrypt. Every process of the service reads the same folder.

Keys are numbered. The newest is not used yet: it is there so that all processes know it before one of them uses it.
The one before it encrypts, older ones decrypt alone. A rotation adds a key, and so moves each on by one.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.errors import StoreError, reason_of
from objstore.system.files import write_atomically
from objstore.system.locks import locked

FORMAT: Final = 1
KEY_BYTES: Final = 32
NUMBER_BYTES: Final = 4
NONCE_BYTES: Final = 12
HEAD_BYTES: Final = 1 + NUMBER_BYTES + NONCE_BYTES
KEYS_MAX: Final = 1000
CHECK_SECONDS: Final = 1.0
FILE_NAME: Final = re.compile(r"(\d{8})\.key")


@dataclass(eq=False)
class KeysUnusable(StoreError):
    """A folder of keys that cannot be read or written."""

    message: ClassVar[str] = "{folder}: {reason}"

    folder: str
    reason: str


class KeyFolder:
    """The keys of one purpose. Threads may share it. Methods raise KeysUnusable."""

    def __init__(
        self, folder: Path, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._checked_at = float("-inf")
        self._seen = 0
        self._keys: dict[int, AESGCM] = {}

    def prepare(self) -> None:
        """Make the folder and its first two keys, if there are none."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(str(self._folder / ".lock")):
                for number in range(len(self._numbers()) + 1, 3):
                    self._write(number)
        except OSError as error:
            raise KeysUnusable(str(self._folder), reason_of(error)) from error

    def rotate(self, keep_seconds: float | None) -> int:
        """Add a key; the number of keys that are left.

        Keys that have not encrypted for `keep_seconds` are removed; None keeps all.
        """
        try:
            with locked(str(self._folder / ".lock")):
                numbers = self._numbers()
                if len(numbers) >= KEYS_MAX:
                    raise KeysUnusable(str(self._folder), f"there are {len(numbers)} keys already")
                self._write(max(numbers, default=0) + 1)
                kept = [number for number in self._numbers() if not self._is_over(number, keep_seconds)]
                for number in set(self._numbers()) - set(kept):
                    self._file(number).unlink()
                return len(kept)
        except OSError as error:
            raise KeysUnusable(str(self._folder), reason_of(error)) from error

    def _is_over(self, number: int, keep_seconds: float | None) -> bool:
        """A key has encrypted until the key after its successor came."""
        try:
            ended = self._file(number + 2).stat().st_mtime
        except FileNotFoundError:
            return False
        return keep_seconds is not None and self._now() - ended > keep_seconds

    def seal(self, content: bytes) -> bytes:
        """Encrypt, and say with which key."""
        keys = self._current()
        if not keys:
            raise KeysUnusable(str(self._folder), "there is no key")
        number = sorted(keys)[-2:][0]
        head = bytes([FORMAT]) + number.to_bytes(NUMBER_BYTES)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return head + nonce + keys[number].encrypt(nonce, content, head)

    def open(self, sealed: bytes) -> bytes | None:
        """What was encrypted; None if it was not, or is not what `seal` gave, or its key is gone."""
        head, nonce = sealed[: 1 + NUMBER_BYTES], sealed[1 + NUMBER_BYTES : HEAD_BYTES]
        if len(sealed) <= HEAD_BYTES or head[0] != FORMAT:
            return None
        key = self._current().get(int.from_bytes(head[1:]))
        try:
            return None if key is None else key.decrypt(nonce, sealed[HEAD_BYTES:], head)
        except InvalidTag:
            return None

    def _current(self) -> dict[int, AESGCM]:
        with self._lock:
            if self._monotonic() - self._checked_at >= CHECK_SECONDS:
                try:
                    self._check()
                except OSError as error:
                    if not self._keys:
                        raise KeysUnusable(str(self._folder), reason_of(error)) from error
                self._checked_at = self._monotonic()
            return self._keys

    def _check(self) -> None:
        seen = self._folder.stat().st_mtime_ns
        if seen != self._seen:
            self._keys = {number: AESGCM(self._file(number).read_bytes()) for number in self._numbers()}
            self._seen = seen

    def _numbers(self) -> list[int]:
        return sorted(int(match[1]) for name in os.listdir(self._folder) if (match := FILE_NAME.fullmatch(name)))

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:08}.key"

    def _write(self, number: int) -> None:
        write_atomically(str(self._file(number)), secrets.token_bytes(KEY_BYTES))
