import json

import pytest

from objstore.rows import (
    ContainerRow,
    InvalidRows,
    ObjectRow,
    decode_container_rows,
    decode_object_rows,
    encode_rows,
    etag_with_fields,
    split_etag,
)

OBJECT = ObjectRow("ö", "1.00000", 3, "text/plain", "abc", meta_timestamp="2.00000")
CONTAINER = ContainerRow("c", "1.00000", object_count=2)


def test_round_trip() -> None:
    assert decode_object_rows(encode_rows([OBJECT, OBJECT])) == [OBJECT, OBJECT]
    assert decode_container_rows(encode_rows([CONTAINER])) == [CONTAINER]


def test_defaults_are_left_out_on_the_wire() -> None:
    assert json.loads(encode_rows([CONTAINER])) == [{"name": "c", "put_timestamp": "1.00000", "object_count": 2}]
    assert set(json.loads(encode_rows([OBJECT]))[0]) == {
        "name", "timestamp", "size", "content_type", "etag", "meta_timestamp",
    }  # fmt: skip


def test_fields_of_newer_servers_are_ignored() -> None:
    row = {"name": "c", "put_timestamp": "1", "colour": "red"}
    assert decode_container_rows(json.dumps([row]).encode()) == [ContainerRow("c", "1")]


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"name": 1}]', b"[1]", b'[{"name": "c"}]', b"\xff"])
def test_bad_bodies(body: bytes) -> None:
    for decode in (decode_object_rows, decode_container_rows):
        with pytest.raises(InvalidRows, match="Bad rows"):
            decode(body)


def test_an_etag_brings_further_fields() -> None:
    etag = "d41d8cd98f00b204e9800998ecf8427e"
    fields: dict[str, str | int] = {"symlink_path": "/v1/a/c/o", "symlink_bytes": 5}
    assert split_etag(etag_with_fields(etag, fields)) == (etag, fields)
    for plain in (etag, f"{etag}-3", "noetag", f"{etag};{{", ""):
        assert split_etag(plain) == (plain, {})
