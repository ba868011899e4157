"""From a TOML file to a frozen, fully typed value; whatever is wrong is named by file, line and key."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from objstore.config.units import SecretMark, Unit
from objstore.errors import StoreError, reason_of

Config = TypeVar("Config", bound=Struct)
# Where a value stands in a file: names of tables, positions in arrays, and at last the key.
Where = tuple[str | int, ...]

HEADING: Final = re.compile(r"\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}")
ASSIGNMENT: Final = re.compile(r"\s*([A-Za-z0-9_.\"'-]+?)\s*=")


@dataclass(eq=False)
class ConfigError(StoreError):
    """A configuration file that cannot be read or holds what it should not. Line 0 means the whole file."""

    message: ClassVar[str] = "{place}: {reason}"

    file: str
    line: int
    key: str
    reason: str

    @property
    def place(self) -> str:
        """file:line: key, as far as they are known."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}" if self.key else place


def load(path: str | os.PathLike[str], kind: type[Config], environ: Mapping[str, str] = os.environ) -> Config:
    """Read a file as `kind`. Raises ConfigError.

    A Secret may be given by the environment instead, as OBJSTORE_<SECTION>_<KEY>; that wins over the file.
    """
    file = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(file, 0, "", f"not text in UTF-8, from byte {error.start} on") from error
    except OSError as error:
        raise ConfigError(file, 0, "", f"cannot be read: {reason_of(error)}") from error
    if not text.strip():
        # A crash leaves such files. Defaults in its place would be another configuration than the operator's.
        raise ConfigError(file, 0, "", "empty; a comment says that all defaults are meant")
    return loads(text, kind, file, environ)


def loads(text: str, kind: type[Config], file: str = "<text>", environ: Mapping[str, str] = os.environ) -> Config:
    """As `load`, from text; `file` names it in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ConfigError(file, int(line[1]) if line else 0, "", f"not TOML: {error}") from error
    return _Reader(file, text, environ).table(kind, table, ())


class _Reader:
    def __init__(self, file: str, text: str, environ: Mapping[str, str]) -> None:
        self.file = file
        self.text = text
        self.environ = environ

    def table(self, kind: type[Config], table: dict[str, object], where: Where) -> Config:
        hints = get_type_hints(kind, include_extras=True)
        for key in table:
            if key not in hints:
                near = difflib.get_close_matches(key, hints, n=1)
                reason = f"unknown key; did you mean {near[0]}?" if near else "unknown key"
                raise self.error((*where, key), reason)
        # A table that is left out is read as an empty one: the environment may give secrets in it.
        given: dict[str, object] = {key: {} for key, hint in hints.items() if _is_struct(hint)}
        given |= table | self.secrets(hints, where)
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in given:
                raise self.error((*where, field.name), "missing, and it has no default", where)
        values = {key: self.value(hints[key], value, (*where, key)) for key, value in given.items()}
        try:
            return kind(**values)
        except (ValueError, StoreError) as error:
            raise self.error(where, str(error)) from error

    def secrets(self, hints: Mapping[str, object], where: Where) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, hint in hints.items():
            variable = "_".join(["OBJSTORE", *map(str, where), key]).upper()
            if _mark(hint, SecretMark) and variable in self.environ:
                found[key] = self.environ[variable]
        return found

    def value(self, hint: Any, value: object, where: Where) -> object:
        try:
            if unit := _mark(hint, Unit):
                return unit.parse(value)
            if _is_struct(hint) and isinstance(value, dict):
                return self.table(hint, value, where)
            if get_origin(hint) is tuple and isinstance(value, list):
                element = get_args(hint)[0]
                return tuple(self.value(element, each, (*where, n)) for n, each in enumerate(value))
            return msgspec.convert(value, hint)
        except (ValueError, msgspec.ValidationError) as error:
            raise self.error(where, str(error)) from error

    def error(self, where: Where, reason: str, nearest: Where | None = None) -> ConfigError:
        key = ".".join(map(str, where))
        return ConfigError(self.file, line_of(self.text, where if nearest is None else nearest), key, reason)


def _is_struct(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Struct)


Mark = TypeVar("Mark")


def _mark(hint: Any, kind: type[Mark]) -> Mark | None:
    """What `kind` of mark a field's type carries: Annotated[type, mark], also as one arm of a union."""
    if get_origin(hint) is Annotated:
        return next((mark for mark in hint.__metadata__ if isinstance(mark, kind)), None)
    marks = (_mark(arm, kind) for arm in get_args(hint) if get_origin(hint) is not tuple)
    return next((mark for mark in marks if mark is not None), None)


def line_of(text: str, where: Where) -> int:
    """The line, from 1, of the value at `where`, or of the nearest table or array around it; 0 if unknown.

    It knows headings and assignments that each stand on a line of their own, which is how files are written.
    """
    best = best_depth = 0
    table: Where = ()
    entries: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if heading := HEADING.match(line):
            table = tuple(heading[1].replace('"', "").split("."))
            if line.lstrip().startswith("[["):
                entries[heading[1]] = entries.get(heading[1], -1) + 1
                table = (*table, entries[heading[1]])
            found: Where = table
        elif assignment := ASSIGNMENT.match(line):
            found = (*table, *assignment[1].replace('"', "").split("."))
        else:
            continue
        if len(found) > best_depth and found == where[: len(found)]:
            best, best_depth = number, len(found)
    return best
