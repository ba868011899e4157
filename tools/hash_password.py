"""objstore hash-password: what to write as a user's key, so that the file does not tell the key itself."""

from __future__ import annotations

import os
import sys

import click

from objstore.tools.commands import OperatorProblem


@click.command("hash-password")
def hash_password() -> None:
    """Hash a password for a users file. Asks for it, or reads one line from a pipe."""
    from objstore.passwords import SALT_BYTES, hashed

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise OperatorProblem("the password is empty", "give one")
    click.echo(hashed(password, os.urandom(SALT_BYTES)))
