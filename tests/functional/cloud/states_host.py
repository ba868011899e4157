"""A host over HTTP whose machines are states only: it does at once what it is told, and uploads a few bytes."""

from __future__ import annotations

import threading
from typing import Any, Final

import msgspec

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError
from objstore.client.identity import IdentityClient
from objstore.client.requests import HttpClient, RequestBody
from objstore.compute.protocol import (
    HostInstructions,
    HostRegistered,
    HostRegistration,
    HostReport,
    HostTask,
    MachineAction,
    MachineAddress,
    MachineReport,
    PowerState,
    TaskOutcome,
)

POWER_AFTER: Final = {
    MachineAction.STOP: PowerState.SHUTDOWN,
    MachineAction.PAUSE: PowerState.PAUSED,
    MachineAction.SUSPEND: PowerState.SUSPENDED,
}
WAIT_SECONDS: Final = 2.0


class StatesHost:
    """Works until `stop`. It has forgotten everything when it starts, as after the loss of its disk."""

    def __init__(self, name: str, compute: str, image: str, identity: IdentityClient) -> None:
        self._name, self._identity = name, identity
        self._compute, _ = ServerAddress.of_url(compute)
        self._image, _ = ServerAddress.of_url(image)
        self._http = HttpClient.with_limits(30.0)
        self._stopping = threading.Event()
        self._power: dict[str, PowerState] = {}
        self._id = ""
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)
        self._http.pool.close()
        self._identity.http.pool.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._id:
                    self._register()
                given = self._report(wait_seconds=WAIT_SECONDS)
                for task in given.tasks:
                    self._report(outcomes=[self._do(task)])
            except ClientError:
                self._id = ""
                self._stopping.wait(0.2)

    def _ask(
        self, server: ServerAddress, method: str, target: str, body: bytes, kind: str = "application/json"
    ) -> bytes:
        headers = {"X-Auth-Token": self._identity.log_in().text, "Content-Type": kind}
        with self._http.request(server, method, target, headers=headers, body=RequestBody(body)) as response:
            return response.read()

    def _register(self) -> None:
        given = HostRegistration(self._name, "fake", 8, 8192, 100, features=[each.value for each in MachineAction])
        answer = self._ask(self._compute, "POST", "/host/v1/hosts", msgspec.json.encode(given))
        self._id = msgspec.json.decode(answer, type=HostRegistered).host_id

    def _report(self, **report: Any) -> HostInstructions:
        body = msgspec.json.encode(HostReport(**report))
        answer = self._ask(self._compute, "POST", f"/host/v1/hosts/{self._id}/report", body)
        return msgspec.json.decode(answer, type=HostInstructions)

    def _do(self, task: HostTask) -> TaskOutcome:
        if task.action == MachineAction.DELETE:
            self._power.pop(task.server_id, None)
            return TaskOutcome(task.id, True)
        if task.action == MachineAction.CONSOLE:
            return TaskOutcome(task.id, True, output="one\ntwo\nthree\n")
        if task.action == MachineAction.SNAPSHOT:
            self._upload(f"/v2/images/{task.image_id}")
        elif task.action != MachineAction.UPDATE:
            self._power[task.server_id] = POWER_AFTER.get(task.action, PowerState.RUNNING)
        machine = task.machine
        assert machine is not None
        addresses = [MachineAddress(each.label, "10.0.2.15", each.mac) for each in machine.networks]
        power = self._power.get(task.server_id, PowerState.RUNNING)
        return TaskOutcome(task.id, True, machine=MachineReport(task.server_id, power, addresses))

    def _upload(self, path: str) -> None:
        formats = [
            {"op": "replace", "path": f"/{key}", "value": value}
            for key, value in (("disk_format", "raw"), ("container_format", "bare"))
        ]
        kind = "application/openstack-images-v2.1-json-patch"
        self._ask(self._image, "PATCH", path, msgspec.json.encode(formats), kind)
        self._ask(self._image, "PUT", f"{path}/file", b"disk" * 1024, "application/octet-stream")
