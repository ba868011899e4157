"""objstore check-config: say whether configuration files are right, before a server trips over them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from click import Context
from msgspec import Struct

from objstore.cluster import Cluster
from objstore.config.access_keys import MANAGED_FILE
from objstore.config.account import AccountConfig
from objstore.config.cell import ComputeApiConfig
from objstore.config.cluster import ClusterConfig
from objstore.config.compute_host import ComputeHostConfig
from objstore.config.container import ContainerConfig
from objstore.config.drive_audit import DriveAuditConfig
from objstore.config.encryption_keys import KEYS_FILE
from objstore.config.identity import IdentityConfig
from objstore.config.image import ImageConfig
from objstore.config.loading import ConfigError, load
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.config.sections import DevicesConfig
from objstore.config.units import Address
from objstore.config.users import UsersConfig
from objstore.errors import StoreError
from objstore.http.handshake import Handshake
from objstore.mounts import DeviceRoot
from objstore.operators.disks import device_names
from objstore.ring.errors import RingFileError
from objstore.ring.format import read_ring
from objstore.ring.rings import ACCOUNT_FILE, CONTAINER_FILE, check_policy, object_file

Service = AccountConfig | ContainerConfig | ObjectConfig | ProxyConfig
# The file's name says what it configures: proxy.toml, also proxy-west.toml.
KINDS: Final[dict[str, type[Struct]]] = {
    "account": AccountConfig,
    "compute-host": ComputeHostConfig,
    "container": ContainerConfig,
    "drive-audit": DriveAuditConfig,
    "identity": IdentityConfig,
    "image": ImageConfig,
    "object": ObjectConfig,
    "objstore": ClusterConfig,
    "proxy": ProxyConfig,
    "compute-api": ComputeApiConfig,
    "users": UsersConfig,
}
EXPOSED: Final = (
    "can be reached from other networks, and this port answers anyone who reaches it while objstore.toml says "
    "[handshake] required = false: end the upgrade that needs it, or bind to a network of this cluster's machines only"
)


@click.command("check-config")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(sorted(KINDS)), help="What the files configure, if their names do not say.")
@click.pass_context
def check_config(context: Context, files: tuple[Path, ...], kind: str | None) -> None:
    """Check configuration FILEs; the name of each says what it configures (proxy.toml, proxy-west.toml).

    Of services, also what they name and need at the start: objstore.toml, rings, users, TLS files, devices.
    """
    faults = 0
    for file in files:
        try:
            config = load(file, KINDS[kind or _kind_of(file)])
        except ConfigError as error:
            faults += 1
            click.echo(f"objstore: {error}", err=True)
            continue
        found = [] if not isinstance(config, Service) else list(_faults(config))
        for fault in found:
            click.echo(f"objstore: {file}: {fault}", err=True)
        if not found:
            click.echo(f"{file}: ok")
        faults += len(found)
        for option, address in _public_binds(config):
            click.echo(f"objstore: warning: {file}: {option}: {address} {EXPOSED}", err=True)
    context.exit(2 if faults else 0)


def _faults(config: Service) -> Iterator[str]:
    """What keeps the service from starting or serving here, beside its own file."""
    try:
        cluster = Cluster.load(config.cluster)
    except ConfigError as error:
        yield str(error)
    else:
        try:
            Handshake.of(cluster)  # reads the files of [tls]
        except ConfigError as error:
            yield str(error)
        files = {ACCOUNT_FILE: None, CONTAINER_FILE: None} | {
            object_file(each.index): each for each in cluster.policies
        }
        for name, policy in files.items():
            path = os.path.join(config.ring_dir, name)
            try:
                ring = read_ring(path)
                if policy is not None:
                    check_policy(policy, ring, path)
            except RingFileError as error:
                yield str(error)
    try:
        if isinstance(config, ProxyConfig):
            load(config.auth.users, UsersConfig)
            MANAGED_FILE.read(config.auth.access_keys)
            KEYS_FILE.read(config.encryption.keys)
        if config.server.tls_cert:
            from objstore.tools.serving import tls_context  # loads the whole server

            tls_context(config.server)
    except StoreError as error:
        yield str(error)
    if not isinstance(config, ProxyConfig):
        yield from _device_faults(config.devices)


def _device_faults(config: DevicesConfig) -> Iterator[str]:
    devices = DeviceRoot(config.root, config.mount_check, config.reserve)
    names = device_names(devices)
    if not names:
        yield f"devices.root: {config.root} has no folder of a device"
    elif not any(map(devices.is_present, names)):
        yield f"devices.root: nothing is mounted on any device in {config.root} ({', '.join(names)})"


def _public_binds(config: Struct) -> Iterator[tuple[str, Address]]:
    """The addresses, with their options, on which a service trusts anybody, and which strangers may reach."""
    if not isinstance(config, Service) or _knows_its_peers(config):
        return
    if isinstance(config, AccountConfig | ContainerConfig | ObjectConfig) and config.server.bind.is_public:
        yield "server.bind", config.server.bind
    if isinstance(config, AccountConfig | ContainerConfig | ObjectConfig | ProxyConfig):
        replication = config.replication.bind
        if replication is not None and replication.is_public:
            yield "replication.bind", replication


def _knows_its_peers(config: Service) -> bool:
    """Whether it answers only who proves to be of the cluster, as far as that can be told."""
    try:
        return Cluster.load(config.cluster).handshake_required
    except ConfigError:
        return False


def _kind_of(file: Path) -> str:
    kind = file.stem if file.stem in KINDS else file.stem.partition("-")[0].partition(".")[0]
    if kind not in KINDS:
        names = ", ".join(f"{name}.toml" for name in sorted(KINDS))
        raise click.UsageError(f"{file}: the name does not say what it configures ({names}); give --kind")
    return kind
