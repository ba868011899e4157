"""POST: what it replaces, what it keeps, and POSTs that come late."""

import pytest

from objstore.headers import Backend, Sysmeta
from objstore.object.engine import ObjectInfo
from objstore.object.metadata import ObjectMetadata
from objstore.object.post import merge_post
from tests.unit.object.harness import ServedFolder, at


def test_user_metadata_is_replaced_and_the_rest_kept(store: ServedFolder) -> None:
    store.put(
        1,
        b"body",
        x_object_meta_old="1",
        content_disposition="inline",
        x_delete_at="1800000000",
        x_object_sysmeta_kept="yes",
        x_static_large_object="True",
        x_object_transient_sysmeta_iv="old",
    )
    assert store.post(2, x_object_meta_new="2", content_language="de").status == 202
    got = store.get()
    assert (got.status, got.body) == (200, b"body")
    assert got.headers["X-Object-Meta-New"] == "2"
    assert got.headers["Content-Language"] == "de"
    assert got.headers["X-Object-Sysmeta-Kept"] == "yes"
    assert got.headers["X-Static-Large-Object"] == "True"
    gone = {"X-Object-Meta-Old", "Content-Disposition", "X-Delete-At", "X-Object-Transient-Sysmeta-Iv"}
    assert not gone & set(got.headers)
    assert got.headers["Content-Type"] == "text/plain"
    assert got.headers["X-Timestamp"] == got.headers[Backend.TIMESTAMP] == at(2)
    assert got.headers[Backend.DATA_TIMESTAMP] == at(1)


def test_what_an_api_keeps_for_itself_stays_until_it_is_named(store: ServedFolder) -> None:
    store.put(1, b"body", x_object_transient_sysmeta_tags="a=1", x_object_transient_sysmeta_s3_acl="{}")
    store.post(2, x_object_meta_new="2")
    assert store.get().headers[Sysmeta.TAGS] == "a=1"
    store.post(3, x_object_transient_sysmeta_tags="")
    got = store.get().headers
    assert Sysmeta.TAGS not in got and got[Sysmeta.S3_ACL] == "{}"
    store.post(4, x_object_transient_sysmeta_s3_acl="", x_backend_merge="true")
    assert Sysmeta.S3_ACL not in store.get().headers


def test_the_content_type_has_a_timestamp_of_its_own(store: ServedFolder) -> None:
    store.put(1)
    store.post(2, content_type="image/png")
    store.post(3, x_object_meta_a="b")
    assert store.get().headers["Content-Type"] == "image/png"
    assert store.names() == [at(1) + ".data", f"{at(3)}+{at(2)}.meta"]
    row = store.transport.rows[-1]
    assert (row.timestamp, row.content_type_timestamp, row.meta_timestamp) == (at(1), at(2), at(3))
    assert row.content_type == "image/png"


def test_a_late_post_may_still_set_the_content_type(store: ServedFolder) -> None:
    store.put(1)
    store.post(5, x_object_meta_a="newest")
    assert store.post(3, x_object_meta_a="late").status == 409
    assert store.post(3, x_object_meta_a="late", content_type="image/png").status == 202
    assert store.post(2, content_type="image/gif").status == 409
    got = store.get()
    assert got.headers["Content-Type"] == "image/png"
    assert got.headers["X-Object-Meta-A"] == "newest"
    assert store.names() == [at(1) + ".data", f"{at(5)}+{at(3)}.meta"]


@pytest.mark.parametrize("second", [0, 1])
def test_older_than_the_object_is_a_conflict(store: ServedFolder, second: int) -> None:
    store.put(1)
    answer = store.post(second)
    assert (answer.status, answer.headers[Backend.TIMESTAMP]) == (409, at(1))


def test_there_must_be_an_object(store: ServedFolder) -> None:
    assert store.post(1).status == 404
    store.delete(2)
    assert store.post(3).status == 404
    assert store.names() == [at(2) + ".ts"]


def test_only_the_newest_metadata_stays_on_the_disk(store: ServedFolder) -> None:
    store.put(1)
    for second in range(2, 6):
        assert store.post(second, x_object_meta_number=str(second)).status == 202
    assert store.names() == [at(1) + ".data", at(5) + ".meta"]


def test_posts_merge_to_the_same_in_any_order() -> None:
    data = ObjectMetadata("/a/c/o", at(1), 0, "e", "c", "text/plain", {"X-Object-Meta-A": "0"})
    first = ObjectInfo(data, at(1), data.headers, data.content_type, at(1))
    posts = [
        (at(2), {"A": "2"}, "image/png"),
        (at(3), {"A": "3"}, ""),
        (at(4), {}, "image/gif"),
        (at(5), {"A": "5"}, ""),
    ]
    forward = backward = first
    for post in posts:
        forward = merge_post(forward, *post)
    for post in reversed(posts):
        backward = merge_post(backward, *post)
    assert forward == backward
    assert (forward.headers, forward.content_type, forward.content_type_timestamp) == ({"A": "5"}, "image/gif", at(4))
