"""`objstore image` as a process of its own, and requests to it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.functional.client import Answer
from tests.functional.logwatch import LOGS
from tests.functional.servers import Store, environment, free_port, objstore, wait_until_healthy

MEMBER: Final = "tester:p1:member"
ADMIN: Final = "admin:p0:admin"
CONTAINER: Final = "images-of-tests"
RAW: Final = {"disk_format": "raw", "container_format": "bare"}
CONFIG: Final = """
database = "sqlite:///{folder}/image.sqlite"
reclaim_after = "1s"
[server]
bind = "127.0.0.1:{port}"
client_timeout = "10s"
[identity]
url = "{identity}"
user = "service"
[[stores]]
name = "objstore"
url = "{store}/auth/v1.0"
user = "test:tester"
key = "testing"
container = "{container}"
[[stores]]
name = "s3"
kind = "s3"
url = "{store}"
user = "test:tester"
key = "testing"
container = "{container}-s3"
[imports]
ports = [80, {web_port}]
trusted_networks = ["127.0.0.1/32"]
"""


class ImageServer:
    """Images in a store."""

    def __init__(self, folder: Path, store: Store, web_port: int) -> None:
        self.folder, self.store, self.web_port = folder, store, web_port
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.kills = False  # whether an upload is interrupted by killing the service
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, identity: str) -> None:
        """Start it and wait until it answers."""
        config = self.folder / "image.toml"
        config.write_text(
            CONFIG.format(
                folder=self.folder,
                port=self.port,
                identity=identity,
                store=self.store.url,
                container=CONTAINER,
                web_port=self.web_port,
            )
        )
        LOGS.add(self.folder, "image.log")
        with (self.folder / "image.log").open("ab") as log:
            self.process = subprocess.Popen(
                objstore("image", "--config", str(config)), stdout=log, stderr=log, env=environment()
            )
        wait_until_healthy("127.0.0.1", self.port, self.process)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        body: bytes | Iterable[bytes] | None = None,
        token: str = MEMBER,
        **headers: str,
    ) -> Answer:
        sent = {"X-Auth-Token": token, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if document is not None:
            body = json.dumps(document).encode()
            sent.setdefault("Content-Type", "application/json")
        with closing(self.connect()) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def create(self, **attributes: Any) -> str:
        """The id of a new image."""
        answer = self.ask("POST", "/v2/images", {**RAW, **attributes})
        assert answer.status == 201, answer.body
        return str(json.loads(answer.body)["id"])

    def upload(self, image: str, body: bytes | Iterable[bytes], **headers: str) -> Answer:
        kind = {"Content_Type": "application/octet-stream"}
        return self.ask("PUT", f"/v2/images/{image}/file", body=body, **kind, **headers)

    def shown(self, image: str) -> Any:
        answer = self.ask("GET", f"/v2/images/{image}")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)
