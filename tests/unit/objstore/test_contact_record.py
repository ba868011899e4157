"""Notes of when devices were in touch with others."""

from __future__ import annotations

from pathlib import Path

from objstore.contact_record import ContactRecord, read_contact_record, write_contact_record


def test_a_note_keeps_when_it_began(tmp_path: Path) -> None:
    device = str(tmp_path)
    assert read_contact_record(device, "objects") is None
    write_contact_record(device, "objects", 1700000000.5, 200.0)
    assert read_contact_record(device, "objects") == ContactRecord(1700000000.5, 1700000000.5)
    write_contact_record(device, "objects", 1700000100.0, 200.0)
    assert read_contact_record(device, "objects") == ContactRecord(1700000000.5, 1700000100.0)
    assert read_contact_record(device, "containers") is None


def test_who_was_away_for_longer_than_deletions_last_begins_a_new_note(tmp_path: Path) -> None:
    device = str(tmp_path)
    for moment in (1700000000.0, 1700000200.0, 1700000401.0, 1700000500.0):
        write_contact_record(device, "objects", moment, 200.0)
    assert read_contact_record(device, "objects") == ContactRecord(1700000401.0, 1700000500.0)


def test_a_note_covers_what_was_before_its_last_pass() -> None:
    note = ContactRecord(100.0, 200.0)
    assert [note.was_in_service_at(moment) for moment in (99.0, 100.0, 199.0, 200.0, 201.0)] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_a_note_of_the_first_version_says_no_more_than_it_did(tmp_path: Path) -> None:
    (tmp_path / "objects_replicated").write_bytes(b"1700000000.5")
    assert read_contact_record(str(tmp_path), "objects") == ContactRecord(1700000000.5, 1700000000.5)


def test_a_damaged_note_is_none(tmp_path: Path) -> None:
    (tmp_path / "objects_replicated").write_bytes(b"[1700000000.5")
    assert read_contact_record(str(tmp_path), "objects") is None
