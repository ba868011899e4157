"""Copies: what their headers name, and what the copy has of its source."""

from __future__ import annotations

import pytest

from objstore.proxy.core.info import StoredMetadata
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.copying import CopySource, copied_metadata, copy_source


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("b/k", CopySource("b", "k")),
        ("/b/k", CopySource("b", "k")),
        ("%2Fb%2Fa%20b+c", CopySource("b", "a b+c")),
        ("b//k", CopySource("b", "/k")),
        ("b/k?versionId=null", CopySource("b", "k", "null")),
        ("b/k%3FversionId=x", CopySource("b", "k?versionId=x")),
        ("b/\xc3\xbc", CopySource("b", "ü")),
    ],
)
def test_sources(value: str, source: CopySource) -> None:
    assert copy_source({"HTTP_X_AMZ_COPY_SOURCE": value}) == source


@pytest.mark.parametrize("value", ["", "b", "/b", "b/", "/", "b/%FF", "b/%00"])
def test_what_is_no_source(value: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        copy_source({"HTTP_X_AMZ_COPY_SOURCE": value})


def test_what_a_copy_has() -> None:
    source = StoredMetadata(
        {"A": "1"},
        {"Storage-Class": "GLACIER", "Website-Redirect": "/", "Checksum-Sha1": "x"},
        {"Tags": "t=1", "S3-Acl": "x", "Meta-Spellings": "a"},
        {"Cache-Control": "x", "X-Static-Large-Object": "True"},
    )
    given = StoredMetadata({"B": "2"}, {"Storage-Class": "STANDARD_IA"}, {"Tags": "u=2"}, {"Expires": "y"})
    copied = copied_metadata(source, given, replaced=False, tagged=False)
    kept = {"Meta-Spellings": "a", "Tags": "t=1"}
    assert copied == StoredMetadata(source.user, given.system, kept, {"Cache-Control": "x"})
    copied = copied_metadata(source, given, replaced=True, tagged=True)
    assert copied == given
