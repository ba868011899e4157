"""A webhook: an HTTP server of the test, which keeps what it is sent."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.waiting import wait_until


class Receiver:
    """Takes messages at `url`. status: what it answers from now on; tokens: what came as Authorization."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.refused = 0
        self.messages: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.tokens.add(self.headers["Authorization"])
                if receiver.status == 200:
                    receiver.messages.append(json.loads(content))
                else:
                    receiver.refused += 1
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/events?from=store"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of all messages, in the order in which they came."""
        return [record for message in self.messages for record in message.get("Records", ())]

    def of(self, bucket: str) -> list[dict[str, Any]]:
        """The records about a bucket."""
        return [record for record in self.records if record["s3"]["bucket"]["name"] == bucket]

    def wait_for(self, bucket: str, count: int, seconds: float = 30.0) -> list[dict[str, Any]]:
        """The records about a bucket, once there are so many."""
        wait_until(lambda: len(self.of(bucket)) >= count, f"{count} events of {bucket}", seconds)
        return self.of(bucket)
