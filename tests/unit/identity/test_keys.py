"""Keys in a folder: which encrypts, and when one is removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from objstore.identity.keys import KeyFolder, KeysUnusable


class Times:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def folder(path: Path, clock: Times) -> KeyFolder:
    keys = KeyFolder(path, clock, clock)
    keys.prepare()
    return keys


def test_only_what_was_sealed_is_opened(tmp_path: Path) -> None:
    keys, other = folder(tmp_path / "a", Times()), folder(tmp_path / "b", Times())
    sealed = keys.seal(b"content")
    assert keys.open(sealed) == b"content"
    for wrong in (b"", sealed[:5], sealed[:-1], sealed + b"x", b"\2" + sealed[1:], sealed[:4] + b"\7" + sealed[5:]):
        assert keys.open(wrong) is None
    assert other.open(sealed) is None
    assert keys.seal(b"content") != sealed


def test_a_new_key_is_known_before_it_is_used(tmp_path: Path) -> None:
    clock = Times()
    keys, late = folder(tmp_path, clock), folder(tmp_path, clock)
    before = keys.seal(b"a")
    assert late.open(before) == b"a"  # has read the folder now, and looks again in a second
    keys.rotate(None)
    clock.now += 2
    after = keys.seal(b"b")
    assert before[:5] != after[:5]
    stale = KeyFolder(tmp_path, clock, lambda: 0.0)
    assert stale.open(after) == b"b"
    keys.rotate(None)
    assert stale.open(after) == b"b"  # has not seen the newest, and needs it not yet


def test_a_key_goes_when_nothing_is_left_of_it(tmp_path: Path) -> None:
    clock = Times()
    keys = folder(tmp_path, clock)
    sealed = keys.seal(b"content")
    assert keys.rotate(100) == 3  # key 1 encrypts no more from now on
    os.utime(tmp_path / "00000003.key", (clock.now, clock.now))
    clock.now += 99
    assert keys.rotate(100) == 4
    assert keys.open(sealed) == b"content"
    clock.now += 2
    assert keys.rotate(100) == 4
    assert keys.open(sealed) is None


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    sealed = folder(tmp_path, Times()).seal(b"content")
    assert folder(tmp_path, Times()).open(sealed) == b"content"
    assert sorted(path.name for path in tmp_path.glob("*.key")) == ["00000001.key", "00000002.key"]


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysUnusable):
        KeyFolder(tmp_path / "file").prepare()
    with pytest.raises(KeysUnusable):
        KeyFolder(tmp_path / "nothing").seal(b"content")
