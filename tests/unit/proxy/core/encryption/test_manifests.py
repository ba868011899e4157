"""Manifests of encrypted uploads: a daemon without keys finds the names of the parts, and nothing else."""

from __future__ import annotations

import pytest

from objstore.paths import ResourcePath
from objstore.proxy.core.encryption.manifests import sealed_form, sealed_manifest
from objstore.proxy.core.errors import SealBroken
from objstore.proxy.core.manifest import Part, encode_manifest
from objstore.uploads import hidden_container, named_parts

HIDDEN = hidden_container(ResourcePath("AUTH_a", "bucket", "key"))
PARTS = [Part(f"/{HIDDEN.container}/part/{number}", "0123456789abcdef" * 2, 5) for number in (1, 2)]


def test_the_names_of_parts_are_there_and_nothing_else() -> None:
    content = encode_manifest(PARTS)
    stored = sealed_manifest(content, b"sealed")
    assert named_parts(stored, HIDDEN) == named_parts(content, HIDDEN) == {"part/1", "part/2"}
    assert sealed_form(stored) == b"sealed"
    assert PARTS[0].etag.encode() not in stored


def test_what_is_none() -> None:
    for content in (b"", b"[]", b'{"parts": []}'):
        with pytest.raises(SealBroken):
            sealed_form(content)
