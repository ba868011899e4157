from hashlib import md5

from objstore.hashing import PathHasher
from objstore.paths import ResourcePath


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
