"""Names of buckets."""

from __future__ import annotations

import pytest

from objstore.proxy.s3.buckets import check_new_name
from objstore.proxy.s3.errors import S3Error


@pytest.mark.parametrize("name", ["abc", "a-b", "a.b.c", "1.2.3", "1.2.3.4.5", "x" * 63, "0ab"])
def test_good_names(name: str) -> None:
    check_new_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "ab", "x" * 64, "aB", "a_b", "a b", "a/b", "-ab", "ab-", ".ab", "ab.", "a..b", "1.2.3.4", "xn--a",
        "a-s3alias", "abc\n", "äbc", "a--x-s3", "a%b",
    ],
)  # fmt: skip
def test_bad_names(name: str) -> None:
    with pytest.raises(S3Error) as error:
        check_new_name(name)
    assert error.value.code == "InvalidBucketName"
