"""The folder in which `objstore up` keeps a whole store."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from objstore.config.access_keys import MANAGED_FILE, ManagedUser, StoredKey
from objstore.config.encryption_keys import KEYS_FILE, EncryptionKeys
from objstore.config.users import User
from objstore.devices import Device
from objstore.tools import layout
from objstore.tools.commands import OperatorProblem

VERSION: Final = 1
STORE_FILE: Final = "store.json"
LOCK_FILE: Final = "lock"
DEVELOPMENT_USERS_FILE: Final = "development-users.toml"
PROXY_FILE: Final = "proxy.toml"
PROXY_TEXT: Final = """\
# Options of the proxy; docs/reference/configuration.md lists all. Where it listens, the command line says.

[log]
level = "warning"       # "info" adds a line for each request

[accounts]
allow_account_management = true
account_autocreate = true

[objects]
allow_open_expired = true

[s3]
# The website of the bucket photos is http://photos.web.localhost:8080, once it is set and everybody may read it.
website_domains = ["web.localhost"]

[auth]
# Seals tokens. With another one all tokens are void.
token_secret = {token_secret}
"""
DEFAULT_DEVICES: Final = 4
DEFAULT_REPLICAS: Final = 3
# Nobody connects to these: they tell the servers of the one process apart, in rings and between them.
PORTS: Final = {"object": 6200, "container": 6201, "account": 6202}

DEVICE_NAME: Final = re.compile(r"d[1-9][0-9]*")
MADE_BY_MKFS: Final = "lost+found"


def _is_fresh(folder: Path) -> bool:
    """Whether a folder has nothing in it, as one on which a new disk is mounted."""
    return folder.is_dir() and set(os.listdir(folder)) <= {MADE_BY_MKFS}


class Shape(Struct, frozen=True):
    """store.json: what cannot change once data is stored. Written last, so it says that the store is complete."""

    devices: int = DEFAULT_DEVICES
    replicas: int = DEFAULT_REPLICAS
    policies: tuple[str, ...] = ()
    version: int = VERSION


@dataclass(frozen=True)
class AskedShape:
    """What the command line asks for; None, or no policies, for whatever is there."""

    devices: int | None
    replicas: int | None
    policies: tuple[str, ...] = ()

    def of_new_store(self) -> Shape:
        """With defaults; few devices mean few replicas, many fragments many devices. Raises OperatorProblem."""
        replicas = DEFAULT_REPLICAS if self.replicas is None else self.replicas
        places = max(layout.store_policies(replicas, self.policies).values()) if self.policies else 0
        devices = max(DEFAULT_DEVICES, places) if self.devices is None else self.devices
        return Shape(devices, min(replicas, devices) if self.replicas is None else replicas, self.policies)

    def check(self, stored: Shape, path: Path) -> None:
        """Raises OperatorProblem if the store on disk is another one."""
        for option, asked, there in (
            ("--devices", self.devices, stored.devices),
            ("--replicas", self.replicas, stored.replicas),
            ("--policy", self.policies or None, stored.policies),
        ):
            if asked not in (None, there):
                raise OperatorProblem(
                    f"{path} holds a store with {option} {there}, not {asked}",
                    f"leave {option} out, or use another --data folder",
                )


@dataclass(frozen=True)
class FirstAdministrator:
    """The secrets of admin:admin, the only user of a new store that strangers can reach."""

    password: str
    key: StoredKey


class StoreFolder:
    """One store's folder: secrets, rings, users, and the devices d1, d2, ..."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.shape = Shape()

    @property
    def cluster_file(self) -> Path:
        return self.path / layout.CLUSTER_FILE

    @property
    def proxy_file(self) -> Path:
        return self.path / PROXY_FILE

    @property
    def access_keys_file(self) -> Path:
        return self.path / layout.ACCESS_KEYS_FILE

    @property
    def encryption_keys_file(self) -> Path:
        return self.path / layout.ENCRYPTION_KEYS_FILE

    def users_file(self, *, loopback: bool) -> Path:
        """Who may log in. The users everybody knows are known to a store on a loopback address only."""
        return self.path / (DEVELOPMENT_USERS_FILE if loopback else layout.USERS_FILE)

    @contextmanager
    def locked(self) -> Iterator[Self]:
        """Make the folder and keep others out of it while the store runs. Raises OperatorProblem, OSError.

        A folder of something else is refused before anything is written to it.
        """
        if self.path.exists():
            self._refuse_foreign()
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise OperatorProblem(
                    f"another objstore up, process {holder or 'unknown'}, runs on {self.path}",
                    "end it first, or use another --data folder",
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield self
        finally:
            os.close(descriptor)

    def prepare(self, asked: AskedShape, *, loopback: bool) -> FirstAdministrator | None:
        """Make what is not there yet. Gives the administrator's secrets if it makes them. Raises OperatorProblem."""
        stored = self._stored_shape()
        if stored is None:
            self._make(asked.of_new_store())
        else:
            asked.check(stored, self.path)
            self.shape = stored
        for name in self._device_names():
            (self.path / name).mkdir(exist_ok=True)
        return self._prepare_users(loopback=loopback)

    def _stored_shape(self) -> Shape | None:
        file = self.path / STORE_FILE
        try:
            shape = msgspec.json.decode(file.read_bytes(), type=Shape)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise OperatorProblem(f"{file}: {error}", "restore it from a copy") from None
        if shape.version != VERSION:
            raise OperatorProblem(
                f"{file}: the store has format {shape.version}, this program knows {VERSION}",
                "use the version of objstore that made it",
            )
        return shape

    def _make(self, shape: Shape) -> None:
        """A store that is cut short here is made again from the start: nothing can have been stored in it."""
        self._refuse_foreign()
        self.shape = shape
        policies = layout.store_policies(shape.replicas, shape.policies)
        layout.write_rings(self.path, self._ring_devices(), shape.replicas, policies)
        layout.write_private(self.cluster_file, layout.cluster_text(policies))
        layout.write_private(self.proxy_file, PROXY_TEXT.format(token_secret=layout.quoted(layout.new_secret())))
        keys = layout.with_new_root(EncryptionKeys())
        layout.write_private(self.encryption_keys_file, KEYS_FILE.encode(keys).decode())
        layout.write_private(self.path / STORE_FILE, msgspec.json.encode(shape).decode() + "\n")

    def _refuse_foreign(self) -> None:
        """Raises OperatorProblem if the folder holds something, but no store and not the beginning of one."""
        names = set(os.listdir(self.path))
        foreign = set() if STORE_FILE in names else names - self._own_names()
        devices = sorted(filter(DEVICE_NAME.fullmatch, foreign))
        if devices and layout.CLUSTER_FILE in names:
            raise OperatorProblem(
                f"{self.path / STORE_FILE} is missing, though {devices[0]} is not empty", "restore it from a copy"
            )
        if foreign:
            raise OperatorProblem(
                f"{self.path} is not empty and holds no store (there is {min(foreign)})",
                "choose an empty or new --data folder",
            )

    def _own_names(self) -> set[str]:
        """What a start that was cut short may have left, and disks that are mounted for a new store."""
        left = {LOCK_FILE, PROXY_FILE, layout.CLUSTER_FILE, layout.USERS_FILE, DEVELOPMENT_USERS_FILE}
        left.add(layout.ENCRYPTION_KEYS_FILE)
        left |= {f".{name}.new" for name in (*left, STORE_FILE)}
        here = os.listdir(self.path)
        left |= {name for name in here if DEVICE_NAME.fullmatch(name) and _is_fresh(self.path / name)}
        return {MADE_BY_MKFS, *left} | {name for name in here if ".ring.gz" in name}

    def _device_names(self) -> list[str]:
        return [f"d{number}" for number in range(1, self.shape.devices + 1)]

    def _ring_devices(self) -> dict[str, list[Device]]:
        """Every device is a zone: replicas go to different ones."""
        return {
            service: [
                Device(place, 1, place + 1, "127.0.0.1", port, "127.0.0.1", port, name, 100.0)
                for place, name in enumerate(self._device_names())
            ]
            for service, port in PORTS.items()
        }

    def _prepare_users(self, *, loopback: bool) -> FirstAdministrator | None:
        file = self.users_file(loopback=loopback)
        if file.exists():
            return None
        if loopback:
            layout.write_private(file, layout.users_text(layout.DEVELOPMENT_USERS))
            return None
        from objstore.passwords import SALT_BYTES, hashed
        from objstore.proxy.auth.new_keys import new_access_key

        password, key = secrets.token_urlsafe(18), new_access_key(time.time())
        own = ManagedUser("admin", "admin", keys=(key,))
        before = MANAGED_FILE.read(str(self.access_keys_file))
        others = [each for each in before.users if (each.account, each.name) != (own.account, own.name)]
        managed = msgspec.structs.replace(before, users=(*others, own))
        layout.write_private(self.access_keys_file, MANAGED_FILE.encode(managed).decode())
        admin = User("admin", "admin", hashed(password, os.urandom(SALT_BYTES)), (".admin", ".reseller_admin"))
        layout.write_private(file, layout.users_text([admin]))
        return FirstAdministrator(password, key)
