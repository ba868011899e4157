"""objstore key: the secrets of encryption at rest, which all proxies use a second after they change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
from msgspec.structs import replace

from objstore.config.encryption_keys import KEYS_FILE, EncryptionKeys
from objstore.config.proxy import ProxyConfig
from objstore.system import files
from objstore.tools.chosen_store import chosen_store, with_store
from objstore.tools.commands import OperatorProblem
from objstore.tools.layout import new_encryption_key, with_new_root
from objstore.tools.output import echo_json, echo_table, json_option


def keys_file_of(data: Path | None, config: Path | None) -> Path:
    """The file of keys of the store that is meant. Raises OperatorProblem, ConfigError."""
    chosen = chosen_store(data, config)
    return Path(chosen.encryption.keys) if isinstance(chosen, ProxyConfig) else chosen.encryption_keys_file


def change(path: Path, changed: Callable[[EncryptionKeys], EncryptionKeys]) -> EncryptionKeys:
    """Write what becomes of the keys, while no other command changes them. Raises ConfigError, and as `changed`."""
    with files.alone_with(str(path)):
        keys = changed(KEYS_FILE.read(str(path)))
        owner = path.stat() if path.exists() else None
        files.write_atomically(str(path), KEYS_FILE.encode(keys), 0o600)
        if owner is not None and os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
    return keys


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
    try:
        click.echo(change(keys_file_of(data, config), with_new_root).active)
    except ValueError as error:
        raise OperatorProblem(str(error), "see docs/operate/security.md on how to retire one") from None


@key.command()
@click.argument("alias")
@with_store
def add(alias: str, data: Path | None, config: Path | None) -> None:
    """Add a key that clients of the S3 API name, by ALIAS or by the id that is shown."""
    made = new_encryption_key(alias)

    def with_made(keys: EncryptionKeys) -> EncryptionKeys:
        if any(alias in (each.id, each.alias) for each in keys.keys):
            raise OperatorProblem(f"there is a key {alias}", "choose another alias")
        keys = keys if keys.active else with_new_root(keys)
        return replace(keys, keys=(*keys.keys, made))

    change(keys_file_of(data, config), with_made)
    click.echo(made.id)


@key.command("list")
@json_option
@with_store
def list_(as_json: bool, data: Path | None, config: Path | None) -> None:
    """List the secrets, without what is secret of them."""
    stored = KEYS_FILE.read(str(keys_file_of(data, config)))
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
