"""One call of the command: the files it is about, and how they are read and written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Final, Protocol

import click

from objstore.ring.builder import RingBuilder
from objstore.ring.builderfile import FILE_MODE, back_up, builder_lock, load_builder, save_builder
from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.form import RingForm
from objstore.system import files

BUILDER_SUFFIX: Final = ".builder"
RING_SUFFIX: Final = ".ring.gz"
DONE: Final = 0
WARNING: Final = 1  # it was done, but there is something to know; or there was nothing to do


class Clock(Protocol):
    """The part of a clock that tells the time."""

    def now(self) -> float: ...


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
class Session:
    """`words` are the subcommand and what was said to it; the history of the builder tells them."""

    name: str
    clock: Clock
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
