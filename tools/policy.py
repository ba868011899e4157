"""objstore policy: policies of users and groups in AWS's language, which running proxies take within a second."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO

import click
import msgspec

from objstore.config.access_keys import POLICIES_MAX, ManagedPolicy
from objstore.proxy.auth.new_keys import moment_of
from objstore.proxy.auth.policy import MalformedAccessPolicy, user_policy
from objstore.tools.chosen_store import with_store
from objstore.tools.commands import OperatorProblem
from objstore.tools.output import echo_json, echo_table, json_option
from objstore.tools.user import files_of, parse_name


@click.group()
def policy() -> None:
    """Policies of users and groups, for requests of the S3 API.

    POLICY is ACCOUNT:NAME. It is for users and groups of its account.
    """


@policy.command()
@click.argument("name", metavar="POLICY")
@click.argument("file", type=click.File("r"))
@with_store
def put(name: str, file: TextIO, data: Path | None, config: Path | None) -> None:
    """Make a policy of a JSON document, or replace it; "-" reads standard input."""
    where, which = files_of(data, config), parse_name(name)
    document = file.read()
    try:
        user_policy(document)
    except MalformedAccessPolicy as error:
        raise OperatorProblem(f"no policy: {error.reason}", "see docs/use/access.md") from None
    with where.managed.changing() as tables:
        before = tables.policies.get(which)
        if before is not None:
            tables.policies[which] = msgspec.structs.replace(before, document=document, edition=before.edition + 1)
            return
        if sum(account == which[0] for account, _name in tables.policies) >= POLICIES_MAX:
            raise OperatorProblem(f"{which[0]} has {POLICIES_MAX} policies", "remove some")
        tables.policies[which] = ManagedPolicy(*which, document, created=moment_of(time.time()))


@policy.command()
@click.argument("name", metavar="POLICY")
@click.option("--user", "users", multiple=True, help="A user of the account, by the name alone. May be repeated.")
@click.option("--group", "groups", multiple=True, help="A group of users of the account. May be repeated.")
@click.option("--undo", is_flag=True, help="Take it from them.")
@with_store
def attach(
    name: str, users: tuple[str, ...], groups: tuple[str, ...], undo: bool, data: Path | None, config: Path | None
) -> None:
    """Make a policy be for users and groups."""
    where, which = files_of(data, config), parse_name(name)
    with where.managed.changing() as tables:
        found = _policy_of(tables.policies, which)
        known = {own for account, own in {*where.listed(), *tables.users} if account == found.account}
        if unknown := set(users) - known - (set(found.users) if undo else set()):
            raise OperatorProblem(f"no user {found.account}:{min(unknown)}", "objstore user list shows those there are")
        tables.policies[which] = msgspec.structs.replace(
            found, users=_changed(found.users, users, undo=undo), groups=_changed(found.groups, groups, undo=undo)
        )


@policy.command()
@click.argument("name", metavar="POLICY")
@with_store
def remove(name: str, data: Path | None, config: Path | None) -> None:
    """Remove a policy, from all whom it is for."""
    where, which = files_of(data, config), parse_name(name)
    with where.managed.changing() as tables:
        _policy_of(tables.policies, which)
        del tables.policies[which]


@policy.command("list")
@json_option
@with_store
def list_(as_json: bool, data: Path | None, config: Path | None) -> None:
    """List all policies, and whom they are for."""
    managed = files_of(data, config).managed.read()
    found = sorted(managed.policies, key=lambda each: (each.account, each.name))
    rows = [
        {"policy": f"{each.account}:{each.name}", "users": " ".join(each.users), "groups": " ".join(each.groups)}
        for each in found
    ]
    if as_json:
        echo_json(rows)
    else:
        echo_table(("<policy", "<users", "<groups"), [tuple(row.values()) for row in rows])


@policy.command()
@click.argument("name", metavar="POLICY")
@with_store
def show(name: str, data: Path | None, config: Path | None) -> None:
    """Print the document of a policy."""
    managed = files_of(data, config).managed.read()
    policies = {(each.account, each.name): each for each in managed.policies}
    click.echo(_policy_of(policies, parse_name(name)).document)


def _policy_of(policies: dict[tuple[str, str], ManagedPolicy], which: tuple[str, str]) -> ManagedPolicy:
    """Raises OperatorProblem."""
    if which not in policies:
        raise OperatorProblem(f"no policy {':'.join(which)}", "objstore policy list shows those there are")
    return policies[which]


def _changed(before: tuple[str, ...], names: tuple[str, ...], *, undo: bool) -> tuple[str, ...]:
    kept = tuple(each for each in before if each not in names)
    return kept if undo else (*kept, *dict.fromkeys(names))
