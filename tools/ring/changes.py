"""Builder files: how commands open them, and the changes that options name, planned or done."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from objstore.devices import Device
from objstore.ring.builder import RingBuilder, builder_of_ring
from objstore.ring.builderfile import MAGIC, load_builder
from objstore.ring.errors import BuilderError, RingFileError, RingMissing, require
from objstore.ring.format import read_ring
from objstore.system.wallclock import WallClock
from objstore.tools.ringbuilder.arguments import (
    Change,
    Search,
    changeable,
    describe,
    number,
    parse_addition,
    parse_change,
    parse_search,
    whole,
)
from objstore.tools.ringbuilder.session import BuilderSession, RingFiles
from objstore.tools.units import SHARE


def is_builder_file(path: str) -> bool:
    """Whether a file begins as a builder file does. Raises RingFileError, RingMissing."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        raise RingMissing(path, "there is no such file") from None
    except OSError as error:
        raise RingFileError(path, f"cannot be read: {error.strerror or error}") from error


def open_either(path: str) -> RingBuilder:
    """The builder of a builder file; that of a ring file knows only what a ring does. Raises RingFileError."""
    if is_builder_file(path):
        return load_builder(path)
    return builder_of_ring(read_ring(path), 0.0)


def editing(path: str, words: Sequence[str]) -> BuilderSession:
    """The session of a command that changes a builder file; `words` go into its history."""
    return BuilderSession(path, WallClock(), words=words)


def ring_path(path: str) -> str:
    return RingFiles.named(path).ring


def place_of(device: Device) -> str:
    """r1z2-10.0.0.1:6200/sda."""
    return f"r{device.region}z{device.zone}-{device.address}/{device.device}"


NO_LIMIT: Final = "none"


@dataclass(frozen=True)
class BuilderChanges:
    """What is to be changed. Devices are named by id or by a search; pairs are written DEVICE=VALUE."""

    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    weights: Sequence[str] = ()
    limits: Sequence[str] = ()
    regions: Sequence[str] = ()
    zones: Sequence[str] = ()
    infos: Sequence[str] = ()
    replicas: float | None = None
    overload: float | None = None
    min_part_hours: float | None = None

    @property
    def words(self) -> list[str]:
        """The changes as they are noted in the history of a builder; none if there is nothing to do."""
        words = [*self.add, *self.remove]
        words += [f"weight {pair}" for pair in self.weights] + [f"limit {pair}" for pair in self.limits]
        words += [f"region {pair}" for pair in self.regions] + [f"zone {pair}" for pair in self.zones]
        words += [f"info {pair}" for pair in self.infos]
        return words + [f"{name} {value:g}" for name, value in self._given.items()]

    @property
    def _given(self) -> dict[str, float]:
        wanted = {"replicas": self.replicas, "overload": self.overload, "min_part_hours": self.min_part_hours}
        return {name: value for name, value in wanted.items() if value is not None}

    def apply(self, builder: RingBuilder) -> list[str]:
        """Change the builder, which is to be thrown away if that fails; a line for each change. Raises BuilderError."""
        require(builder.next_part_power is None, "the part power is being increased: finish or cancel that first")
        lines = []
        for word in self.weights:
            lines += _set_weights(builder, word)
        for word in self.limits:
            lines += _set_limits(builder, word)
        for kind, pairs in (("region", self.regions), ("zone", self.zones)):
            for word in pairs:
                lines += _set_place(builder, kind, word)
        for word in self.infos:
            lines += _set_info(builder, word)
        for word in self.remove:
            lines += _remove(builder, word)
        lines += [_add(builder, word) for word in self.add]
        return lines + self._set(builder)

    def _set(self, builder: RingBuilder) -> list[str]:
        given = self._given
        for name, value in given.items():
            require(math.isfinite(value), f"{name} must be a finite number, not {value}")
        if given:
            builder.set(dataclasses.replace(builder.settings, **given))  # type: ignore[arg-type]
        return [f"{name} is now {value:g}" for name, value in given.items()]


add_option = click.option("--add", "add", multiple=True, metavar="DEVICE=WEIGHT", help="Add a device.")
remove_option = click.option("--remove", "remove", multiple=True, metavar="DEVICE", help="Remove a device.")
weight_option = click.option("--weight", "weights", multiple=True, metavar="DEVICE=W", help="Set a weight; 0 drains.")
limit_option = click.option(
    "--limit", "limits", multiple=True, metavar="DEVICE=N", help="The most partitions a device gets, or none."
)
region_option = click.option("--region", "regions", multiple=True, metavar="DEVICE=N", help="Set a region.")
zone_option = click.option("--zone", "zones", multiple=True, metavar="DEVICE=N", help="Set a zone.")
info_option = click.option(
    "--info", "infos", multiple=True, metavar="DEVICE=CHANGE", help="Change addresses, name and meta."
)
replicas_option = click.option("--replicas", type=float, help="Replicas of each partition; may be fractional.")
overload_option = click.option(
    "--overload", type=SHARE, metavar="SHARE", help="By how much devices may exceed their weight's part: 10% or 0.1."
)


def _add(builder: RingBuilder, word: str) -> str:
    place, weight = _pair(word, "the weight, as in r1z1-10.0.0.1:6200/sda=100")
    device = parse_addition(place).device_of(builder.next_id, number(weight, "the weight"))
    builder.add(device)
    return f"{_named_fully(device)} joins with the next rebalance, with weight {device.weight:g}"


def _set_weights(builder: RingBuilder, word: str) -> list[str]:
    name, value = _pair(word, "the weight, as in 3=100")
    weight, lines = number(value, "the weight"), []
    for device in _named(builder, name):
        builder.set_weight(device.id, weight)
        lines.append(f"{_named_fully(device)} has weight {weight:g} instead of {device.weight:g}")
    return lines


def _set_limits(builder: RingBuilder, word: str) -> list[str]:
    name, value = _pair(word, "the limit, as in 3=1000 or 3=none")
    limit, lines = None if value == NO_LIMIT else whole(value, "the limit"), []
    for device in _named(builder, name):
        builder.set_limit(device.id, limit)
        lines.append(f"{_named_fully(device)} has {'no limit' if limit is None else f'at most {limit} partitions'}")
    return lines


def _set_place(builder: RingBuilder, kind: str, word: str) -> list[str]:
    """`kind` is region or zone."""
    name, value = _pair(word, f"the {kind}, as in 3=2")
    return _replace(builder, name, Change({kind: whole(value, f"the {kind}")}))


def _set_info(builder: RingBuilder, word: str) -> list[str]:
    # A search has no equals sign before the meta, but the new meta may have some.
    name, equals, value = word.partition("=")
    require(bool(name and equals), f"{word!r} lacks what changes, as in 3=10.0.0.1:6200")
    return _replace(builder, name, parse_change(value))


def _replace(builder: RingBuilder, name: str, change: Change) -> list[str]:
    lines = []
    for device in _named(builder, name):
        builder.replace(change.of(device))
        lines.append(f"device {device.id} is now {describe(builder.devices[device.id])}")
    return lines


def _remove(builder: RingBuilder, name: str) -> list[str]:
    devices = _named(builder, name)
    for device in devices:
        builder.remove(device.id)
    return [f"{_named_fully(device)} leaves with the next rebalance" for device in devices]


def _named(builder: RingBuilder, name: str) -> list[Device]:
    """The devices of an id or a search, one at least. Raises BuilderError."""
    if name.isascii() and name.isdecimal():
        device_id = whole(name, "a device id")
        require(device_id in builder.devices, f"there is no device with the id {device_id}")
        return changeable(builder, [Search({"id": device_id})])
    return changeable(builder, [parse_search(name)])


def _named_fully(device: Device) -> str:
    return f"device {device.id} ({place_of(device)})"


def _pair(word: str, expected: str) -> tuple[str, str]:
    name, equals, value = word.rpartition("=")
    if not (name and equals and value):
        raise BuilderError(f"{word!r} lacks {expected}")
    return name, value


def change_builder(path: str, what: str, changes: BuilderChanges) -> None:
    """Change the file and say what was changed. Raises StoreError; the file is then as it was."""
    session = editing(path, [what, *changes.words])
    with session.changing() as builder:
        lines = changes.apply(builder)
    for line in lines:
        click.echo(line)
    click.echo(f"next: objstore ring plan {path}, then objstore ring rebalance {path}")
