"""One call of objstore-ring-builder: its files, how they are read and written, and options that subcommands share."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any, Final, TypeVar

import click

from objstore.ring.builder import RingBuilder
from objstore.ring.builderfile import FILE_MODE, back_up, builder_lock, load_builder, save_builder
from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.format import RingForm
from objstore.system import files
from objstore.system.wallclock import WallClock

BUILDER_SUFFIX: Final = ".builder"
RING_SUFFIX: Final = ".ring.gz"
DONE: Final = 0
WARNING: Final = 1  # it was done, but there is something to know; or there was nothing to do


@dataclass(frozen=True)
class RingFiles:
    """A builder file and its ring file. Either may be named; the other one stands beside it."""

    builder: str
    ring: str

    @classmethod
    def named(cls, name: str) -> RingFiles:
        """object.builder goes with object.ring.gz."""
        if name.endswith(RING_SUFFIX):
            return cls(name.removesuffix(RING_SUFFIX) + BUILDER_SUFFIX, name)
        return cls(name, name.removesuffix(BUILDER_SUFFIX) + RING_SUFFIX)


@dataclass
class BuilderSession:
    """`words` are the subcommand and what was said to it; the history of the builder tells them."""

    name: str
    clock: WallClock
    random: Random = field(default_factory=SystemRandom)
    words: Sequence[str] = ()

    @property
    def files(self) -> RingFiles:
        return RingFiles.named(self.name)

    def load(self) -> RingBuilder:
        """The builder, to be looked at. Raises RingFileError."""
        builder = load_builder(self.files.builder)
        if self.files.builder != self.name:
            click.echo(f"Note: using {self.files.builder} instead of {self.name} as builder file", err=True)
        return builder

    @contextmanager
    def locked(self) -> Iterator[RingBuilder]:
        """The builder, to be changed; meanwhile nobody else can. Saving is up to the caller. Raises RingFileError."""
        path = self.files.builder
        if not os.path.exists(path):  # no lock file is left beside a file that was never there
            raise RingMissing(path, "no such builder file; create it first")
        with self._lock():
            yield self.load()

    @contextmanager
    def changing(self) -> Iterator[RingBuilder]:
        """The builder, to be changed; it is saved if that goes well. Raises RingFileError."""
        with self.locked() as builder:
            yield builder
            self.save(builder)

    @contextmanager
    def creating(self) -> Iterator[None]:
        """Nobody else can make the builder file meanwhile. Raises RingFileError when it is there already."""
        path = self.files.builder
        if os.path.exists(path):
            raise RingFileError(path, "exists already; move it away first")
        with self._lock():
            yield

    @contextmanager
    def _lock(self) -> Iterator[None]:
        path = self.files.builder
        try:
            with builder_lock(path):
                yield
        except OSError as error:
            raise RingFileError(path, f"cannot be locked: {error.strerror or error}") from error

    def save(self, builder: RingBuilder) -> None:
        """Write the builder; the file it replaces goes to the backups. Raises RingFileError."""
        save_builder(builder, self.files.builder, shlex.join(self.words), self.clock.now())

    def save_with_ring(self, builder: RingBuilder, form: RingForm) -> None:
        """Write the builder and its ring. A ring that cannot be made or replaced leaves both files as they are.

        Raises BuilderError and RingFileError.
        """
        content = self._ring_content(builder, form)
        self._back_up_ring()
        self.save(builder)
        try:
            self._replace_ring(content)
        except RingFileError as error:
            raise RingFileError(error.path, f"{error.reason}; the builder is saved, write_ring will do") from error

    def write_ring(self, builder: RingBuilder, form: RingForm) -> None:
        """Write the ring alone. Raises BuilderError and RingFileError."""
        content = self._ring_content(builder, form)
        self._back_up_ring()
        self._replace_ring(content)

    def _ring_content(self, builder: RingBuilder, form: RingForm) -> bytes:
        try:
            return form.content(builder.ring())
        except ValueError as error:
            raise RingFileError(self.files.ring, str(error)) from error

    def _back_up_ring(self) -> None:
        with self._writing_ring() as path:
            back_up(path, self.clock.now())

    def _replace_ring(self, content: bytes) -> None:
        with self._writing_ring() as path:
            files.write_atomically(path, content, FILE_MODE)

    @contextmanager
    def _writing_ring(self) -> Iterator[str]:
        path = self.files.ring
        try:
            yield path
        except OSError as error:
            raise RingFileError(path, f"cannot be written: {error.strerror or error}") from error


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
        if isinstance(ctx.obj, BuilderSession):
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


def device_command(
    name: str, words: str, options: Sequence[tuple[str, str, str, str]], *, asks: bool = False
) -> Callable[[Function], click.Command]:
    """Make a subcommand that is given devices, as words or by options, which it receives as keywords, None where not
    given. With `asks` it may ask whether so many devices are meant, and has `yes`."""

    def decorate(function: Function) -> click.Command:
        made: Callable[..., Any] = click.pass_obj(function)
        if asks:
            made = click.option("-y", "--yes", is_flag=True, help="Answer all questions with yes.")(made)
        for short, long, metavar, text in reversed(options):
            made = click.option(short, long, metavar=metavar, help=text)(made)
        return click.command(name, cls=Subcommand)(click.argument("words", metavar=words, nargs=-1)(made))

    return decorate


def form_options(function: Function) -> Function:
    """Give a subcommand the options on how a ring file is written; see `ring_form`."""
    width = click.Choice(("2", "4"))
    function = click.option("--dev-id-bytes", type=width, help="Bytes of each device id; 4 in version 2 only.")(
        function
    )
    return click.option(
        "--format-version",
        type=click.Choice(("1", "2")),
        default="1",
        show_default=True,
        help="The version of the ring file's format; 2 holds more than 65,536 devices.",
    )(function)


def ring_form(format_version: str, dev_id_bytes: str | None) -> RingForm:
    """What the options on the ring file's form say."""
    return RingForm(int(format_version), None if dev_id_bytes is None else int(dev_id_bytes))
