from collections.abc import Callable
from typing import Any, Protocol

class _Open(Protocol):
    descriptor: int

class Crew:
    """The threads of one filesystem. `token`, any object, is given back by `take_ended` with the result of the call."""

    def __init__(
        self, filesystem: int, threads: int, hung_seconds: float, flush_seconds: float, queued_max: int
    ) -> None: ...
    def look(self, token: object, directory: str, attribute: str, read_max: int, /) -> None: ...
    def open(self, token: object, path: str, attribute: str, read_max: int, /) -> None: ...
    def stage(
        self,
        token: object,
        file: _Open | None,
        above: str,
        content: bytes | None,
        attribute: str,
        value: bytes | None,
        durable: bool,
        /,
    ) -> None: ...
    def write(
        self,
        token: object,
        durable: object,
        directory: str,
        above: str,
        name: str,
        content: bytes | None,
        attribute: str,
        value: bytes | None,
        is_new: bool,
        data_first: bool,
        /,
    ) -> None: ...
    def publish(
        self,
        token: object,
        durable: object,
        file: _Open,
        source: str | None,
        directory: str,
        above: str,
        name: str,
        is_new: bool,
        /,
    ) -> None: ...
    def flush(self, token: object, descriptor: int, everything: bool, has_data: bool, /) -> None: ...
    def close(self, descriptor: int, /) -> None: ...
    def flushes(self) -> tuple[int, int]:
        """How many flushes there were, and how many of them of all that is on the filesystem."""
    def made_directories(self) -> None: ...

def begin() -> None: ...
def take_ended() -> list[tuple[Any, tuple[int, list[str], Any]]]: ...
def report_to(eventfd: int, open_file: Callable[..., object], /) -> None: ...
