"""Conditions of requests of the S3 API."""

from __future__ import annotations

import pytest

from objstore.conditions import WriteConditions
from objstore.proxy.core.objects import Conditions
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.conditions import (
    copy_source_conditions,
    precondition_failed,
    read_conditions,
    write_conditions,
)

NOW = 1_700_000_000.0
PAST, FUTURE = "Tue, 14 Nov 2023 22:13:20 GMT", "Wed, 14 Nov 2029 22:13:20 GMT"


def test_reads() -> None:
    assert read_conditions({}, NOW) is None
    given = {"HTTP_IF_NONE_MATCH": '"a"', "HTTP_IF_MODIFIED_SINCE": PAST}
    assert read_conditions(given, NOW) == Conditions(if_none_match='"a"', if_modified_since=PAST)
    # A matching ETag says more than a date; a date to come says nothing.
    given = {"HTTP_IF_MATCH": '"a"', "HTTP_IF_UNMODIFIED_SINCE": PAST, "HTTP_IF_MODIFIED_SINCE": FUTURE}
    assert read_conditions(given, NOW) == Conditions(if_match='"a"')
    given = {"HTTP_X_AMZ_COPY_SOURCE_IF_MATCH": '"a"', "HTTP_IF_NONE_MATCH": "*"}
    assert copy_source_conditions(given, NOW) == Conditions(if_match='"a"')


@pytest.mark.parametrize("etag", ['"900150983cd24fb0d6963f7d28e17f72-3"', "900150983cd24fb0d6963f7d28e17f72-3"])
def test_writes(etag: str) -> None:
    assert write_conditions({}) is None
    assert write_conditions({"HTTP_IF_NONE_MATCH": "*"}) == WriteConditions(if_absent=True)
    assert write_conditions({"HTTP_IF_MATCH": etag}) == WriteConditions(if_match=(etag.strip('"'),))
    assert write_conditions({"HTTP_IF_MATCH": "*"}) == WriteConditions(if_match=("*",))


@pytest.mark.parametrize(
    "given",
    [
        {"HTTP_IF_NONE_MATCH": '"a"'},
        {"HTTP_IF_NONE_MATCH": "*", "HTTP_IF_MATCH": '"a"'},
        {"HTTP_X_AMZ_IF_MATCH_SIZE": "5"},
        {"HTTP_X_AMZ_IF_MATCH_LAST_MODIFIED_TIME": "Tue, 14 Nov 2023 22:13:20 GMT"},
    ],
    ids=str,
)
def test_writes_that_aws_does_not_know(given: dict[str, str]) -> None:
    with pytest.raises(S3Error, match="NotImplemented"):
        write_conditions(given)


def test_which_condition_does_not_hold() -> None:
    assert precondition_failed(WriteConditions(if_absent=True)).elements == {"Condition": "If-None-Match"}
    assert precondition_failed(WriteConditions(if_match=("a",))).elements == {"Condition": "If-Match"}
