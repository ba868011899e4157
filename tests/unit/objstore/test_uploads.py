"""How uploads are named, listed and described."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp
from objstore.uploads import (
    TRANSITIONS,
    RecordSummary,
    UploadEvent,
    UploadName,
    UploadState,
    begun_at,
    container_of,
    hidden_container,
    is_record,
    name_of,
    named_parts,
    new_id,
    part_number,
    records_after,
    records_prefix,
)

MOMENT = Timestamp(170_000_000_000_000)
ID, LATER = new_id(MOMENT, 7), new_id(Timestamp(MOMENT.ticks + 1), 3)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


def test_ids_sort_as_they_were_made_and_tell_when() -> None:
    assert ID < LATER
    assert begun_at(ID) == MOMENT
    assert new_id(MOMENT, 2**100 + 7) == ID
    assert len(ID) == len(LATER) == 32


@given(KEYS, st.integers(1, 10_000))
def test_names_are_read_back(key: str, number: int) -> None:
    upload = UploadName(key, ID)
    part = upload.part(number, LATER)
    assert name_of(upload.record) == name_of(part) == upload
    assert (is_record(upload.record), is_record(part), part_number(part)) == (True, False, number)
    assert part.startswith(upload.parts)


@given(st.lists(KEYS, unique=True, min_size=2, max_size=4))
def test_records_sort_by_key_and_then_as_the_uploads_were_begun(keys: list[str]) -> None:
    uploads = [UploadName(key, each) for key in keys for each in (ID, LATER)]
    listed = sorted((upload.record for upload in uploads), key=str.encode)
    assert [name_of(name) for name in listed] == sorted(
        uploads, key=lambda upload: (upload.key.encode(), upload.upload)
    )
    for key in keys:
        behind = [name for name in listed if name > records_after(key, "")]
        assert [name_of(name).key > key for name in behind] == [True] * len(behind)  # type: ignore[union-attr]
    assert all(name.startswith(records_prefix("")) for name in listed)


def test_parts_behind_a_number() -> None:
    upload = UploadName("k", ID)
    names = [upload.part(number, each) for number in (1, 2, 10, 10_000) for each in (ID, LATER)]
    assert names == sorted(names)
    assert [part_number(name) for name in names if name > upload.after(2)] == [10, 10, 10_000, 10_000]


@pytest.mark.parametrize(
    "name", ["k", "record/k", f"record/k\0{ID[:-1]}", f"part/k\0{ID}", f"else/k\0{ID}", "part/k\0a\0b\0c"]
)
def test_other_names_belong_to_no_upload(name: str) -> None:
    assert name_of(name) is None


def test_the_hidden_container_of_a_container() -> None:
    hidden = hidden_container(ResourcePath("a", "c", "o"))
    assert hidden == ResourcePath("a", "\0uploads\0c")
    assert container_of(hidden) == ResourcePath("a", "c")
    assert container_of(ResourcePath("a", "c")) is None


@pytest.mark.parametrize("state", UploadState)
def test_a_record_tells_its_state(state: UploadState) -> None:
    summary = RecordSummary(state, "1700000000.00000", kept=True, attempted=True)
    assert RecordSummary.parse(summary.content_type) == summary


@pytest.mark.parametrize("text", ["", "text/plain", "application/x-upload;{", 'application/x-upload;{"state":"x"}'])
def test_what_is_no_record_tells_none(text: str) -> None:
    with pytest.raises(ValueError, match="not the record of an upload"):
        RecordSummary.parse(text)


def test_what_has_ended_stays_so() -> None:
    ended = (UploadState.COMPLETED, UploadState.ABORTED)
    assert [pair for pair in itertools.product(ended, UploadEvent) if pair in TRANSITIONS] == []
    assert {state for state, _ in TRANSITIONS} | set(ended) == set(UploadState)


def test_which_parts_a_manifest_names() -> None:
    hidden = hidden_container(ResourcePath("a", "c"))
    name = UploadName("k", ID).part(1, LATER)
    body = f'[{{"name": "/{hidden.container}/{name}", "bytes": 5}}, {{"name": "/c/o"}}, {{"data": "YQ=="}}]'
    assert named_parts(body.replace("\0", "\\u0000").encode(), hidden) == {name}
    with pytest.raises(ValueError, match="not a manifest"):
        named_parts(b"{}", hidden)
