"""The `objstore-ring-builder` command: builds and changes rings with the words that operators of Swift know."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from objstore.system.wallclock import WallClock
from objstore.tools.commands import LazyGroup
from objstore.tools.main import run

NAME: Final = "objstore-ring-builder"
HELP: Final = "help"

SUBCOMMANDS: Final = {
    "add": "objstore.tools.ringbuilder.devices:add",
    "cancel_increase_partition_power": "objstore.tools.ringbuilder.building:cancel_increase_partition_power",
    "create": "objstore.tools.ringbuilder.building:create",
    "dispersion": "objstore.tools.ringbuilder.showing:dispersion",
    "finish_increase_partition_power": "objstore.tools.ringbuilder.building:finish_increase_partition_power",
    "history": "objstore.tools.ringbuilder.showing:history",
    "increase_partition_power": "objstore.tools.ringbuilder.building:increase_partition_power",
    "list_parts": "objstore.tools.ringbuilder.showing:list_parts",
    "prepare_increase_partition_power": "objstore.tools.ringbuilder.building:prepare_increase_partition_power",
    "pretend_min_part_hours_passed": "objstore.tools.ringbuilder.building:pretend_min_part_hours_passed",
    "rebalance": "objstore.tools.ringbuilder.building:rebalance",
    "remove": "objstore.tools.ringbuilder.devices:remove",
    "search": "objstore.tools.ringbuilder.showing:search",
    "set_info": "objstore.tools.ringbuilder.devices:set_info",
    "set_limit": "objstore.tools.ringbuilder.devices:set_limit",
    "set_min_part_hours": "objstore.tools.ringbuilder.building:set_min_part_hours",
    "set_overload": "objstore.tools.ringbuilder.building:set_overload",
    "set_region": "objstore.tools.ringbuilder.devices:set_region",
    "set_replicas": "objstore.tools.ringbuilder.building:set_replicas",
    "set_weight": "objstore.tools.ringbuilder.devices:set_weight",
    "set_zone": "objstore.tools.ringbuilder.devices:set_zone",
    "validate": "objstore.tools.ringbuilder.showing:validate",
    "version": "objstore.tools.ringbuilder.showing:version",
    "write_builder": "objstore.tools.ringbuilder.building:write_builder",
    "write_ring": "objstore.tools.ringbuilder.building:write_ring",
}


class BuilderGroup(LazyGroup):
    """The subcommands; says where to look when there is none of a name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in SUBCOMMANDS:
            ctx.fail(f"unknown command: {args[0]!r}; {NAME} --help lists them all")
        return super().resolve_command(ctx, args)


@click.group(
    cls=BuilderGroup,
    where=SUBCOMMANDS,
    invoke_without_command=True,
    no_args_is_help=True,
    subcommand_metavar="[COMMAND [ARGS]...]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.argument("file")
@click.version_option(package_name="objstore", prog_name=NAME)
@click.pass_context
def ring_builder(context: click.Context, file: str) -> int:
    """Build and change rings. FILE is a builder file, object.builder, or its ring file, object.ring.gz.

    Without a command, shows the builder and its devices. `help COMMAND` explains one.

    Exit status: 0 done, 1 done but there is a warning, or there was nothing to do, 2 error; nothing was changed then.
    """
    from objstore.tools.ringbuilder.session import DONE, BuilderSession

    clock = context.obj or WallClock()
    context.obj = session = BuilderSession(file, clock)
    if context.invoked_subcommand is not None:
        return DONE
    from objstore.tools.ringbuilder.showing import show

    return show(session)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; see `objstore.tools.main.run`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    run(ring_builder, NAME, _asked_for_help(words) or words)


def _asked_for_help(words: list[str]) -> list[str] | None:
    """`help [COMMAND]` and `FILE help [COMMAND]` as the options they stand for."""
    for place in (0, 1):
        if words[place : place + 1] == [HELP]:
            about = words[place + 1 : place + 2]
            return ["FILE", *about, "--help"] if about else ["--help"]
    return None


if __name__ == "__main__":
    main()
