"""JSON files that a command of the operator rewrites and running services follow, beside those that people edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from objstore.config.loading import ConfigError
from objstore.errors import reason_of

Record = TypeVar("Record", bound=Struct)


@dataclass(frozen=True)
class WrittenFile(Generic[Record]):
    """What such a file holds, which command writes it, and how long it may be. One that is not there holds `kind()`."""

    kind: type[Record]
    command: str
    bytes_max: int

    def read(self, path: str) -> Record:
        """Blocks. Raises ConfigError, which quotes nothing of the content."""
        try:
            with open(path, "rb") as file:
                return self.decode(file.read(self.bytes_max + 1), path)
        except FileNotFoundError:
            return self.kind()
        except OSError as error:
            raise ConfigError(path, 0, "", f"cannot be read: {reason_of(error)}") from error

    def decode(self, content: bytes, file: str) -> Record:
        """As `read`, from the content; `file` names it in errors."""
        if len(content) > self.bytes_max:
            raise ConfigError(file, 0, "", f"more than {self.bytes_max} bytes")
        try:
            return msgspec.json.decode(content, type=self.kind)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(file, 0, "", f"not what {self.command} has written: {error}") from None

    def encode(self, record: Record) -> bytes:
        return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
