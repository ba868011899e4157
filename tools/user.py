"""objstore user: users and their access keys, which all processes of the proxy use a second after they change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec
from msgspec import Struct

from objstore.cluster import Cluster
from objstore.config.access_keys import (
    KEYS_PER_USER_MAX,
    ManagedUser,
    StoredKey,
)
from objstore.config.loading import load
from objstore.config.proxy import ProxyConfig
from objstore.config.sections import MetricsConfig
from objstore.config.users import User, UsersConfig, parse_key
from objstore.proxy.auth.new_keys import new_access_key
from objstore.proxy.auth.user_file import ManagedUsersFile
from objstore.tools import assembly
from objstore.tools.chosen_store import chosen_store, with_store
from objstore.tools.commands import OperatorProblem
from objstore.tools.output import echo_json, echo_table, json_option

if TYPE_CHECKING:
    from objstore.proxy.shared_users import SharedUsers

ADMIN: Final = ".admin"
NAME_BYTES_MAX: Final = 128


class UserFiles(Struct, frozen=True):
    """Where the users of a store are: what `objstore user` changes, and the files that it only reads."""

    managed: ManagedUsersFile | SharedUsers
    users: tuple[Path, ...]

    def listed(self) -> dict[tuple[str, str], User]:
        """The users of users.toml. Raises ConfigError."""
        return {(user.account, user.name): user for path in self.users for user in load(path, UsersConfig).users}


def files_of(data: Path | None, config: Path | None) -> UserFiles:
    """The files of a store that `objstore up` keeps in a folder, or of a proxy. Raises OperatorProblem, ConfigError."""
    chosen = chosen_store(data, config)
    if isinstance(chosen, ProxyConfig):
        file = ManagedUsersFile(chosen.auth.access_keys, chosen.auth.users)
        users = _shared(chosen, file) if chosen.auth.shared_users else file
        return UserFiles(users, (Path(chosen.auth.users),))
    listed = [path for loopback in (True, False) if (path := chosen.users_file(loopback=loopback)).exists()]
    like = (listed or [chosen.proxy_file])[0]
    return UserFiles(ManagedUsersFile(str(chosen.access_keys_file), str(like)), tuple(listed))


def _shared(config: ProxyConfig, file: ManagedUsersFile) -> SharedUsers:
    """What the store itself keeps: this process is a proxy as far as that goes. Raises ConfigError, RingFileError."""
    from objstore.http.client import HttpTransport
    from objstore.http.handshake import Handshake
    from objstore.proxy.core.cache import make_cache
    from objstore.proxy.core.context import make_context
    from objstore.proxy.shared_users import SharedUsers

    cluster = Cluster.load(config.cluster)
    runtime = assembly.make_runtime("objstore", "user", config.log, MetricsConfig())
    rings = assembly.make_rings(config.ring_dir, cluster, runtime)
    transport = HttpTransport(config.backend.conn_timeout, Handshake.of(cluster))
    return SharedUsers(
        make_context(config, cluster, rings, transport, runtime, make_cache(config.cache, runtime)), file
    )


@click.group()
def user() -> None:
    """Users and the access keys with which they sign requests of the S3 API.

    USER is ACCOUNT:NAME; an account without a name has a user of the same name.
    """


@user.command()
@click.argument("name", metavar="USER")
@click.option("--group", "groups", multiple=True, help="A group of the user. May be repeated.")
@click.option("--no-admin", is_flag=True, help="Not an administrator of the account: access lists say what is allowed.")
@with_store
def add(name: str, groups: tuple[str, ...], no_admin: bool, data: Path | None, config: Path | None) -> None:
    """Add a user with an access key, whose secret is also the key to log in with."""
    where, who = files_of(data, config), parse_name(name)
    with where.managed.changing() as tables:
        entries = tables.users
        entry = entries.get(who)
        if who in where.listed() or (entry is not None and entry.added):
            raise OperatorProblem(f"there is a user {':'.join(who)}", "objstore user rotate makes a new access key")
        rights = tuple(dict.fromkeys(([] if no_admin else [ADMIN]) + list(groups)))
        key = new_access_key(time.time())
        entries[who] = ManagedUser(*who, rights, added=True, keys=(key,), created=key.created)
    show_key(who, key)


@user.command()
@click.argument("name", metavar="USER")
@click.option("--keep", is_flag=True, help="Keep the keys there are, until the next rotation without this option.")
@with_store
def rotate(name: str, keep: bool, data: Path | None, config: Path | None) -> None:
    """Make a new access key for a user, in the place of those that were made before."""
    where, who = files_of(data, config), parse_name(name)
    with where.managed.changing() as tables:
        entries = tables.users
        entry = entry_of(where, entries, who)
        kept = entry.keys if keep else ()
        if len(kept) >= KEYS_PER_USER_MAX:
            raise OperatorProblem(f"a user has at most {KEYS_PER_USER_MAX} access keys", "rotate without --keep")
        key = new_access_key(time.time())
        entries[who] = msgspec.structs.replace(entry, keys=(*kept, key))
    show_key(who, key)


@user.command()
@click.argument("name", metavar="USER")
@click.option("--key", "identifier", help="Only this access key.")
@click.option("--undo", is_flag=True, help="Enable what was disabled.")
@with_store
def disable(name: str, identifier: str | None, undo: bool, data: Path | None, config: Path | None) -> None:
    """Refuse a user, with all keys and tokens, or one access key."""
    where, who = files_of(data, config), parse_name(name)
    with where.managed.changing() as tables:
        entries = tables.users
        entry = entry_of(where, entries, who)
        if identifier is None:
            entries[who] = msgspec.structs.replace(entry, disabled=not undo)
            return
        if all(key.id != identifier for key in entry.keys):
            raise OperatorProblem(f"{':'.join(who)} has no access key {identifier}", "objstore user keys lists them")
        keys = [msgspec.structs.replace(key, active=undo) if key.id == identifier else key for key in entry.keys]
        entries[who] = msgspec.structs.replace(entry, keys=tuple(keys))


@user.command()
@click.argument("name", metavar="USER")
@with_store
def remove(name: str, data: Path | None, config: Path | None) -> None:
    """Remove a user that `objstore user add` has added; what the user has stored stays."""
    where, who = files_of(data, config), parse_name(name)
    with where.managed.changing() as tables:
        entry = entry_of(where, tables.users, who)
        if who in where.listed():
            raise OperatorProblem(f"{':'.join(who)} stands in users.toml", "objstore user disable refuses the user")
        tables.remove_user((entry.account, entry.name))


@user.command("list")
@json_option
@with_store
def list_(as_json: bool, data: Path | None, config: Path | None) -> None:
    """List all users."""
    where = files_of(data, config)
    listed = where.listed()
    entries = {(entry.account, entry.name): entry for entry in where.managed.read().users}
    rows = [_described(who, listed.get(who), entries.get(who)) for who in sorted({*listed, *entries})]
    if as_json:
        echo_json(rows)
    else:
        headings = ("<user", "<groups", "access keys", "<state", "<from")
        echo_table(headings, [tuple(map(str, row.values())) for row in rows])


@user.command()
@click.argument("name", metavar="USER")
@json_option
@with_store
def keys(name: str, as_json: bool, data: Path | None, config: Path | None) -> None:
    """List the access keys of a user, without their secrets."""
    where, who = files_of(data, config), parse_name(name)
    managed = where.managed.read()
    entry = entry_of(where, {(each.account, each.name): each for each in managed.users}, who)
    rows = [
        {"id": key.id, "created": key.created, "state": "active" if key.active and not entry.disabled else "disabled"}
        for key in entry.keys
    ]
    own = where.listed().get(who)
    if own is not None and parse_key(own.key) is None:
        rows.insert(0, {"id": ":".join(who), "created": "", "state": "disabled" if entry.disabled else "active"})
    if as_json:
        echo_json(rows)
    else:
        echo_table(("<access key", "<created", "<state"), [tuple(row.values()) for row in rows])


def _described(who: tuple[str, str], own: User | None, entry: ManagedUser | None) -> dict[str, str | int]:
    made = 0 if entry is None else len(entry.keys)
    plain = own is not None and parse_key(own.key) is None
    groups = own.groups if own is not None else () if entry is None else entry.groups
    return {
        "user": ":".join(who),
        "groups": " ".join(groups),
        "access_keys": made + plain,
        "state": "disabled" if entry is not None and entry.disabled else "active",
        "from": "users.toml" if own is not None else "objstore user",
    }


def entry_of(where: UserFiles, entries: dict[tuple[str, str], ManagedUser], who: tuple[str, str]) -> ManagedUser:
    """The user's entry, a new one if only users.toml has the user. Raises OperatorProblem."""
    entry = entries.get(who)
    if entry is not None and (entry.added or who in where.listed()):
        return entry
    if who not in where.listed():
        raise OperatorProblem(f"no user {':'.join(who)}", "objstore user list shows those there are")
    return ManagedUser(*who)


def parse_name(name: str) -> tuple[str, str]:
    """Account and name. Raises OperatorProblem."""
    account, colon, own = name.partition(":")
    own = own if colon else account
    good = all(part and part.isprintable() and len(part.encode()) <= NAME_BYTES_MAX for part in (account, own))
    if not good or "/" in account or account.startswith("."):
        raise OperatorProblem(f"{name!r} is no user", "give ACCOUNT:NAME, as in photos:alice")
    return account, own


def show_key(who: tuple[str, str], key: StoredKey) -> None:
    """Tell a new key, once."""
    click.echo(f"user        {':'.join(who)}\naccess key  {key.id}\nsecret key  {key.secret}")
    click.echo("The secret is shown only now. All proxies that read this file take the key within a second.", err=True)
