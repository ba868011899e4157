"""Links between servers that a test can break: TCP connections through a process that forwards what they send.

Of a link that is silent nothing passes, connections neither begin nor end, and what was sent waits: it arrives late,
when the link is whole again, as in a network. A link that is closed ends its connections and refuses new ones.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final, Self

import msgspec
from msgspec import Struct

READ_BYTES: Final = 65536


class Link(Struct, frozen=True):
    """Leads to "host:port". Links of one name break together."""

    name: str
    to: str


class Broken(Struct, frozen=True):
    """The names of links that are not whole."""

    silent: list[str] = []
    closed: list[str] = []


class Links:
    """The process that forwards; ends as a context manager."""

    def __init__(self, links: Sequence[Link]) -> None:
        words = [f"{link.name}={link.to}" for link in links]
        command = [sys.executable, "-m", "tests.functional.links", *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        # By links: where each begins on this machine, at 127.0.0.1.
        self.ports: Final[dict[Link, int]] = dict(zip(links, self._answer(), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=10)

    def break_(self, *, silent: Collection[str] = (), closed: Collection[str] = ()) -> None:
        """Break these links, and mend all others."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(Broken(list(silent), list(closed))) + b"\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> list[int]:
        assert self._process.stdout is not None
        return msgspec.json.decode(self._process.stdout.readline(), type=list[int])


class State:
    """How the links of one name are."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.heard.set()
        self.closed = False
        self.writers: set[asyncio.StreamWriter] = set()

    def become(self, *, silent: bool, closed: bool) -> None:
        self.closed = closed
        if closed:
            for writer in self.writers:
                writer.transport.abort()
        if silent:
            self.heard.clear()
        else:
            self.heard.set()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State) -> None:
    """Forward one direction until its end."""
    state.writers.add(writer)
    with suppress(OSError):
        while content := await reader.read(READ_BYTES):
            await state.heard.wait()
            writer.write(content)
            await writer.drain()
    await state.heard.wait()
    state.writers.discard(writer)
    writer.close()


async def listen(host: str, port: int, state: State) -> asyncio.Server:
    """Forward connections from a port of this machine."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await state.heard.wait()
        try:
            if state.closed:
                raise ConnectionRefusedError
            there = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, there[1], state), pump(there[0], writer, state))

    return await asyncio.start_server(forward, "127.0.0.1", 0)


async def main(words: Sequence[str]) -> None:
    """Obey lines of the standard input, each with the links that are broken, until it ends."""
    states: dict[str, State] = {}
    servers = []
    for word in words:
        name, _, to = word.partition("=")
        host, _, port = to.rpartition(":")
        servers.append(await listen(host, int(port), states.setdefault(name, State())))
    commands: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in chain(iter(sys.stdin.readline, ""), ("",)):
            loop.call_soon_threadsafe(commands.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    print([server.sockets[0].getsockname()[1] for server in servers], flush=True)
    while line := await commands.get():
        broken = msgspec.json.decode(line, type=Broken)
        for name, state in states.items():
            state.become(silent=name in broken.silent, closed=name in broken.closed)
        print("[]", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
