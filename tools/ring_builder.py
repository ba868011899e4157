"""The `objstore-ring-builder` command: builds and changes rings with the words that operators of Swift know."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

import click

from objstore.system.wallclock import WallClock
from objstore.tools.main import run

NAME: Final = "objstore-ring-builder"
HELP: Final = "help"

# What a subcommand needs is imported only when it is called, as in the `objstore` command.
SUBCOMMANDS: Final = {
    "add": "devices",
    "cancel_increase_partition_power": "power",
    "create": "settings",
    "dispersion": "dispersion",
    "finish_increase_partition_power": "power",
    "history": "showing",
    "increase_partition_power": "power",
    "list_parts": "showing",
    "prepare_increase_partition_power": "power",
    "pretend_min_part_hours_passed": "settings",
    "rebalance": "balancing",
    "remove": "devices",
    "search": "showing",
    "set_info": "devices",
    "set_limit": "devices",
    "set_min_part_hours": "settings",
    "set_overload": "settings",
    "set_region": "devices",
    "set_replicas": "settings",
    "set_weight": "devices",
    "set_zone": "devices",
    "validate": "showing",
    "version": "showing",
    "write_builder": "balancing",
    "write_ring": "balancing",
}


class BuilderGroup(click.Group):
    """The subcommands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands."""
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name, None if there is none."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"objstore.tools.ringbuilder.{SUBCOMMANDS[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; says where to look when there is none of that name."""
        if args[0] not in SUBCOMMANDS:
            ctx.fail(f"unknown command: {args[0]!r}; {NAME} --help lists them all")
        return super().resolve_command(ctx, args)


@click.group(
    cls=BuilderGroup,
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
    from objstore.tools.ringbuilder.session import DONE, Session

    clock = context.obj or WallClock()
    context.obj = session = Session(file, clock)
    if context.invoked_subcommand is not None:
        return DONE
    from objstore.tools.ringbuilder.showing import show

    return show(session)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; see `objstore.tools.main.run`."""
    import sys

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
