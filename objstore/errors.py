"""The base of all errors of the store."""

from typing import ClassVar


class StoreError(Exception):
    """An error that carries its facts as fields.

    Subclasses are dataclasses (`@dataclass(eq=False)`), stand beside the code that raises them, and give
    `message`, a template over their fields: "{succeeded} of {needed} replicas answered".
    """

    message: ClassVar[str] = ""

    def __str__(self) -> str:
        return self.message.format_map(_Fields(self)) if self.message else repr(self)


def reason_of(error: Exception) -> str:
    """What went wrong, for one line to a person: an OSError without its number and the file, which the line names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Fields(dict[str, object]):
    """The fields of an error by name, looked up when a template asks for them."""

    def __init__(self, error: StoreError) -> None:
        self.error = error

    def __missing__(self, name: str) -> object:
        value: object = getattr(self.error, name)
        return value
