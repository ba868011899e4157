"""objstore key: the secrets of encryption at rest, which all proxies use a second after they change."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec.structs import replace

from objstore.config.encryption_keys import (
    EncryptionKeys,
    encode_keys,
    read_keys,
)
from objstore.config.loading import load
from objstore.config.proxy import ProxyConfig
from objstore.system import files
from objstore.tools.commands import OperatorProblem
from objstore.tools.layout import new_encryption_key, with_new_root
from objstore.tools.output import echo_json, echo_table, json_option
from objstore.tools.store_folder import STORE_FILE, StoreFolder
from objstore.tools.user import DEFAULT_CONFIG, DEFAULT_DATA, with_store


def keys_file_of(data: Path | None, config: Path | None) -> Path:
    """The file of a store that `objstore up` keeps in a folder, or of a proxy. Raises OperatorProblem, ConfigError."""
    if data is not None and config is not None:
        raise OperatorProblem("--data and --config are for different stores", "give one of them")
    if config is None and (data is not None or (DEFAULT_DATA / STORE_FILE).exists()):
        folder = StoreFolder(data or DEFAULT_DATA)
        if not (folder.path / STORE_FILE).exists():
            raise OperatorProblem(f"{folder.path} holds no store", "make one with: objstore up")
        return folder.encryption_keys_file
    return Path(load(config or DEFAULT_CONFIG, ProxyConfig).encryption.keys)


@contextmanager
def changing(path: Path) -> Iterator[list[EncryptionKeys]]:
    """The keys, in a list whose last item is written after the block, while no other command changes them."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        before = read_keys(str(path))
        states = [before]
        yield states
        owner = path.stat() if path.exists() else None
        files.write_atomically(str(path), encode_keys(states[-1]), 0o600)
        if owner is not None and os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
    finally:
        os.close(directory)


@click.group()
def key() -> None:
    """Secrets of encryption at rest.

    New objects are encrypted under the active root secret, older ones stay readable as long as theirs is in the file.
    Keep a copy of the file apart from the data: without it, what is encrypted is lost.
    """


@key.command()
@with_store
def rotate(data: Path | None, config: Path | None) -> None:
    """Make a new root secret, under which objects are encrypted from now on."""
    with changing(keys_file_of(data, config)) as states:
        try:
            states.append(with_new_root(states[-1]))
        except ValueError as error:
            raise OperatorProblem(str(error), "see docs/operate/security.md on how to retire one") from None
    click.echo(states[-1].active)


@key.command()
@click.argument("alias")
@with_store
def add(alias: str, data: Path | None, config: Path | None) -> None:
    """Add a key that clients of the S3 API name, by ALIAS or by the id that is shown."""
    made = new_encryption_key(alias)
    with changing(keys_file_of(data, config)) as states:
        before = states[-1]
        if any(alias in (each.id, each.alias) for each in before.keys):
            raise OperatorProblem(f"there is a key {alias}", "choose another alias")
        if not before.active:
            before = with_new_root(before)
        states.append(replace(before, keys=(*before.keys, made)))
    click.echo(made.id)


@key.command("list")
@json_option
@with_store
def list_(as_json: bool, data: Path | None, config: Path | None) -> None:
    """List the secrets, without what is secret of them."""
    stored = read_keys(str(keys_file_of(data, config)))
    rows = [
        {
            "id": each.id,
            "created": each.created,
            "use": "named" if each.alias else "active" if each.id == stored.active else "readable",
            "alias": each.alias,
        }
        for each in stored.keys
    ]
    if as_json:
        echo_json(rows)
    else:
        echo_table(("<id", "<created", "<use", "<alias"), [tuple(row.values()) for row in rows])
