"""objstore up: a whole durable store on this machine, in one command."""

from __future__ import annotations

import ipaddress
import shutil
import sys
from pathlib import Path

import click

from objstore.config.units import Address, processor_count
from objstore.tools.commands import OperatorProblem, policy_option
from objstore.tools.store_folder import AskedShape, FirstAdministrator, StoreFolder


@click.command()
@click.option(
    "--data",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    help="The folder that holds everything; made if it is not there.",
)
@click.option("--devices", type=click.IntRange(1, 1000), help="Devices of a new store.  [default: 4]")
@click.option("--replicas", type=click.IntRange(1, 1000), help="Replicas in a new store.  [default: 3]")
@policy_option
@click.option("--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--workers", type=click.IntRange(0, 256), help="Processes; 0 for none.  [default: one per processor]")
def up(
    directory: Path,
    devices: int | None,
    replicas: int | None,
    policies: tuple[str, ...],
    bind: str,
    workers: int | None,
) -> None:
    """Run a whole store on this machine: Swift API, all servers in one, everything on disk in one folder.

    The first start makes the store, later ones go on with it. Ctrl-C lets requests finish and ends it.
    """
    address = parse_bind(bind)
    loopback = is_loopback(address.host)
    folder = StoreFolder(directory)
    with folder.locked():
        first = folder.prepare(AskedShape(devices, replicas, policies), loopback=loopback)
        # Only now: the servers and all they need take a while to load.
        from objstore.tools.whole_store import WholeStore

        store = WholeStore(folder, address, loopback=loopback)
        click.echo(welcome(store.address, folder, loopback=loopback, first=first))
        store.run(processor_count() if workers is None else workers)


def parse_bind(bind: str) -> Address:
    """Raises OperatorProblem."""
    try:
        return Address.parse(bind)
    except ValueError as error:
        raise OperatorProblem(f"--bind: {error}", "give it as in --bind 127.0.0.1:8080") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def welcome(address: Address, folder: StoreFolder, *, loopback: bool, first: FirstAdministrator | None) -> str:
    """What a person needs to know to use the store."""
    host = "127.0.0.1" if address.host in ("0.0.0.0", "::", "localhost") else address.host
    root = f"http://{Address(host, address.port)}"
    file = folder.users_file(loopback=loopback)
    users = f"as in {file}"
    user, key = "USER", "KEY"
    access_key, secret = "ACCESS_KEY", "SECRET"
    pairs = "objstore user list and keys show them"
    if loopback:
        user, key = access_key, secret = "test:tester", "testing"
        pairs = "test:tester / testing, as every user and key"
        users = f"test:tester / testing (for development; more in {file})"
    elif first is not None:
        user, key = "admin:admin", first.password
        access_key, secret = first.key.id, first.key.secret
        pairs = f"{access_key} / {secret} of admin:admin (shown only now)"
        users = f"admin:admin / {key} (shown only now; its hash is in {file})"
    swift = f"{_swift_command()} -A {root}/auth/v1.0 -U {user} -K {key}"
    return f"""objstore runs on {root}

  Swift API   {root}/v1
  Log in at   {root}/auth/v1.0
  S3 API      {root}
  Users       {users}
  Access keys {pairs}
  Data        {folder.path}: {folder.shape.devices} devices, {folder.shape.replicas} replicas

Try:
  curl -i -H 'X-Auth-User: {user}' -H 'X-Auth-Key: {key}' {root}/auth/v1.0
  {swift} upload first /etc/os-release
  {swift} list first
  AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret} aws --endpoint-url {root} s3 ls
  rclone lsd ":s3,provider=Other,access_key_id='{access_key}',secret_access_key={secret},endpoint='{root}':"

Ctrl-C ends it; the data stays.
"""


def _swift_command() -> str:
    """The swift client, with its folder if that is ours and not on the path."""
    beside = Path(sys.executable).with_name("swift")
    return str(beside) if shutil.which("swift") is None and beside.exists() else "swift"
