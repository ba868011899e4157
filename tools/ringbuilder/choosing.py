"""Which devices a subcommand is about, and whether that many were meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.errors import BuilderError, require
from objstore.tools.ringbuilder.places import Search, describe, parse_search, search_of

Options = Mapping[str, str | None]


def searches(words: Sequence[str], options: Options) -> list[Search]:
    """The searches a subcommand was given, as words or as options. Raises UsageError when it was given none."""
    by_options = search_of(options)
    if (by_options is None) == (not words):
        raise click.UsageError("say which devices: either with search values or with options")
    return [parse_search(word) for word in words] if by_options is None else [by_options]


def searches_with_values(words: Sequence[str], options: Options, what: str) -> list[tuple[Search, str]]:
    """Searches, each with the value for the devices it finds. Raises UsageError."""
    by_options = search_of(options)
    if by_options is not None:
        if len(words) != 1:
            raise click.UsageError(f"with options that choose the devices, give {what} and nothing else")
        return [(by_options, words[0])]
    if not words or len(words) % 2:
        raise click.UsageError(f"give pairs of a search value and {what}")
    return [(parse_search(word), value) for word, value in zip(words[::2], words[1::2], strict=True)]


def found(builder: RingBuilder, wanted: Sequence[Search]) -> list[Device]:
    """The devices that any of the searches finds, by id; also those marked for removal. There may be none."""
    return [builder.devices[key] for key in sorted(builder.devices) if _matches(builder.devices[key], wanted)]


def found_some(builder: RingBuilder, wanted: Sequence[Search]) -> list[Device]:
    """The same. Raises BuilderError when there is none."""
    devices = found(builder, wanted)
    require(bool(devices), "no device matches; nothing was changed")
    return devices


def changeable(builder: RingBuilder, wanted: Sequence[Search]) -> list[Device]:
    """The devices found that are not marked for removal. Raises BuilderError when there is none."""
    every = found_some(builder, wanted)
    devices = [device for device in every if device.id not in builder.removed]
    require(bool(devices), f"{describe(every[0])} is marked for removal already; nothing was changed")
    return devices


def confirm(devices: Sequence[Device], what: str, yes: bool) -> None:
    """Ask whether so many devices were meant. Raises BuilderError when they were not, or there is nobody to ask."""
    if len(devices) < 2:
        return
    click.echo("Matched more than one device:")
    for device in devices:
        click.echo(f"    {describe(device)}")
    if yes:
        return
    try:
        sure = click.confirm(f"Are you sure you want to {what} these {len(devices)} devices?")
    except click.Abort:
        click.echo()
        sure = False
    if not sure:
        raise BuilderError("aborted; nothing was changed")


def _matches(device: Device, wanted: Sequence[Search]) -> bool:
    return any(search.matches(device) for search in wanted)
