"""Users that the store itself keeps: changes at once, copies on machines, and what a store that fails leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from objstore.config.access_keys import MANAGED_FILE, ManagedTables, ManagedUser, ManagedUsers, StoredKey
from objstore.config.loading import ConfigError
from objstore.config.proxy import AuthConfig
from objstore.logs import Logger, Sink
from objstore.metrics import Metrics
from objstore.paths import PathHasher
from objstore.policies import Policies
from objstore.proxy.auth.user_file import ManagedUsersFile
from objstore.proxy.core.errors import PreconditionFailed, QuorumNotReached
from objstore.proxy.shared_users import PLACE, SharedUsers, UserFollower
from objstore.recon import ReconFolder
from tests.unit.proxy.s3.memory import MemoryCore

ALICE = ManagedUser("photos", "alice", added=True, keys=(StoredKey("OS1", "hidden", ""),))
BOB = ManagedUser("photos", "bob", added=True)


def add(user: ManagedUser) -> Any:
    def change(tables: ManagedTables) -> None:
        tables.users[user.account, user.name] = user

    return change


class Machine:
    """A proxy's machine: its file, and what it sees of the one store."""

    def __init__(self, core: MemoryCore, folder: Path) -> None:
        folder.mkdir()
        (folder / "users.toml").write_text("")
        self.path, self.lines = folder / "access-keys.json", list[bytes]()
        auth = AuthConfig(users=str(folder / "users.toml"), access_keys=str(self.path))
        given = {
            **vars(core.context),
            "cluster": SimpleNamespace(hasher=PathHasher("", "suffix"), policies=Policies()),
            "config": SimpleNamespace(auth=auth),
            "runtime": SimpleNamespace(
                clock=core.clock, log=Logger("test", Sink(write=self.lines.append)), metrics=Metrics()
            ),
        }
        context: Any = SimpleNamespace(**given)
        self.users = SharedUsers(context, ManagedUsersFile(auth.access_keys, auth.users))
        self.follower = UserFollower(context, ReconFolder(str(folder)))

    @property
    def copy(self) -> ManagedUsers:
        return MANAGED_FILE.read(str(self.path))


@pytest.fixture
def core() -> MemoryCore:
    return MemoryCore()


@pytest.fixture
def here(core: MemoryCore, tmp_path: Path) -> Machine:
    return Machine(core, tmp_path / "here")


@pytest.fixture
def there(core: MemoryCore, tmp_path: Path) -> Machine:
    return Machine(core, tmp_path / "there")


def test_a_change_is_here_at_once_and_elsewhere_with_the_next_step(here: Machine, there: Machine) -> None:
    here.users.change(add(ALICE))
    assert here.copy.users == (ALICE,) and not there.path.exists()
    there.follower.step()
    assert there.copy == here.copy == there.users.read()
    assert there.path.stat().st_mode & 0o777 == 0o600 | (there.path.parent / "users.toml").stat().st_mode & 0o040


def test_of_two_changes_at_once_both_are_kept(core: MemoryCore, here: Machine, there: Machine) -> None:
    here.users.change(add(BOB))

    def rival() -> None:
        core.before_write = lambda: None
        there.users.change(add(ALICE))

    core.before_write = rival
    here.users.change(add(ManagedUser("photos", "carl", added=True)))
    assert [user.name for user in here.users.read().users] == ["bob", "alice", "carl"]
    core.before_write = rival
    with pytest.raises(PreconditionFailed), here.users.changing() as tables:
        tables.users.clear()
    assert len(here.users.read().users) == 3


def test_who_is_always_slower_gives_up(core: MemoryCore, here: Machine, there: Machine) -> None:
    def rival() -> None:
        core.before_write = lambda: None
        there.users.change(add(BOB))
        core.before_write = rival

    core.before_write = rival
    with pytest.raises(QuorumNotReached):
        here.users.change(add(ALICE))


def test_secrets_lie_in_the_store_under_seal(core: MemoryCore, here: Machine) -> None:
    here.users.change(add(ALICE))
    content, info = core.stored[PLACE]
    assert b"hidden" not in content and b"alice" not in content
    core.stored[PLACE] = (content[:-9] + b"AAAAAAAA=", info)
    with pytest.raises(ConfigError, match="not sealed"):
        here.users.read()


def test_the_first_change_takes_over_the_file(here: Machine, there: Machine) -> None:
    for machine in (here, there):
        machine.path.write_bytes(MANAGED_FILE.encode(ManagedUsers(users=(BOB,))))
        machine.follower.step()
        assert machine.copy.users == (BOB,)
    here.users.change(add(ALICE))
    there.follower.step()
    assert there.copy.users == (BOB, ALICE)


def test_a_change_is_made_even_where_no_copy_can_be_written(here: Machine, there: Machine) -> None:
    shutil.rmtree(here.path.parent)
    there.users.change(add(BOB))
    here.users.change(add(ALICE))
    assert there.users.read().users == (BOB, ALICE)


def test_an_older_state_never_replaces_a_newer_copy(here: Machine) -> None:
    here.users.change(add(BOB))
    before = here.users.read()
    here.users.change(add(ALICE))
    ManagedUsersFile(str(here.path), str(here.path)).follow(before)
    assert here.copy.users == (BOB, ALICE)


def test_a_copy_that_is_damaged_or_gone_is_made_again(here: Machine, there: Machine) -> None:
    here.users.change(add(BOB))
    there.path.write_text("{")
    there.follower.step()
    assert there.copy.users == (BOB,)


def test_a_store_that_does_not_answer_leaves_the_copy_and_one_line(
    core: MemoryCore, here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.users.change(add(BOB))
    working = core.context.lookup.container

    def failing(*_arguments: object) -> None:
        raise QuorumNotReached(PLACE)

    monkeypatch.setattr(core.context.lookup, "container", failing)
    for _ in range(3):
        here.follower.step()
    assert here.copy.users == (BOB,) and len(here.lines) == 1
    monkeypatch.setattr(core.context.lookup, "container", working)
    here.follower.step()
    assert here.copy.users == (BOB,) and len(here.lines) == 1
