"""Subcommands that add, change and remove devices. Partitions move with the next rebalance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import click

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.errors import require
from objstore.tools.ringbuilder.arguments import (
    DEFAULT_REGION,
    Addition,
    Change,
    Search,
    addition_of,
    change_of,
    changeable,
    confirm,
    describe,
    found_some,
    number,
    parse_addition,
    parse_change,
    searches,
    searches_with_values,
    whole,
)
from objstore.tools.ringbuilder.session import (
    ADD_OPTIONS,
    CHANGE_OPTIONS,
    SEARCH_OPTIONS,
    BuilderSession,
    device_command,
)

CHANGE_PREFIX: Final = "change_"
NO_LIMIT: Final = "none"
Value = TypeVar("Value")


@device_command("add", "[DEVICE WEIGHT]...", ADD_OPTIONS)
def add(session: BuilderSession, /, words: tuple[str, ...], **options: str | None) -> None:
    """Add devices, one with options or any number in the form
    [r<region>]z<zone>-<ip>:<port>[R<ip>:<port>]/<name>[_<meta>] WEIGHT.

    They get partitions with the next rebalance."""
    additions = _additions(words, options)
    lines = []
    with session.changing() as builder:
        _expect_no_increase(builder)
        for addition, weight in additions:
            device = addition.device_of(builder.next_id, weight)
            builder.add(device)
            lines.append(f"Device {describe(device)} with {weight} weight got id {device.id}")
    for addition, _ in additions:
        if not addition.has_region:
            click.echo(
                f"WARNING: no region given for {addition.fields['device']}: it is in region {DEFAULT_REGION}", err=True
            )
    _echo(lines)


def _additions(words: tuple[str, ...], options: dict[str, str | None]) -> list[tuple[Addition, float]]:
    by_options = any(value is not None for value in options.values())
    if by_options == bool(words):
        raise click.UsageError("give devices and their weights, or describe one device with options")
    if by_options:
        return [(addition_of(options), number(options["weight"] or "", "the weight"))]
    if len(words) % 2:
        raise click.UsageError(f"the weight of {words[-1]} is missing")
    pairs = zip(words[::2], words[1::2], strict=True)
    return [(parse_addition(word), number(weight, "the weight")) for word, weight in pairs]


@device_command("set_weight", "[SEARCH WEIGHT]...", SEARCH_OPTIONS, asks=True)
def set_weight(session: BuilderSession, /, words: tuple[str, ...], yes: bool, **options: str | None) -> None:
    """Set the weights of devices. Weight 0 drains a device: its partitions leave as min_part_hours allows."""
    wanted = [(search, number(value, "the weight")) for search, value in searches_with_values(words, options, "WEIGHT")]

    def change(builder: RingBuilder, device: Device, weight: float) -> str:
        builder.set_weight(device.id, weight)
        return f"{describe(device)} weight set to {weight}"

    _change_each(session, wanted, "weight", yes, change)


def _change_each(
    session: BuilderSession,
    wanted: Sequence[tuple[Search, Value]],
    name: str,
    yes: bool,
    change: Callable[[RingBuilder, Device, Value], str],
) -> None:
    """Change the devices of each search to its value, and print what `change` says of each."""
    lines = []
    with session.changing() as builder:
        for search, value in wanted:
            devices = changeable(builder, [search])
            confirm(devices, f"update the {name} for", yes)
            lines += [change(builder, device, value) for device in devices]
    _echo(lines)


@device_command("set_region", "[SEARCH REGION]...", SEARCH_OPTIONS, asks=True)
def set_region(session: BuilderSession, /, words: tuple[str, ...], yes: bool, **options: str | None) -> None:
    """Set the regions of devices."""
    _set_place(session, words, yes, options, "region")


@device_command("set_zone", "[SEARCH ZONE]...", SEARCH_OPTIONS, asks=True)
def set_zone(session: BuilderSession, /, words: tuple[str, ...], yes: bool, **options: str | None) -> None:
    """Set the zones of devices."""
    _set_place(session, words, yes, options, "zone")


def _set_place(
    session: BuilderSession, words: tuple[str, ...], yes: bool, options: dict[str, str | None], name: str
) -> None:
    pairs = searches_with_values(words, options, name.upper())
    wanted = [(search, whole(value, f"the {name}")) for search, value in pairs]

    def change(builder: RingBuilder, device: Device, value: int) -> str:
        return f"{describe(_replace(builder, device, Change({name: value})))} {name} set to {value}"

    _change_each(session, wanted, name, yes, change)


@device_command("set_limit", "[SEARCH PARTITIONS]...", SEARCH_OPTIONS, asks=True)
def set_limit(session: BuilderSession, /, words: tuple[str, ...], yes: bool, **options: str | None) -> None:
    """Set the most partitions devices get, whatever their weights; `none` lifts the limit.

    For a device that is slow or nearly full. What it holds beyond the limit leaves as min_part_hours allows."""
    pairs = searches_with_values(words, options, "PARTITIONS")
    wanted = [(search, None if value == NO_LIMIT else whole(value, "the limit")) for search, value in pairs]

    def change(builder: RingBuilder, device: Device, limit: int | None) -> str:
        builder.set_limit(device.id, limit)
        return f"{describe(device)} limit set to {NO_LIMIT if limit is None else limit}"

    _change_each(session, wanted, "limit", yes, change)


@device_command("set_info", "[SEARCH CHANGE]...", (*SEARCH_OPTIONS, *CHANGE_OPTIONS), asks=True)
def set_info(session: BuilderSession, /, words: tuple[str, ...], yes: bool, **options: str | None) -> None:
    """Change addresses, names and meta of devices. A change has the form <ip>:<port>R<ip>:<port>/<name>_<meta>; the
    parts left out stay.

    Nothing is moved: write_ring is enough afterwards. A new ip counts as another server from the next rebalance on."""

    def change(builder: RingBuilder, device: Device, wanted: Change) -> str:
        return f"Device {describe(device)} is now {describe(_replace(builder, device, wanted))}"

    _change_each(session, _info_changes(words, options), "info", yes, change)


def _info_changes(words: tuple[str, ...], options: dict[str, str | None]) -> list[tuple[Search, Change]]:
    search_options = {name: value for name, value in options.items() if not name.startswith(CHANGE_PREFIX)}
    change_options = {name: value for name, value in options.items() if name.startswith(CHANGE_PREFIX)}
    change = change_of(change_options)
    if change is None:
        pairs = searches_with_values(words, search_options, "what changes")
        return [(search, parse_change(value)) for search, value in pairs]
    return [(search, change) for search in searches(words, search_options)]


@device_command("remove", "[SEARCH]...", SEARCH_OPTIONS, asks=True)
def remove(session: BuilderSession, /, words: tuple[str, ...], yes: bool, **options: str | None) -> None:
    """Remove devices. The next rebalance moves everything off them at once: that is for devices that failed. Others
    are better drained first, by setting their weight to 0. Those that are marked for removal already stay so."""
    wanted = searches(words, options)
    with session.locked() as builder:
        _expect_no_increase(builder)
        devices = found_some(builder, wanted)
        new = [device for device in devices if device.id not in builder.removed]
        confirm(new, "remove", yes)
        for device in new:
            builder.remove(device.id)
        if new:
            session.save(builder)
    _echo([f"{describe(device)} marked for removal and will be removed next rebalance." for device in devices])


def _replace(builder: RingBuilder, device: Device, change: Change) -> Device:
    changed = change.of(device)
    builder.replace(changed)
    return changed


def _expect_no_increase(builder: RingBuilder) -> None:
    reason = "the part power is being increased: finish or cancel that first"
    require(builder.next_part_power is None, reason)


def _echo(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)
