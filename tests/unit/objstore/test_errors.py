from dataclasses import dataclass
from typing import ClassVar

from objstore.errors import StoreError


@dataclass(eq=False)
class Missed(StoreError):
    message: ClassVar[str] = "{succeeded} of {needed!r} answered{tail}"

    succeeded: int
    needed: int

    @property
    def tail(self) -> str:
        return "!"


@dataclass(eq=False)
class Plain(StoreError):
    field: str


def test_the_message_is_filled_with_fields_and_properties() -> None:
    assert str(Missed(1, needed=2)) == "1 of 2 answered!"


def test_without_a_message_the_fields_are_shown() -> None:
    assert str(Plain("x")) == "Plain(field='x')"


def test_braces_in_values_are_left_alone() -> None:
    assert str(Missed("{needed}", 2)) == "{needed} of 2 answered!"  # type: ignore[arg-type]
