"""objstore user: what it writes, who may read it, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from objstore.config.access_keys import MANAGED_FILE, ManagedUser
from objstore.errors import StoreError
from objstore.passwords import hashed
from objstore.tools.policy import policy
from objstore.tools.user import user

USERS = f"""
[[users]]
account = "test"
name = "tester"
key = "testing"

[[users]]
account = "test"
name = "hashed"
key = "{hashed("secret", b"0" * 16)}"
"""


class Store:
    def __init__(self, folder: Path) -> None:
        self.keys = folder / "access-keys.json"
        (folder / "users.toml").write_text(USERS)
        self.config = folder / "proxy.toml"
        self.config.write_text(
            f'[auth]\nusers = "{folder}/users.toml"\naccess_keys = "{self.keys}"\nshared_users = false\n'
        )

    def call(self, *words: str) -> Result:
        result = CliRunner().invoke(user, [*words, "--config", str(self.config)])
        if isinstance(result.exception, StoreError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    def entry(self, account: str, name: str) -> ManagedUser:
        managed = MANAGED_FILE.read(str(self.keys)).users
        return next(each for each in managed if (each.account, each.name) == (account, name))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_add(store: Store) -> None:
    shown = store.call("add", "photos:alice", "--group", "staff").stdout
    entry = store.entry("photos", "alice")
    assert (entry.groups, entry.added, entry.disabled) == ((".admin", "staff"), True, False)
    (key,) = entry.keys
    assert re.fullmatch(r"OS[A-Z2-7]{16}", key.id)
    assert re.fullmatch(r"[A-Za-z0-9]{40}", key.secret)
    assert key.id in shown and key.secret in shown
    store.call("add", "bob", "--no-admin")
    assert store.entry("bob", "bob").groups == ()


@pytest.mark.parametrize("name", ["photos:alice", "test:tester"])
def test_a_user_is_added_once(store: Store, name: str) -> None:
    store.call("add", "photos:alice")
    with pytest.raises(StoreError, match="there is a user"):
        store.call("add", name)


@pytest.mark.parametrize("name", ["", ":a", "a:", "a/b:c", ".a:b", "a\nb:c", "a" * 129])
def test_names_that_are_none(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="is no user"):
        store.call("add", name)
    assert not store.keys.exists()


def test_rotate(store: Store) -> None:
    store.call("rotate", "test:hashed")
    (first,) = store.entry("test", "hashed").keys
    store.call("rotate", "test:hashed", "--keep")
    kept, second = store.entry("test", "hashed").keys
    assert kept == first and second.id != first.id
    store.call("rotate", "test:hashed")
    (third,) = store.entry("test", "hashed").keys
    assert third.id not in (first.id, second.id)
    assert not store.entry("test", "hashed").added
    with pytest.raises(StoreError, match="no user nobody:nobody"):
        store.call("rotate", "nobody")


def test_a_user_has_few_keys(store: Store) -> None:
    for _ in range(10):
        store.call("rotate", "test:hashed", "--keep")
    with pytest.raises(StoreError, match="at most 10"):
        store.call("rotate", "test:hashed", "--keep")
    assert len(store.entry("test", "hashed").keys) == 10


def test_disable(store: Store) -> None:
    store.call("add", "photos:alice")
    (key,) = store.entry("photos", "alice").keys
    store.call("disable", "photos:alice", "--key", key.id)
    assert not store.entry("photos", "alice").keys[0].active and not store.entry("photos", "alice").disabled
    store.call("disable", "photos:alice", "--key", key.id, "--undo")
    assert store.entry("photos", "alice").keys[0].active
    store.call("disable", "photos:alice")
    assert store.entry("photos", "alice").disabled
    store.call("disable", "photos:alice", "--undo")
    assert not store.entry("photos", "alice").disabled
    store.call("disable", "test:tester")
    assert store.entry("test", "tester").disabled
    with pytest.raises(StoreError, match="no access key"):
        store.call("disable", "photos:alice", "--key", "other")


def test_what_is_listed(store: Store) -> None:
    store.call("add", "photos:alice")
    store.call("rotate", "test:tester")
    store.call("disable", "test:hashed")
    rows = json.loads(store.call("list", "--json").stdout)
    assert {row["user"]: (row["access_keys"], row["state"], row["from"]) for row in rows} == {
        "photos:alice": (1, "active", "objstore user"),
        "test:hashed": (0, "disabled", "users.toml"),
        "test:tester": (2, "active", "users.toml"),
    }
    keys = json.loads(store.call("keys", "test:tester", "--json").stdout)
    (made,) = store.entry("test", "tester").keys
    assert [row["id"] for row in keys] == ["test:tester", made.id]
    for shown in (store.call("list"), store.call("keys", "test:tester"), store.call("keys", "photos:alice")):
        assert made.secret not in shown.output and "testing" not in shown.output


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o640, 0o640), (0o644, 0o640)])
def test_who_may_read_the_keys(store: Store, mode: int, expected: int) -> None:
    store.config.with_name("users.toml").chmod(mode)
    store.call("add", "photos:alice")
    assert store.keys.stat().st_mode & 0o777 == expected


def test_a_folder_without_a_store(tmp_path: Path) -> None:
    result = CliRunner().invoke(user, ["list", "--data", str(tmp_path)])
    assert "holds no store" in str(result.exception)


def test_policies(store: Store, tmp_path: Path) -> None:
    def of_policies(*words: str) -> Result:
        result = CliRunner().invoke(policy, [*words, "--config", str(store.config)])
        if isinstance(result.exception, StoreError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    document = tmp_path / "policy.json"
    document.write_text('{"Statement": {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}}')
    store.call("add", "test:anna")
    of_policies("put", "test:calm", str(document))
    of_policies("attach", "test:calm", "--user", "anna", "--user", "tester", "--group", "staff")
    of_policies("attach", "test:calm", "--user", "tester", "--undo")
    store.call("rotate", "test:anna")
    (row,) = json.loads(of_policies("list", "--json").stdout)
    assert row == {"policy": "test:calm", "users": "anna", "groups": "staff"}
    assert of_policies("show", "test:calm").stdout.strip() == document.read_text()
    with pytest.raises(StoreError, match="no user test:bob"):
        of_policies("attach", "test:calm", "--user", "bob")
    document.write_text("{}")
    with pytest.raises(StoreError, match="no policy"):
        of_policies("put", "test:calm", str(document))
    store.call("remove", "test:anna")
    assert json.loads(of_policies("list", "--json").stdout)[0]["users"] == ""
    of_policies("remove", "test:calm")
    assert json.loads(of_policies("list", "--json").stdout) == []
    with pytest.raises(StoreError, match="users.toml"):
        store.call("remove", "test:tester")
