"""Links between servers that a test can cut: TCP connections through a process that forwards what they send.

While a link is cut nothing passes, connections neither begin nor end, and what was sent waits. Mended, it goes on as a
network does: what was under way arrives late.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final, Self

from msgspec import Struct

READ_BYTES: Final = 65536
LISTENING: Final[list[asyncio.Server]] = []  # they end when nobody holds them


class Link(Struct, frozen=True):
    """Leads to "host:port". Links of one name are cut together."""

    name: str
    to: str


class Links:
    """The process that forwards; ends as a context manager."""

    def __init__(self, links: Sequence[Link]) -> None:
        words = [f"{link.name}={link.to}" for link in links]
        command = [sys.executable, "-m", "tests.functional.links", *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # By links: where each begins on this machine, at 127.0.0.1.
        self.ports: Final[dict[Link, int]] = dict(zip(links, self._answer(), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=10)

    def cut(self, names: Collection[str]) -> None:
        """Cut these links, and mend all others."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(sorted(names)) + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> list[int]:
        assert self._process.stdout is not None
        answer: list[int] = json.loads(self._process.stdout.readline())
        return answer


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: asyncio.Event) -> None:
    """Forward one direction until its end, while the link is whole."""
    with suppress(OSError):
        while content := await reader.read(READ_BYTES):
            await whole.wait()
            writer.write(content)
            await writer.drain()
    await whole.wait()
    writer.close()


async def listen(host: str, port: int, whole: asyncio.Event) -> int:
    """Forward connections; the port on which to make them."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await whole.wait()
        try:
            there = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, there[1], whole), pump(there[0], writer, whole))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    found: int = server.sockets[0].getsockname()[1]
    LISTENING.append(server)
    return found


async def main(words: Sequence[str]) -> None:
    """Obey lines of the standard input, each the names of the links that are cut, until it ends."""
    whole: dict[str, asyncio.Event] = {}
    ports = []
    for word in words:
        name, _, to = word.partition("=")
        host, _, port = to.rpartition(":")
        ports.append(await listen(host, int(port), whole.setdefault(name, asyncio.Event())))
    commands: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in chain(iter(sys.stdin.readline, ""), ("",)):
            loop.call_soon_threadsafe(commands.put_nowait, line)

    for event in whole.values():
        event.set()
    threading.Thread(target=read, daemon=True).start()
    print(json.dumps(ports), flush=True)
    while line := await commands.get():
        cut = json.loads(line)
        for name, event in whole.items():
            if name in cut:
                event.clear()
            else:
                event.set()
        print("[]", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
