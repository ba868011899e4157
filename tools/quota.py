"""objstore quota: how much accounts and buckets may hold, and hold."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote as quoted

import click
from msgspec import Struct

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError
from objstore.client.requests import HttpClient
from objstore.client.store import ClientToken, token_from
from objstore.config.units import parse_bytes
from objstore.tools.commands import OperatorProblem
from objstore.tools.output import echo_json, echo_table, json_option

NONE: Final = "none"
TIMEOUT_SECONDS: Final = 30.0
# Kind of path -> what counts it, and what limits it when it is set and when it is asked for.
HEADERS: Final = {
    "container": {
        "bytes": ("x-container-bytes-used", "X-Container-Meta-Quota-Bytes"),
        "objects": ("x-container-object-count", "X-Container-Meta-Quota-Count"),
    },
    "account": {
        "bytes": ("x-account-bytes-used", "X-Account-Quota-Bytes"),
        "objects": ("x-account-object-count", "X-Account-Quota-Count"),
    },
}


class Limit(Struct, frozen=True):
    """What is used of something, and how much there may be; None without a limit."""

    used: int
    limit: int | None


def parse_limit(kind: str, text: str) -> str:
    """The value of the header that sets a limit; "" takes it away. Raises OperatorProblem."""
    if text == NONE:
        return ""
    try:
        return str(parse_bytes(text) if kind == "bytes" else int(text))
    except ValueError:
        raise OperatorProblem(
            f"--{kind}: {text!r} is no limit", "give a number, a size such as 10GiB, or none"
        ) from None


def limits_of(kind: str, headers: Mapping[str, str]) -> dict[str, Limit]:
    """What a HEAD says of an account or a container; names of headers are in lower case."""
    found = {}
    for name, (count, limit) in HEADERS[kind].items():
        text = headers.get(limit.lower(), "")
        found[name] = Limit(int(headers.get(count, "0")), int(text) if text.isdecimal() else None)
    return found


@click.command()
@click.argument("where", metavar="ACCOUNT[/BUCKET]")
@click.option("--bytes", "bytes_", metavar="SIZE", help="So much may be stored, as 10GiB; none for any amount.")
@click.option("--objects", metavar="NUMBER", help="So many objects may be stored; none for any number.")
@click.option("--auth", default="http://127.0.0.1:8080/auth/v1.0", show_default=True, help="Where to log in.")
@click.option("--user", envvar="OBJSTORE_USER", required=True, help="As whom; quotas of accounts are the reseller's.")
@click.option("--key", envvar="OBJSTORE_KEY", required=True, help="With which key.")
@json_option
def quota(where: str, bytes_: str | None, objects: str | None, auth: str, user: str, key: str, as_json: bool) -> None:
    """Show what an account or a bucket may hold, and holds; with --bytes or --objects, set it.

    Buckets are containers: a quota holds for uploads of both APIs.
    """
    account, _, bucket = where.partition("/")
    kind = "container" if bucket else "account"
    wanted = {"bytes": bytes_, "objects": objects}
    changes = {HEADERS[kind][name][1]: parse_limit(name, text) for name, text in wanted.items() if text is not None}
    try:
        with HttpClient.with_limits(TIMEOUT_SECONDS) as http:
            token = token_from(http, auth, user, key, time.monotonic())
            path = f"{token.path.rpartition('/')[0]}/{quoted(account)}" + (f"/{quoted(bucket)}" if bucket else "")
            if changes:
                _ask(http, token, "POST", path, changes)
            found = limits_of(kind, _ask(http, token, "HEAD", path, {}))
    except (ClientError, ValueError) as error:
        raise OperatorProblem(f"{where}: {error}", "say who may do this with --user and --key") from error
    if as_json:
        echo_json(found)
        return
    rows = [(name, str(each.used), NONE if each.limit is None else str(each.limit)) for name, each in found.items()]
    echo_table(("", "used", "quota"), rows)


def _ask(http: HttpClient, token: ClientToken, method: str, path: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    sent = {"X-Auth-Token": token.text, **headers}
    server: ServerAddress = token.server
    with http.request(server, method, path, headers=sent) as response:
        response.read()
        return response.headers
