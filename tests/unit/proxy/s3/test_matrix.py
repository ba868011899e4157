"""docs/s3.md says of every operation whether it is there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from objstore.proxy.s3.access import Authorizer
from objstore.proxy.s3.application import Handler, handlers
from objstore.proxy.s3.buckets import Buckets
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.settings import BucketSettings
from objstore.proxy.s3.settings_table import SETTINGS
from tests.tidy.repository import ROOT
from tests.unit.proxy.store import ScriptedStore

# Old names for the same requests.
SHARED = {
    "GetBucketLifecycle": Operation.GET_BUCKET_LIFECYCLE_CONFIGURATION,
    "PutBucketLifecycle": Operation.PUT_BUCKET_LIFECYCLE_CONFIGURATION,
    "GetBucketNotification": Operation.GET_BUCKET_NOTIFICATION_CONFIGURATION,
    "PutBucketNotification": Operation.PUT_BUCKET_NOTIFICATION_CONFIGURATION,
}
NOT_IN_THE_MODEL = {Operation.POST_OBJECT, Operation.PREFLIGHT}
ROW = re.compile(r"^\| (\w+) \| (yes|empty|no) \| (\w*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def carried_out() -> Mapping[Operation, Handler]:
    context = ScriptedStore().context
    buckets, settings = Buckets(context), BucketSettings(context)
    return handlers(S3Context(context, buckets, settings, Authorizer(context, buckets, settings)))


def test_every_operation_has_a_row_that_is_true(carried_out: Mapping[Operation, Handler]) -> None:
    unset = {each.get for each in SETTINGS if each.put is None}
    unset |= {each.delete for each in SETTINGS if each.put is None and each.delete is not None}
    names = {operation.value: operation for operation in Operation if operation not in NOT_IN_THE_MODEL} | SHARED
    rows = ROW.findall((ROOT / "docs/s3.md").read_text())
    assert len(rows) == len(names) == 116
    for name, state, _ in rows:
        operation = names[name]
        expected = "no" if operation not in carried_out else "empty" if operation in unset else "yes"
        assert state == expected, name


def test_what_is_there_is_tested() -> None:
    rows = ROW.findall((ROOT / "docs/s3.md").read_text())
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert {file for _, state, file in rows if state != "no"} <= files
