"""Conditions of writes against what has been read."""

from __future__ import annotations

import msgspec
import pytest

from objstore.conditions import ObjectState, WriteConditions
from objstore.proxy.core.conditions import check_conditions, state_of
from objstore.proxy.core.errors import PreconditionFailed
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.manifest import manifest_metadata

OWN, MADE = "a" * 32, "b" * 32 + "-2"
INFO = StoredObjectInfo(2, OWN, "text/plain", "1400000000.00001", "not looked at", version="1400000000.00001")


def test_a_manifest_is_what_it_makes() -> None:
    assert state_of(INFO) == ObjectState(OWN, 2, 1_400_000_001, "1400000000.00001")
    manifest = msgspec.structs.replace(INFO, metadata=manifest_metadata(StoredMetadata(), 20, MADE))
    assert state_of(manifest) == ObjectState(MADE, 20, 1_400_000_001, "1400000000.00001")


def test_what_fails_is_refused() -> None:
    check_conditions(None, None)
    check_conditions(WriteConditions(if_match=(OWN,)), INFO)
    check_conditions(WriteConditions(if_absent=True), None)
    for conditions, found in ((WriteConditions(if_absent=True), INFO), (WriteConditions(if_match=(OWN,)), None)):
        with pytest.raises(PreconditionFailed):
            check_conditions(conditions, found)
