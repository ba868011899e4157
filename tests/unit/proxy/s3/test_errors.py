"""Errors of the S3 API."""

from __future__ import annotations

from lxml import etree

from objstore.http.errors import VALUE_ERRORS, HttpError
from objstore.paths import ResourcePath
from objstore.proxy.core.errors import ContainerNotFound, InvalidRange, ObjectFacts, ObjectNotFound
from objstore.proxy.s3.errors import ANSWERS, CODES, S3Error, answer_to, is_foreseen
from tests.unit.proxy.reachable import reachable_errors

PATH = ResourcePath("AUTH_a", "b", "k")


def test_every_error_that_reaches_the_edge_has_a_code() -> None:
    assert reachable_errors((S3Error,)) <= ANSWERS.keys()
    assert VALUE_ERRORS.keys() <= ANSWERS.keys()
    assert {answer for answer in ANSWERS.values() if isinstance(answer, str)} <= CODES.keys()


def test_an_error_is_a_document() -> None:
    response = answer_to(S3Error("NoSuchKey", Key="<k>"), "/b/<k>", "tx1")
    tree = etree.fromstring(response.read_all())
    assert response.status == 404
    assert [(child.tag, child.text) for child in tree] == [
        ("Code", "NoSuchKey"),
        ("Message", CODES["NoSuchKey"][1]),
        ("Key", "<k>"),
        ("Resource", "/b/<k>"),
        ("RequestId", "tx1"),
        ("HostId", "tx1"),
    ]


def test_errors_of_the_core_keep_their_facts() -> None:
    gone = answer_to(ObjectNotFound(PATH, is_marker=True), "/b/k", "tx1")
    assert (gone.status, gone.headers["x-amz-delete-marker"], gone.headers["x-amz-version-id"]) == (404, "true", "null")
    outside = answer_to(InvalidRange(ObjectFacts(size=5)), "/b/k", "tx1")
    assert (outside.status, outside.headers["Content-Range"]) == (416, "bytes */5")
    assert b"<BucketName>b</BucketName>" in answer_to(ContainerNotFound(PATH), "/b", "tx1").read_all()


def test_bugs_are_not_foreseen() -> None:
    assert not is_foreseen(KeyError("x"))
    assert not is_foreseen(HttpError(500))
    assert is_foreseen(HttpError(499))
    assert is_foreseen(S3Error("NoSuchKey"))
    assert answer_to(KeyError("secret"), "/", "tx1").status == 500
    assert b"secret" not in answer_to(KeyError("secret"), "/", "tx1").read_all()
