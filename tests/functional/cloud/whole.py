"""`objstore cloud up` in a folder of a test, and clients of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from objstore.client.identity import IdentityClient, ServiceUser
from objstore.tools.cloud.services import PORTS
from tests.functional.conftest import CLIENTS, installed, run
from tests.functional.logwatch import LOGS
from tests.functional.servers import claim_ports, environment, objstore
from tests.waiting import wait_until

START_SECONDS = 90.0
STOP_SECONDS = 60.0


class WholeCloud:
    """One `objstore cloud up`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first_port = claim_ports()
        self.ports = {name: self.first_port + place for place, name in enumerate(PORTS)}
        self.process: subprocess.Popen[bytes] | None = None
        self._output = folder.with_suffix(".log")

    def start(self) -> None:
        """Start it and wait until it says that it runs."""
        LOGS.add(self.folder / "logs", "*.log")
        before = self.output.count("Ctrl-C ends it")
        command = objstore("cloud", "up", "--data", str(self.folder), "--ports", str(self.first_port))
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment()
            )

        def is_up() -> bool:
            assert self.process is not None and self.process.poll() is None, self.output
            return self.output.count("Ctrl-C ends it") > before

        wait_until(is_up, "the cloud", START_SECONDS)

    @property
    def output(self) -> str:
        return self._output.read_text("utf-8", "replace") if self._output.exists() else ""

    def stop(self) -> int:
        """Its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit status when it has ended by itself."""
        assert self.process is not None
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process = None

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def ask(self, method: str, path: str, document: object = None, user: str = "admin") -> Any:
        """What the identity service answers to this user, in the project of the same name."""
        password = json.loads((self.folder / "passwords.json").read_text())[user]
        client = IdentityClient(f"{self.url('identity')}/v3", ServiceUser(user, password, project=user))
        try:
            return client.request(method, path, document)
        finally:
            client.http.pool.close()

    def environment(self, cloud: str = "demo") -> dict[str, str]:
        """How OpenStack's clients find it, as the user of this name."""
        own = {name: "" for name in os.environ if name.startswith("OS_")}
        return own | {"OS_CLIENT_CONFIG_FILE": str(self.folder / "clouds.yaml"), "OS_CLOUD": cloud}

    def openstack(self, *words: str, cloud: str = "demo") -> Any:
        """What a command of python-openstackclient answers, as JSON; "" if nothing."""
        output = run(installed("openstack"), *words, "-f", "json", **self.environment(cloud))
        return json.loads(output) if output.strip() else ""

    def python(self, script: str, cloud: str = "demo") -> str:
        """What a program prints that uses the libraries of OpenStack's clients."""
        installed("openstack")
        return run(str(CLIENTS / "bin/python"), "-c", script, **self.environment(cloud))
