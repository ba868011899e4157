"""Values and devices as the command line names them, and which devices of a builder are meant."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click
import msgspec
import xxhash

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.errors import BuilderError, require

WHOLE: Final = re.compile(r"[0-9]{1,9}")


def whole(word: str, what: str) -> int:
    """A whole number of 0 or more, such as a zone or a port."""
    require(WHOLE.fullmatch(word) is not None, f"{what} must be a whole number of 0 or more, not {word!r}")
    return int(word)


def number(word: str, what: str) -> float:
    """Any number, infinity and NaN too: what makes no sense is refused where it is used."""
    try:
        return float(word)
    except ValueError:
        raise BuilderError(f"{what} must be a number, not {word!r}") from None


def share(word: str, what: str) -> float:
    """A share such as 0.1 or 10%."""
    if word.endswith("%"):
        return number(word.removesuffix("%"), what) / 100
    return number(word, what)


def text(word: str, what: str) -> str:
    """Anything that can be shown in one line and stored as UTF-8."""
    require(word.isprintable(), f"{what} has characters that cannot be shown: {word!r}")
    return word


def seed(word: str) -> int:
    """A number counts as it is, any other text by its hash."""
    if WHOLE.fullmatch(word):
        return int(word)
    return xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogateescape"))


NUMBER: Final = r"[0-9]{1,9}"
DIGITS: Final = r"\[[0-9A-Fa-f:.]+\]|[0-9]+(?:\.[0-9]+)+"
# Host names are written in small letters here, so that the R of the replication address stands out.
HOST: Final = rf"{DIGITS}|[a-z0-9][a-z0-9.-]*"
TAIL: Final = r"(?:/(?P<device>[^_]*))?(?:_(?P<meta>.*))?"
ADDRESSES: Final = (
    rf"(?:-(?P<ip>{HOST})|\A(?P<bare_ip>{DIGITS}))?(?::(?P<port>{NUMBER}))?"
    rf"(?:R(?=.)(?P<replication_ip>{HOST})?(?::(?P<replication_port>{NUMBER}))?)?"
)
SEARCH: Final = re.compile(
    rf"(?:d(?P<id>{NUMBER}))?(?:r(?P<region>{NUMBER}))?(?:z(?P<zone>{NUMBER}))?{ADDRESSES}{TAIL}"
)
CHANGE: Final = re.compile(rf"{ADDRESSES}{TAIL}")
ADD: Final = re.compile(
    rf"(?:r(?P<region>{NUMBER}))?z(?P<zone>{NUMBER})-(?P<ip>{HOST}):(?P<port>{NUMBER})"
    rf"(?:R(?P<replication_ip>{HOST})(?::(?P<replication_port>{NUMBER}))?)?{TAIL}"
)
ADD_FORM: Final = "[r<region>]z<zone>-<ip>:<port>[R<ip>:<port>]/<device>[_<meta>]"
DEFAULT_REGION: Final = 1
WHOLE_FIELDS: Final = frozenset({"id", "region", "zone", "port", "replication_port"})

Fields = dict[str, int | float | str]


@dataclass(frozen=True)
class Search:
    """Which devices are meant: those with all these values. `meta` may be anywhere in a device's meta."""

    fields: Fields

    def matches(self, device: Device) -> bool:
        return all(_agrees(getattr(device, name), name, value) for name, value in self.fields.items())


@dataclass(frozen=True)
class Change:
    fields: Fields

    def of(self, device: Device) -> Device:
        return msgspec.structs.replace(device, **self.fields)


@dataclass(frozen=True)
class Addition:
    """A device to be added; it has no id and no weight yet. Without a region it goes to the first one."""

    fields: Fields

    @property
    def has_region(self) -> bool:
        return "region" in self.fields

    def device_of(self, device_id: int, weight: float) -> Device:
        """The address of replication is that of clients as far as none is given."""
        made = {"region": DEFAULT_REGION} | self.fields | {"id": device_id, "weight": weight}
        for name in ("ip", "port"):
            made[f"replication_{name}"] = self.fields.get(f"replication_{name}") or made[name]
        return msgspec.convert(made, Device)


def parse_search(word: str) -> Search:
    """Raises BuilderError unless the word names at least one part of a device."""
    found = SEARCH.fullmatch(word)
    fields = _fields(found.groupdict()) if found else {}
    require(bool(fields) and "" not in fields.values(), f"invalid search value: {word!r}")
    return Search(fields)


def parse_change(word: str) -> Change:
    """Raises BuilderError unless the word names at least one part of a device. The meta may be empty."""
    found = CHANGE.fullmatch(word)
    fields = _fields(found.groupdict()) if found else {}
    require(bool(fields), f"invalid change of a device: {word!r}")
    return Change(fields)


def parse_addition(word: str) -> Addition:
    """Raises BuilderError unless the word has all a device needs."""
    found = ADD.fullmatch(word)
    if found is None or not found["device"]:
        raise BuilderError(f"invalid device to add: {word!r}; it must be {ADD_FORM}")
    return Addition(_fields(found.groupdict()))


def search_of(options: Mapping[str, str | None]) -> Search | None:
    """What the options of a command choose; None if none of them was given. Raises BuilderError."""
    fields = _fields(options)
    # An empty text is in every meta: it would choose all devices.
    require("" not in fields.values(), "an option that chooses devices is empty")
    return Search(fields) if fields else None


def change_of(options: Mapping[str, str | None]) -> Change | None:
    """What the options of a command change; None if none of them was given. Raises BuilderError."""
    fields = _fields({name.removeprefix("change_"): value for name, value in options.items()})
    return Change(fields) if fields else None


def addition_of(options: Mapping[str, str | None]) -> Addition:
    """The device that the options of a command describe. Raises BuilderError when one is missing or wrong."""
    for name in ("region", "zone", "ip", "port", "device", "weight"):
        require(options[name] is not None, f"--{name} is missing; a device needs it")
    fields = _fields(options)
    del fields["weight"]
    return Addition(fields)


def describe(device: Device) -> str:
    """A device in the form of a search, with all parts."""
    place = f"d{device.id}r{device.region}z{device.zone}-{device.address}R{device.on_replication.address}"
    return f'{place}/{device.device}_"{device.meta}"'


def _fields(given: Mapping[str, str | None]) -> Fields:
    return {name.removeprefix("bare_"): _value(name, value) for name, value in given.items() if value is not None}


def _value(name: str, value: str) -> int | float | str:
    if name in WHOLE_FIELDS:
        return whole(value, f"the {name.replace('_', ' ')}")
    if name == "weight":
        return number(value, "the weight")
    return _plain_address(value) if name.endswith("ip") else text(value, f"the {name}")


def _plain_address(address: str) -> str:
    """An IP address in the one form that is stored; a host name as it is."""
    bare = address.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return text(bare, "the ip")


def _agrees(value: object, name: str, wanted: int | float | str) -> bool:
    return str(wanted) in str(value) if name == "meta" else value == wanted


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
