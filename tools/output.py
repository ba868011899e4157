"""How commands show what they found: tables, JSON, and a progress bar where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

PIPE_WIDTH: Final = 1000  # nothing is cut where no screen sets a limit
Advance = Callable[[int], None]

quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def echo_json(value: Any) -> None:
    """One document, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def echo_table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A heading that begins with "<" is that of a column of text, which is set to the left."""
    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for heading in headings:
        side = "left" if heading.startswith("<") else "right"
        shown.add_column(Text(heading.removeprefix("<")), justify=side, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        shown.add_row(*map(Text, row))
    terminal = sys.stdout.isatty()
    Console(file=sys.stdout, width=None if terminal else PIPE_WIDTH, highlight=False).print(shown)


@contextmanager
def progress(what: str, total: int | None, quiet: bool) -> Iterator[Advance]:
    """A bar on standard error, if that is a terminal and not `quiet`; call what it gives with the steps done.

    Without a total it only shows that work goes on.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)
