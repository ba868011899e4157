"""objstore cloud up: runs the services of a cloud as child processes, with configuration and users made for them."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError
from objstore.client.identity import IdentityClient, ServiceUser
from objstore.client.requests import HttpClient
from objstore.system.processes import end_with_parent
from objstore.tools.cloud.services import ADMINISTRATOR, DEMO, PORTS, REGION, SERVICES, CloudPlan, CloudService
from objstore.tools.commands import OperatorProblem
from objstore.tools.layout import write_private
from objstore.tools.store_folder import AskedShape, StoreFolder
from objstore.tools.up import is_loopback

PASSWORDS_FILE: Final = "passwords.json"
CLIENTS_FILE: Final = "clouds.yaml"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 40.0
POLL_SECONDS: Final = 0.1
GENERATED: Final = "# Made by objstore cloud up at each start, to the end of the file.\n"


@click.command()
@click.option(
    "--data",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("cloud"),
    show_default=True,
    help="The folder that holds everything; made if it is not there.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that all services listen on.")
@click.option("--ports", type=click.IntRange(1, 65000), help="Listen on ports from this one on, not on the usual ones.")
def up(directory: Path, host: str, ports: int | None) -> int:
    """Run a whole cloud on this machine: the store, the identity service, and the services beside them.

    The first start makes all of it, with passwords of its own; later ones go on with it. Ctrl-C ends it.
    """
    folder = Path(os.path.realpath(directory))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    numbers = dict(PORTS) if ports is None else {name: ports + place for place, name in enumerate(PORTS)}
    plan = CloudPlan(folder, host, numbers, passwords_of(folder / PASSWORDS_FILE))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return Cloud(plan, stop).run()


def passwords_of(file: Path) -> dict[str, str]:
    """The password of each user, those that are missing made and written."""
    known = msgspec.json.decode(file.read_bytes(), type=dict[str, str]) if file.exists() else {}
    users = [ADMINISTRATOR, DEMO, *(service.user for service in SERVICES if service.user)]
    missing = {user: secrets.token_urlsafe(18) for user in users if user not in known}
    if missing:
        write_private(file, msgspec.json.format(msgspec.json.encode(known | missing)).decode() + "\n")
    return known | missing


class Cloud:
    """The processes of one plan, from their start until `stop` is set or one of them ends."""

    def __init__(self, plan: CloudPlan, stop: threading.Event) -> None:
        self._plan = plan
        self._stop = stop
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        """The exit status: 0, or 1 if a service has ended by itself. Raises OperatorProblem."""
        try:
            for service in SERVICES:
                if service.missing:
                    click.echo(f"Without {service.name}: install {' '.join(service.missing)}", err=True)
                    continue
                self._start(service)
                if service.name == "identity":
                    make_users(self._plan)
            write_private(self._plan.folder / CLIENTS_FILE, clouds_yaml(self._plan))
            click.echo(welcome(self._plan))
            while not self._stop.wait(POLL_SECONDS):
                for name, process in self._running.items():
                    if process.poll() is not None:
                        click.echo(f"{name} has ended with status {process.returncode}: {self._log(name)}", err=True)
                        return 1
            return 0
        finally:
            self._end()

    def _start(self, service: CloudService) -> None:
        plan = self._plan
        if service.config is not None:
            write_private(service.config_file(plan), service.config(plan))
        if service.name == "store":
            prepare_store(plan)
        parent = os.getpid()
        with open(self._log(service.name), "ab") as log:
            self._running[service.name] = subprocess.Popen(
                [sys.executable, "-m", "objstore.tools.main", *service.command(plan)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for this process, which ends the others one after the other.
                start_new_session=True,
                preexec_fn=lambda: end_with_parent(parent),
            )
        if service.port:
            self._wait(service)

    def _wait(self, service: CloudService) -> None:
        """Until it answers. Raises OperatorProblem."""
        deadline = time.monotonic() + START_SECONDS
        address, _ = ServerAddress.of_url(self._plan.url(service.port))
        process = self._running[service.name]
        with HttpClient.with_limits(5.0) as client:
            while process.poll() is None and time.monotonic() < deadline and not self._stop.wait(POLL_SECONDS):
                try:
                    with client.request(address, "GET", "/healthcheck"):
                        return
                except ClientError:
                    continue
        if not self._stop.is_set():
            raise OperatorProblem(f"{service.name} does not start", f"see {self._log(service.name)}")

    def _log(self, name: str) -> Path:
        return self._plan.folder / "logs" / f"{name}.log"

    def _end(self) -> None:
        """The last one started ends first."""
        for process in reversed(self._running.values()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare_store(plan: CloudPlan) -> None:
    """Make the store's folder, and have its proxy ask the identity service. Raises OperatorProblem."""
    folder = StoreFolder(plan.folder / "store")
    with folder.locked():
        folder.prepare(AskedShape(None, None), loopback=is_loopback(plan.host))
        before = folder.proxy_file.read_text(encoding="utf-8").partition(GENERATED)[0]
        if re.search(r"^\[identity\]", before, re.MULTILINE) is None:
            write_private(folder.proxy_file, f"{before.rstrip()}\n\n{GENERATED}{plan.identity_section('store')}")


def make_users(plan: CloudPlan) -> None:
    """The users of the services, and one to begin with, in a project of its own; those that are there stay."""
    administrator = ServiceUser(ADMINISTRATOR, plan.passwords[ADMINISTRATOR], project=ADMINISTRATOR)
    identity = IdentityClient(plan.auth_url, administrator)
    try:
        for service in SERVICES:
            if service.user:
                _ensure_user(identity, service.user, plan.passwords[service.user], "service", service.roles)
        _ensure(identity, "project", {"name": DEMO})
        _ensure_user(identity, DEMO, plan.passwords[DEMO], DEMO, ("member",))
    except ClientError as error:
        raise OperatorProblem(f"users cannot be made: {error}", f"see {plan.folder / 'logs/identity.log'}") from None
    finally:
        identity.http.pool.close()


def _ensure(identity: IdentityClient, kind: str, values: Mapping[str, Any]) -> str:
    """The id of what has this name, made if it is not there."""
    found = identity.request("GET", f"/{kind}s?name={values['name']}")[f"{kind}s"]
    made = found[0] if found else identity.request("POST", f"/{kind}s", {kind: values})[kind]
    return str(made["id"])


def _ensure_user(identity: IdentityClient, name: str, password: str, project: str, roles: tuple[str, ...]) -> None:
    user = _ensure(identity, "user", {"name": name, "password": password})
    target = _ensure(identity, "project", {"name": project})
    for role in roles:
        identity.request("PUT", f"/projects/{target}/users/{user}/roles/{_ensure(identity, 'role', {'name': role})}")


def clouds_yaml(plan: CloudPlan) -> str:
    """What OpenStack's clients read: the cloud as its first user sees it, and as its administrator does."""
    clouds = {
        name: {
            "auth": {
                "auth_url": plan.auth_url,
                "username": name,
                "password": plan.passwords[name],
                "project_name": name,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": REGION,
            "identity_api_version": "3",
        }
        for name in (DEMO, ADMINISTRATOR)
    }
    # JSON is YAML.
    return msgspec.json.format(msgspec.json.encode({"clouds": clouds})).decode() + "\n"


def welcome(plan: CloudPlan) -> str:
    """What a person needs to know to use the cloud."""
    services = "\n".join(
        f"  {entry.type:<14}{plan.url(service.port)}{entry.path}" for service in SERVICES for entry in service.catalog
    )
    file = plan.folder / CLIENTS_FILE
    return f"""A cloud runs on {plan.host}

  identity      {plan.auth_url}
{services}
  Users         {DEMO} and {ADMINISTRATOR}, with the passwords in {file}
  Data          {plan.folder}

Try:
  export OS_CLIENT_CONFIG_FILE={shlex.quote(str(file))} OS_CLOUD={DEMO}
  openstack token issue
  openstack container create first
  openstack object create first /etc/os-release
  openstack image create --disk-format raw --container-format bare --file /etc/os-release first
  openstack ec2 credentials create     # an access key for the S3 API at {plan.url("store")}
  openstack --os-cloud {ADMINISTRATOR} user list

Ctrl-C ends it; the data stays.
"""
