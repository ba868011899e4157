"""objstore ring verify: what must hold of a builder, of a ring, and of the two together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import click
import numpy as np

from objstore.ring.builder import RingBuilder, ring_of
from objstore.ring.format import read_ring
from objstore.ring.layout import Layout
from objstore.ring.quality import doubled_count
from objstore.ring.ring import Ring
from objstore.ring.tiers import Ints
from objstore.tools.output import echo_json, json_option, progress, quiet_option
from objstore.tools.ring.changes import is_builder_file, open_either, ring_path


class RingVerdict(Enum):
    HOLDS = "ok"
    DOUBTFUL = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    verdict: RingVerdict
    what: str


def check_builder(builder: RingBuilder) -> Iterator[Finding]:
    """Everything that must hold of a builder."""
    layout = builder.layout
    if layout is None:
        yield Finding(RingVerdict.DOUBTFUL, "it was never balanced")
        return
    yield from _of_layout(builder, layout)
    yield _limits(builder, _held(builder, layout))
    yield _times(builder, layout)


def check_ring(ring: RingBuilder) -> Iterator[Finding]:
    """Everything that must hold of a ring, given as the builder it was made: of limits and times it knows nothing."""
    if ring.layout is not None:
        yield from _of_layout(ring, ring.layout)


def check_together(builder: RingBuilder, ring: Ring) -> Iterator[Finding]:
    """Whether a ring is the one its builder would write. One of another version may well differ from it."""
    same_version = builder.version == ring.version
    if same_version:
        yield Finding(RingVerdict.HOLDS, f"builder and ring have version {ring.version}")
    else:
        what = f"the ring has version {ring.version}, the builder {builder.version}"
        yield Finding(RingVerdict.DOUBTFUL, f"{what}: it was changed since; rebalance and publish")
    if builder.layout is None:
        yield Finding(RingVerdict.BROKEN, "there is a ring, though the builder was never balanced")
        return
    made = ring_of(builder.layout, builder.devices.values(), builder.version, builder.next_part_power)
    otherwise = RingVerdict.BROKEN if same_version else RingVerdict.DOUBTFUL
    yield _partitions(made, ring, otherwise)
    if {device.id: device for device in ring.devices} == {device.id: device for device in made.devices}:
        yield Finding(RingVerdict.HOLDS, "the devices are the same in both")
    else:
        yield Finding(otherwise, "the devices are not the same in both")


def _partitions(made: Ring, ring: Ring, otherwise: RingVerdict) -> Finding:
    if made.part_power != ring.part_power:
        return Finding(otherwise, f"the ring has part power {ring.part_power}, the builder {made.part_power}")
    if made.rows == ring.rows:
        return Finding(RingVerdict.HOLDS, "the partitions are on the same devices in both")
    if len(made.rows) != len(ring.rows):
        return Finding(otherwise, f"the ring has {len(ring.rows)} rows of replicas, the builder {len(made.rows)}")
    pairs = [(np.asarray(mine), np.asarray(theirs)) for mine, theirs in zip(made.rows, ring.rows, strict=True)]
    differing = sum(int(np.count_nonzero(mine[: len(theirs)] != theirs[: len(mine)])) for mine, theirs in pairs)
    differing += sum(abs(len(mine) - len(theirs)) for mine, theirs in pairs)
    return Finding(otherwise, f"{differing} replicas are not on the same device in both")


def _of_layout(builder: RingBuilder, layout: Layout) -> Iterator[Finding]:
    yield _counts(layout)
    yield _ids(builder, layout)
    yield _distinct(builder, layout)
    yield _entitled(builder, _held(builder, layout))


def _held(builder: RingBuilder, layout: Layout) -> Ints:
    """Replicas by the id of their device, also of one that does not exist."""
    largest = int(layout.ids[layout.ids != layout.nobody].max(initial=0))
    return layout.held(max(max(builder.devices, default=-1), largest) + 1)


def _counts(layout: Layout) -> Finding:
    replicas = np.count_nonzero(layout.ids != layout.nobody, axis=0)
    begin, wrong = 0, 0
    for count, expected in layout.settings.replica_counts:
        wrong += int(np.count_nonzero(replicas[begin : begin + count] != expected))
        begin += count
    if wrong:
        return Finding(RingVerdict.BROKEN, f"{wrong} partitions have not as many replicas as they must")
    return Finding(RingVerdict.HOLDS, f"all {begin} partitions have their {layout.settings.replicas:g} replicas")


def _ids(builder: RingBuilder, layout: Layout) -> Finding:
    strange = set(np.unique(layout.ids[layout.ids != layout.nobody]).tolist()) - builder.devices.keys()
    if strange:
        return Finding(RingVerdict.BROKEN, f"partitions are on devices that do not exist: {sorted(strange)[:5]}")
    return Finding(RingVerdict.HOLDS, "every partition is on devices that exist")


def _distinct(builder: RingBuilder, layout: Layout) -> Finding:
    count = doubled_count(layout)
    if not count:
        return Finding(RingVerdict.HOLDS, "the replicas of every partition are on distinct devices")
    forced = builder.tiers.usable_count < layout.settings.row_count
    reason = "there are fewer devices than replicas" if forced else "rebalance until it is none"
    what = f"{count} partitions have two replicas on one device: {reason}"
    return Finding(RingVerdict.DOUBTFUL if forced else RingVerdict.BROKEN, what)


def _entitled(builder: RingBuilder, held: Ints) -> Finding:
    idle = [key for key, device in builder.devices.items() if not device.weight and held[key]]
    if idle:
        what = f"devices without weight still hold partitions: {idle[:5]}; rebalance"
        return Finding(RingVerdict.DOUBTFUL, what)
    return Finding(RingVerdict.HOLDS, "no device without weight holds anything")


def _limits(builder: RingBuilder, held: Ints) -> Finding:
    over = [key for key, limit in builder.limits.items() if held[key] > limit]
    if over:
        return Finding(RingVerdict.DOUBTFUL, f"devices hold more than their limits: {over[:5]}; rebalance")
    return Finding(RingVerdict.HOLDS, "no device holds more than its limit")


def _times(builder: RingBuilder, layout: Layout) -> Finding:
    known, partitions = 0 if builder.moved_at is None else len(builder.moved_at), layout.ids.shape[1]
    if known == partitions:
        return Finding(RingVerdict.HOLDS, "there is a time of the last move for every partition")
    return Finding(RingVerdict.BROKEN, f"there are times of the last move for {known} of {partitions} partitions")


STATUS: Final = {RingVerdict.HOLDS: 0, RingVerdict.DOUBTFUL: 1, RingVerdict.BROKEN: 2}


@click.command()
@click.argument("file", metavar="BUILDER|RING")
@click.argument("ring", required=False)
@json_option
@quiet_option
def verify(file: str, ring: str | None, as_json: bool, quiet: bool) -> int:
    """Check a builder file with its ring, or a ring file alone: checksums, and everything that must hold of them.

    The ring of object.builder is object.ring.gz beside it, unless RING names another. Exit status 1 if something is
    doubtful, 2 if something is broken.
    """
    with progress("verifying", None, quiet):
        findings = _findings(file, ring)
    if as_json:
        echo_json([{"verdict": each.verdict.value, "what": each.what} for each in findings])
    else:
        for each in findings:
            click.echo(f"{each.verdict.value:>8}  {each.what}")
    return max(STATUS[each.verdict] for each in findings)


def _findings(file: str, ring: str | None) -> list[Finding]:
    builder = open_either(file)
    whole = Finding(RingVerdict.HOLDS, f"{file} is whole: its checksum is right")
    if not is_builder_file(file):
        if ring is not None:
            raise click.UsageError(f"{file} is a ring file itself; name a builder file first")
        return [whole, *check_ring(builder)]
    findings = [whole, *check_builder(builder)]
    if ring is None and not os.path.exists(ring_path(file)):
        return [*findings, Finding(RingVerdict.DOUBTFUL, f"there is no {ring_path(file)}")]
    path = ring or ring_path(file)
    other = read_ring(path)
    return [
        *findings,
        Finding(RingVerdict.HOLDS, f"{path} is whole: its checksum is right"),
        *check_together(builder, other),
    ]
