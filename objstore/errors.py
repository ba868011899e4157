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


class _Fields(dict[str, object]):
    """The fields of an error by name, looked up when a template asks for them."""

    def __init__(self, error: StoreError) -> None:
        self.error = error

    def __missing__(self, name: str) -> object:
        value: object = getattr(self.error, name)
        return value
