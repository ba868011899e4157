"""Access keys: whose they are, and when what the command has changed counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.access_keys import (
    MANAGED_FILE,
    ManagedPolicy,
    ManagedUser,
    ManagedUsers,
    StoredKey,
)
from objstore.config.loading import ConfigError
from objstore.config.proxy import AuthConfig
from objstore.logs import Logger, Sink
from objstore.passwords import hashed
from objstore.proxy.auth.access_keys import AccessKeys, CurrentUsers
from objstore.proxy.auth.tokens import TokenIssuer
from objstore.proxy.auth.user_file import ManagedUsersFile
from objstore.runtime import Runtime
from tests.doubles import ManualClock

HASHED = hashed("secret", b"0" * 16)
USERS = f"""
users = [
    {{ account = "test", name = "plain", key = "testing", groups = [".admin"] }},
    {{ account = "test", name = "hashed", key = "{HASHED}" }},
]
"""


def stored(identifier: str, *, active: bool = True) -> StoredKey:
    return StoredKey(identifier, f"secret of {identifier}", "2026-01-01T00:00:00Z", active)


class Files:
    """The two files, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.users, self.keys = folder / "users.toml", folder / "access-keys.json"
        self.users.write_text(USERS)
        self.clock = ManualClock()
        self.lines: list[bytes] = []
        self.runtime = Runtime(Logger("test", Sink(write=self.lines.append)), clock=self.clock)
        self.config = AuthConfig(users=str(self.users), access_keys=str(self.keys))

    def write(self, *users: ManagedUser) -> None:
        self.keys.write_bytes(MANAGED_FILE.encode(ManagedUsers(users=users)))

    def access_keys(self) -> AccessKeys:
        return AccessKeys(self.config, self.runtime)

    def current_users(self) -> CurrentUsers:
        return CurrentUsers(self.config, TokenIssuer(b"secret", "AUTH_", self.clock), self.runtime)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_plain_key_is_an_access_key_and_a_hashed_one_is_none(files: Files) -> None:
    keys = files.access_keys()
    key = keys.find("test:plain")
    assert key is not None
    assert (key.secret, key.identity.user, key.identity.account) == ("testing", "test:plain", "AUTH_test")
    assert ".admin" in key.identity.groups
    assert keys.find("test:hashed") is None
    assert "testing" not in repr(key)


def test_keys_that_were_made(files: Files) -> None:
    files.write(
        ManagedUser("test", "hashed", keys=(stored("A"), stored("B", active=False))),
        ManagedUser("new", "user", (".admin",), added=True, keys=(stored("C"), stored("D"))),
        ManagedUser("gone", "user", keys=(stored("E"),)),
    )
    keys = files.access_keys()
    found = {name: key.identity.user for name in "ABCDE" if (key := keys.find(name)) is not None}
    assert found == {"A": "test:hashed", "C": "new:user", "D": "new:user"}
    # A user of the command has the ids that were made, and no other.
    assert keys.find("new:user") is None


def test_a_user_of_the_command_logs_in_with_the_newest_secret(files: Files) -> None:
    files.write(ManagedUser("new", "user", (".admin",), added=True, keys=(stored("C"), stored("D"))))
    users = files.current_users()
    user = users.login("new", "user", "secret of D")
    assert user is not None and user.groups == (".admin",)
    assert users.login("new", "user", "secret of C") is None
    assert users.login("test", "plain", "testing") is not None


def test_a_user_who_has_no_key_does_not_log_in(files: Files) -> None:
    files.write(ManagedUser("new", "user", added=True, keys=(stored("C", active=False),)))
    assert files.current_users().login("new", "user", "") is None
    assert files.current_users().login("new", "user", "secret of C") is None


def test_disabled_users_are_refused_whichever_file_has_them(files: Files) -> None:
    users, keys = files.current_users(), files.access_keys()
    issuer = TokenIssuer(b"secret", "AUTH_", files.clock)
    user = users.login("test", "plain", "testing")
    assert user is not None
    token = issuer.issue(user, 60)
    assert users.identity_of(token) is not None
    files.write(
        ManagedUser("test", "plain", disabled=True),
        ManagedUser("new", "user", added=True, disabled=True, keys=(stored("C"),)),
    )
    files.clock.elapsed += 1.0
    assert users.identity_of(token) is None
    assert users.login("test", "plain", "testing") is None
    assert keys.find("test:plain") is None and keys.find("C") is None


def test_a_new_key_counts_at_once_and_other_changes_within_a_second(files: Files) -> None:
    keys = files.access_keys()
    assert keys.find("A") is None
    files.write(ManagedUser("test", "hashed", keys=(stored("A"),)))
    assert keys.find("A") is not None
    files.write()
    files.clock.elapsed += 0.9
    assert keys.find("A") is not None
    files.clock.elapsed += 0.1
    assert keys.find("A") is None


def test_a_change_by_a_process_of_the_service_counts_at_once(files: Files) -> None:
    files.write(ManagedUser("test", "hashed", keys=(stored("A"),)))
    keys = files.access_keys()
    assert keys.find("A") is not None
    file = ManagedUsersFile(files.config.access_keys, files.config.users)
    with file.changing() as tables:
        tables.remove_user(("test", "hashed"))
    assert keys.find("A") is None


def test_a_file_of_the_format_before_is_read(files: Files) -> None:
    files.keys.write_text(
        '{"version": 1, "users": [{"account": "test", "name": "hashed", "keys": [{"id": "A", "secret": "s", '
        '"created": "2026-01-01T00:00:00Z"}]}], "policies": [{"account": "test", "name": "p", "document": "1", '
        '"users": ["hashed"]}]}'
    )
    key = files.access_keys().find("A")
    assert key is not None and key.policies == ("1",)


def test_a_file_that_cannot_be_read_changes_nothing(files: Files) -> None:
    files.write(ManagedUser("test", "hashed", keys=(stored("A"),)))
    keys = files.access_keys()
    files.keys.write_text("{")
    files.clock.elapsed += 1.0
    assert keys.find("A") is not None
    files.clock.elapsed += 1.0
    assert keys.find("A") is not None
    assert len(files.lines) == 1 and b"access keys cannot be read" in files.lines[0]
    with pytest.raises(ConfigError, match="access-keys.json"):
        files.access_keys()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"version": 3}',
        b'{"users": [{"account": "a", "name": "b", "unknown": 1}]}',
        MANAGED_FILE.encode(ManagedUsers(users=(ManagedUser("a", "b"),)))[:-20],
        b'{"users": [{"account": "a", "name": "b"}, {"account": "a", "name": "b"}]}',
        b'{"users": [{"account": "a", "name": "b", "keys": [{"id": 1, "secret": "hidden", "created": ""}]}]}',
    ],
)
def test_content_that_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        MANAGED_FILE.decode(content, "access-keys.json")
    assert "hidden" not in str(caught.value)


def test_an_access_key_belongs_to_one_user() -> None:
    twice = ManagedUser("a", "b", keys=(stored("A"),)), ManagedUser("a", "c", keys=(stored("A"),))
    with pytest.raises(ValueError, match="twice"):
        ManagedUsers(users=twice)


def test_policies_are_of_users_and_groups_of_their_account(files: Files) -> None:
    keys = (StoredKey("OS9", "secret", ""),)
    users = (ManagedUser("photos", "alice", ("staff",), added=True, keys=keys),)
    policies = (
        ManagedPolicy("photos", "by-name", "1", users=("alice",)),
        ManagedPolicy("photos", "by-group", "2", groups=("staff", "other")),
        ManagedPolicy("photos", "of-others", "3", users=("bob",)),
        ManagedPolicy("test", "of-another-account", "4", users=("alice",), groups=("staff",)),
    )
    files.keys.write_bytes(MANAGED_FILE.encode(ManagedUsers(users=users, policies=policies)))
    key = files.access_keys().find("OS9")
    assert key is not None and sorted(key.policies) == ["1", "2"]
