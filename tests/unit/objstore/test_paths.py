"""Names of resources, and where their hash puts them."""

from hashlib import md5

import pytest

from objstore.paths import PathHasher, ResourcePath


def test_text_and_kind() -> None:
    account, container = ResourcePath("a"), ResourcePath("a", "c")
    an_object = ResourcePath("a", "c", "o/p")
    assert [str(path) for path in (account, container, an_object)] == ["/a", "/a/c", "/a/c/o/p"]
    assert [path.is_container for path in (account, container, an_object)] == [False, True, False]
    assert [path.is_object for path in (account, container, an_object)] == [False, False, True]


def test_parents_and_siblings() -> None:
    path = ResourcePath("a", "c", "o")
    assert path.account_path == ResourcePath("a")
    assert path.container_path == ResourcePath("a", "c")
    assert path.container_path.container_path == ResourcePath("a", "c")
    assert path.with_object("p") == ResourcePath("a", "c", "p")
    assert path.container_path.with_object("p/q").parts == ["a", "c", "p/q"]


def test_an_account_lies_in_no_container() -> None:
    with pytest.raises(ValueError, match="/a names no container"):
        _ = ResourcePath("a").container_path


def test_quoted() -> None:
    assert ResourcePath("a", "c d", "é/%?#+").quoted == "/a/c%20d/%C3%A9/%25%3F%23%2B"


def test_parse() -> None:
    assert ResourcePath.parse("/a") == ResourcePath("a")
    assert ResourcePath.parse("/a/c") == ResourcePath("a", "c")
    assert ResourcePath.parse("/a/c/o//p/") == ResourcePath("a", "c", "o//p/")


@pytest.mark.parametrize("text", ["", "/", "a/c", "//c", "/a//o"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"slash|missing"):
        ResourcePath.parse(text)


@pytest.mark.parametrize("parts", [("",), ("", "c"), ("a", "", "o")])
def test_no_gaps(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="missing"):
        ResourcePath(*parts)


def test_equal_paths_are_one_key() -> None:
    assert len({ResourcePath("a", "c"), ResourcePath("a", "c", ""), ResourcePath("a", "c", "o")}) == 2


def test_the_secrets_stand_around_the_path() -> None:
    hasher = PathHasher("before", "after")
    path = ResourcePath("AUTH_test", "cöntainer", "a/b")
    expected = md5("before/AUTH_test/cöntainer/a/bafter".encode(), usedforsecurity=False)
    assert hasher.digest(path) == expected.digest()
    assert hasher.hexdigest(path) == expected.hexdigest()


def test_known_value() -> None:
    # echo -n /a/c/osuffix | md5sum: placement must stay what it is, or stored data is lost.
    assert PathHasher("", "suffix").hexdigest(ResourcePath("a", "c", "o")) == "9382585218ea44c5839148ec330e1f37"


def test_derived_keys_depend_on_both_secrets_and_the_purpose() -> None:
    key = PathHasher("ab", "c").derived_key("one")
    others = {
        PathHasher("ab", "c").derived_key("two"),
        PathHasher("a", "bc").derived_key("one"),
        PathHasher("ab", "d").derived_key("one"),
    }
    assert len(key) == 32
    assert key == PathHasher("ab", "c").derived_key("one")
    assert len(others | {key}) == 4
