"""`objstore ring verify`."""

from __future__ import annotations

import os
from typing import Final

import click

from objstore.ring.format import read_ring
from objstore.tools.ring.invariants import Finding, Verdict, check_builder, check_ring, check_together
from objstore.tools.ring.opening import is_builder_file, open_either, ring_path
from objstore.tools.ring.output import echo_json, json_option, progress, quiet_option

STATUS: Final = {Verdict.HOLDS: 0, Verdict.DOUBTFUL: 1, Verdict.BROKEN: 2}


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
    whole = Finding(Verdict.HOLDS, f"{file} is whole: its checksum is right")
    if not is_builder_file(file):
        if ring is not None:
            raise click.UsageError(f"{file} is a ring file itself; name a builder file first")
        return [whole, *check_ring(builder)]
    findings = [whole, *check_builder(builder)]
    if ring is None and not os.path.exists(ring_path(file)):
        return [*findings, Finding(Verdict.DOUBTFUL, f"there is no {ring_path(file)}")]
    path = ring or ring_path(file)
    other = read_ring(path)
    return [
        *findings,
        Finding(Verdict.HOLDS, f"{path} is whole: its checksum is right"),
        *check_together(builder, other),
    ]
