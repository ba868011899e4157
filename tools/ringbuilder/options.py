"""What the subcommands have in common: options that choose devices, and words that begin with a dash."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from objstore.ring.form import RingForm
from objstore.tools.ringbuilder.session import Session

Function = TypeVar("Function", bound=Callable[..., Any])

# "-5" and "-10.0.0.1" are words, not options. They are hidden from the parser of options behind a character that no
# word of a command line can have.
DASHED_WORD: Final = re.compile(r"-[0-9.\[]")
HIDDEN: Final = "\0"
SENTENCE_MAX: Final = 200

SEARCH_OPTIONS: Final = (
    ("-u", "--id", "NUMBER", "Devices with this id."),
    ("-r", "--region", "NUMBER", "Devices in this region."),
    ("-z", "--zone", "NUMBER", "Devices in this zone."),
    ("-i", "--ip", "ADDRESS", "Devices with this ip or host name."),
    ("-p", "--port", "NUMBER", "Devices with this port."),
    ("-j", "--replication-ip", "ADDRESS", "Devices with this replication ip or host name."),
    ("-q", "--replication-port", "NUMBER", "Devices with this replication port."),
    ("-d", "--device", "NAME", "Devices with this name."),
    ("-m", "--meta", "TEXT", "Devices with this anywhere in their meta."),
    ("-w", "--weight", "NUMBER", "Devices with this weight."),
)
ADD_OPTIONS: Final = (
    ("-r", "--region", "NUMBER", "Its region."),
    ("-z", "--zone", "NUMBER", "Its zone."),
    ("-i", "--ip", "ADDRESS", "The ip or host name of its server."),
    ("-p", "--port", "NUMBER", "The port of its server."),
    ("-j", "--replication-ip", "ADDRESS", "The ip or host name for replication; that of --ip if not given."),
    ("-q", "--replication-port", "NUMBER", "The port for replication; that of --port if not given."),
    ("-d", "--device", "NAME", "Its name: the folder below the server's folder of devices."),
    ("-m", "--meta", "TEXT", "Anything there is to say about it."),
    ("-w", "--weight", "NUMBER", "Its weight: devices hold partitions in proportion to their weights."),
)
CHANGE_OPTIONS: Final = (
    ("-I", "--change-ip", "ADDRESS", "The new ip or host name."),
    ("-P", "--change-port", "NUMBER", "The new port."),
    ("-J", "--change-replication-ip", "ADDRESS", "The new replication ip or host name."),
    ("-Q", "--change-replication-port", "NUMBER", "The new replication port."),
    ("-D", "--change-device", "NAME", "The new name."),
    ("-M", "--change-meta", "TEXT", "The new meta; may be empty."),
)


class Subcommand(click.Command):
    """A subcommand of the builder. It notes what was said to it, and takes words that begin with a dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words and options."""
        if isinstance(ctx.obj, Session):
            ctx.obj.words = [self.name or "", *args]
        hidden = [HIDDEN + word if DASHED_WORD.match(word) else word for word in args]
        rest = super().parse_args(ctx, hidden)
        ctx.params = {name: _shown(value) for name, value in ctx.params.items()}
        return rest

    def get_short_help_str(self, limit: int = SENTENCE_MAX) -> str:
        """The first sentence of the help, uncut: the list of subcommands wraps it."""
        return super().get_short_help_str(SENTENCE_MAX)


def _shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_shown(each) for each in value)
    return value.removeprefix(HIDDEN) if isinstance(value, str) else value


def device_options(options: Sequence[tuple[str, str, str, str]]) -> Callable[[Function], Function]:
    """Give a subcommand these options; it receives them as keywords, None where not given."""

    def decorate(function: Function) -> Function:
        for short, long, metavar, text in reversed(options):
            function = click.option(short, long, metavar=metavar, help=text)(function)
        return function

    return decorate


def form_options(function: Function) -> Function:
    """Give a subcommand the options on how a ring file is written; see `ring_form`."""
    for decorate in (
        click.option(
            "--dev-id-bytes", type=click.Choice(("2", "4")), help="Bytes of each device id; 4 in version 2 only."
        ),
        click.option(
            "--format-version",
            type=click.Choice(("1", "2")),
            default="1",
            show_default=True,
            help="The version of the ring file's format; 2 holds more than 65,536 devices.",
        ),
    ):
        function = decorate(function)
    return function


def ring_form(format_version: str, dev_id_bytes: str | None) -> RingForm:
    """What the options on the ring file's form say."""
    return RingForm(int(format_version), None if dev_id_bytes is None else int(dev_id_bytes))


yes_option: Final = click.option("-y", "--yes", is_flag=True, help="Answer all questions with yes.")
