"""What `objstore explain` says of databases."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from objstore.account.rows import AccountSchema
from objstore.container.reports import ContainerReport, store_report
from objstore.container.rows import ContainerSchema
from objstore.db.status import NEVER, Status
from objstore.db.summary import advance
from objstore.db.tables import new_image
from objstore.limits import Limits
from objstore.object.metadata import ATTRIBUTE, ObjectMetadata, TombstoneMetadata, encode
from objstore.paths import ResourcePath
from objstore.policies import Policies, Policy
from objstore.proxy.core.encryption.envelope import Envelope, Seal, encode_envelope
from objstore.tools.explain import explain
from objstore.tools.explaining import explain_file

CREATED = "1700000000.00000"
STATUS = Status(CREATED, CREATED, NEVER, CREATED, 0)
REPORT = ContainerReport(CREATED, NEVER, 0, 0, 0)


@pytest.fixture
def container(tmp_path: Path) -> Path:
    file = tmp_path / "container.db"
    file.write_bytes(new_image(ContainerSchema(Limits()), ResourcePath("a", "c"), STATUS, (), "mine"))
    return file


def change(file: Path, report: ContainerReport | None = None, points: dict[str, int] | None = None) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        if report is not None:
            store_report(connection, report)
        advance(connection, points or {}, CREATED)


def test_what_the_account_was_told_of_a_container(container: Path) -> None:
    never = explain_file(str(container), verify=True).facts
    assert (never["reported_to_account"], never["is_all_reported"]) == (None, False)
    change(container, REPORT)
    told = explain_file(str(container), verify=True).facts
    assert told["reported_to_account"] == {
        "put_timestamp": CREATED,
        "delete_timestamp": NEVER,
        "object_count": 0,
        "bytes_used": 0,
        "policy_index": 0,
    }
    assert told["is_all_reported"] is True
    change(container, ContainerReport(CREATED, NEVER, 7, 70, 0))
    assert explain_file(str(container), verify=True).facts["is_all_reported"] is False


def test_sync_points_are_shown_when_asked_for(container: Path) -> None:
    assert "sync_points" not in explain_file(str(container), verify=True).facts
    assert explain_file(str(container), verify=True, sync=True).facts["sync_points"] == []
    change(container, points={"theirs": 5, "others": 3})
    assert explain_file(str(container), verify=True, sync=True).facts["sync_points"] == [
        {"id": "others", "sequence": 3, "at": CREATED},
        {"id": "theirs", "sequence": 5, "at": CREATED},
    ]


def test_an_account_reports_to_nobody(tmp_path: Path) -> None:
    file = tmp_path / "account.db"
    description = AccountSchema(Limits(), Policies([Policy(0, "gold", default=True)]))
    file.write_bytes(new_image(description, ResourcePath("a"), STATUS, (), "mine"))
    facts = explain_file(str(file), verify=True, sync=True).facts
    assert "reported_to_account" not in facts
    assert facts["sync_points"] == []


def test_both_are_printed(container: Path) -> None:
    runner = CliRunner()
    arguments = [str(container), "--sync", "--ring-dir", str(container.parent)]
    assert "  reported_to_account: none\n" in runner.invoke(explain, arguments).output
    change(container, REPORT, {"theirs": 5})
    printed = runner.invoke(explain, arguments).output
    assert f"  reported_to_account put_timestamp: {CREATED}\n" in printed
    assert "  is_all_reported: yes\n" in printed
    assert f"  sync_points: id theirs, sequence 5, at {CREATED}\n" in printed


@pytest.mark.parametrize(
    ("name", "kind", "version"),
    [
        (f"{CREATED}.ts", "tombstone", None),
        (f"{CREATED}!null.ts", "delete marker", None),
        (f"{CREATED}!.ts", "delete marker", CREATED),
        (f"{CREATED}!1600000000.00000.ts", "removal mark", "1600000000.00000"),
    ],
)
def test_what_a_file_is_to_its_object(tmp_path: Path, name: str, kind: str, version: str | None) -> None:
    file = tmp_path / name
    file.touch()
    os.setxattr(file, ATTRIBUTE, encode(TombstoneMetadata("/a/c/o", CREATED), 0).attribute)
    found = explain_file(str(file), verify=True)
    assert (found.kind, found.wrong, found.facts.get("version")) == (kind, [], version)


@pytest.mark.parametrize("key", ["", "key-2"])
def test_under_which_secrets_an_object_is_encrypted(tmp_path: Path, key: str) -> None:
    file = tmp_path / f"{CREATED}.data"
    file.touch()
    kind = "aws:kms" if key else "AES256"
    sysmeta = {"X-Object-Sysmeta-Sealed": encode_envelope(Envelope(Seal(kind, key), "root-1", b"wrapped"))}
    metadata = ObjectMetadata("/a/c/o", CREATED, 0, "e", "", "a/b", sysmeta=sysmeta)
    os.setxattr(file, ATTRIBUTE, encode(metadata, 0).attribute)
    expected = {"by": kind, "root": "root-1", **({"key": key} if key else {})}
    assert explain_file(str(file), verify=False).facts["encrypted"] == expected
    broken = ObjectMetadata("/a/c/o", CREATED, 0, "e", "", "a/b", sysmeta={"X-Object-Sysmeta-Sealed": "{}"})
    os.setxattr(file, ATTRIBUTE, encode(broken, 0).attribute)
    assert "not what was stored" in " ".join(explain_file(str(file), verify=False).wrong)
