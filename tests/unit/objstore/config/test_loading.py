from pathlib import Path

import msgspec
import pytest

from objstore.config.loading import ConfigError, line_of, load, loads
from objstore.config.units import Bind, Bytes, Count, Seconds, Secret


class Shelf(msgspec.Struct, frozen=True):
    name: str
    width: Bytes = 10


class Room(msgspec.Struct, frozen=True):
    wait: Seconds = 5.0
    bind: Bind | None = None
    password: Secret = ""
    open: bool = True

    def __post_init__(self) -> None:
        if self.wait == 13:
            raise ValueError("thirteen brings bad luck")


class House(msgspec.Struct, frozen=True):
    colour: str = "white"
    room: Room = Room()
    shelves: tuple[Shelf, ...] = ()
    floors: Count = 1


TEXT = """\
# a house
colour = "red"

[room]
wait = "2m"   # long
bind = "h:1"

[[shelves]]
name = "a"

[[shelves]]
name = "b"
width = "1KiB"
"""


def read(text: str, **environ: str) -> House:
    return loads(text, House, "house.toml", environ)


def test_everything_given() -> None:
    house = read(TEXT)
    assert house.colour == "red"
    assert house.room.wait == 120.0
    assert (house.room.bind and house.room.bind.port) == 1
    assert house.shelves == (Shelf("a"), Shelf("b", 1024))


def test_defaults() -> None:
    assert read("") == House()


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "house.toml"
    path.write_text(TEXT)
    assert load(path, House).colour == "red"
    path.write_text("[room]\nwiat = 1\n")
    with pytest.raises(ConfigError) as caught:
        load(path, House)
    assert str(caught.value) == f"{path}:2: room.wiat: unknown key; did you mean wait?"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file or directory$"):
        load(tmp_path / "none.toml", House)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "house.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text in UTF-8, from byte 0 on"):
        load(tmp_path / "house.toml", House)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 3", "house.toml:1: colour: Expected `str`, got `int`"),
        ("\nzzz = 3", "house.toml:2: zzz: unknown key"),
        ("[romo]", "house.toml:1: romo: unknown key; did you mean room?"),
        ("room = 3", "house.toml:1: room: Expected `object`, got `int`"),
        ("[room]\n\nwait = '1 year'", "house.toml:3: room.wait: unknown unit 'year' in '1 year'; known: "),
        ("[room]\nopen = 'yes'", "house.toml:2: room.open: Expected `bool`, got `str`"),
        ("[room]\nwait = 13", "house.toml:1: room: thirteen brings bad luck"),
        ("floors = -1", "house.toml:1: floors: Expected `int` >= 0"),
        ("[[shelves]]\nname='a'\n[[shelves]]\nwidth=2", "house.toml:3: shelves.1.name: missing, and it has no"),
        ("[[shelves]]\nname='a'\n[[shelves]]\nname=2", "house.toml:4: shelves.1.name: Expected `str`"),
        ("shelves = 3", "house.toml:1: shelves: Expected `array`, got `int`"),
        ("a = = 3", "house.toml:1: not TOML: "),
        ("room.wait = 'x'", "house.toml:1: room.wait: expected a duration"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(message)


def test_the_environment_gives_secrets() -> None:
    assert read("", OBJSTORE_ROOM_PASSWORD="open sesame").room.password == "open sesame"
    assert read("[room]\npassword = 'old'", OBJSTORE_ROOM_PASSWORD="new").room.password == "new"


def test_the_environment_gives_nothing_else() -> None:
    assert read("", OBJSTORE_COLOUR="red", OBJSTORE_ROOM_WAIT="9") == House()


def test_secrets_are_not_shown_in_errors() -> None:
    with pytest.raises(ConfigError) as caught:
        read("[room]\npassword = 271828")
    assert "271828" not in str(caught.value)


def test_line_of_falls_back_to_what_is_around() -> None:
    assert line_of(TEXT, ("colour",)) == 2
    assert line_of(TEXT, ("room", "wait")) == 5
    assert line_of(TEXT, ("room", "absent")) == 4
    assert line_of(TEXT, ("shelves", 1, "width")) == 13
    assert line_of(TEXT, ("shelves", 0, "width")) == 8
    assert line_of(TEXT, ("absent",)) == 0
