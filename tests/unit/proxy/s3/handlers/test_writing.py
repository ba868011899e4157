"""Objects as clients store and delete them, over a core that the test plays."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from objstore.checksums import Algorithm
from objstore.conditions import WriteConditions
from objstore.config.proxy import S3Config
from objstore.http.bodies import IterableBody
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.policies import Policies, Policy
from objstore.proxy.core.errors import ChecksumMismatch, NewerStored, ObjectNotFound, PreconditionFailed
from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo, StoredMetadata, StoredObjectInfo
from objstore.proxy.core.objects import PutResult
from objstore.proxy.core.quorum_request import SMALL_BODY_MAX
from objstore.proxy.core.versions import public_id
from objstore.proxy.s3.access import Place
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.deletions import Deleted, ObjectDeleter
from objstore.proxy.s3.handlers.metadata import STORAGE_CLASS
from objstore.proxy.s3.handlers.tagging import MetadataChanger
from objstore.proxy.s3.handlers.writing import ObjectWriter, body_length
from objstore.proxy.s3.request import S3Request
from objstore.timestamps import Timestamp
from tests.doubles import ManualClock

PATH = ResourcePath("AUTH_a", "b", "k")
NOW = 1_700_000_000.0
LATER = Timestamp.from_seconds(NOW + 100)


class PlayedCore:
    """Gives each operation in its turn what the test has written down: a result, or an error."""

    def __init__(self, *script: Any, consistency: str = "available") -> None:
        self.script = list(script)
        self.commands: list[Any] = []
        self.bodies: list[bytes] = []
        objects = SimpleNamespace(put=self._put, head=self._play, post=self._play, delete=self._play)
        self.context: Any = SimpleNamespace(
            objects=objects,
            containers=SimpleNamespace(),
            keys=SimpleNamespace(active=""),
            lookup=SimpleNamespace(
                container_and_account=lambda path, _: (ContainerInfo(PRESENT), AccountInfo(PRESENT))
            ),
            quotas=SimpleNamespace(reserve=lambda upload: nullcontext()),
            runtime=SimpleNamespace(clock=ManualClock(NOW), random=SimpleNamespace(getrandbits=lambda bits: 7)),
            config=SimpleNamespace(s3=S3Config(storage_classes=("GLACIER=gold", "STANDARD_IA=silver"))),
            cluster=SimpleNamespace(
                limits=Limits(),
                policies=Policies([Policy(0, "gold", default=True, consistency=consistency), Policy(1, "silver")]),
            ),
        )

    def _play(self, command: Any) -> Any:
        self.commands.append(command)
        turn = self.script.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn

    def _put(self, command: Any) -> Any:
        self.bodies.append(command.body.read())
        return self._play(command)


def place(**sysmeta: str) -> Place:
    return Place(PATH, ContainerInfo(PRESENT, sysmeta=sysmeta))


def request_of(body: bytes = b"", **variables: Any) -> S3Request:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/b/k",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": IterableBody([body]),
    }
    return S3Request(environ | variables)


def put(
    core: PlayedCore, body: bytes = b"body", conditions: WriteConditions | None = None, storage_class: str = ""
) -> PutResult:
    authorizer: Any = SimpleNamespace(wanted_grants=lambda request, place: {})
    writer = ObjectWriter(core.context, authorizer)
    command = writer.command(
        request_of(body),
        place(),
        length=len(body),
        content_type="a/b",
        metadata=StoredMetadata(system={STORAGE_CLASS: storage_class} if storage_class else {}),
        checksums=None,
        conditions=conditions,
    )
    return writer.put(command)


def found(timestamp: str = LATER.normal) -> StoredObjectInfo:
    return StoredObjectInfo(4, "e", "a/b", timestamp, "")


def test_a_small_body_gets_a_newer_stamp() -> None:
    done = PutResult("e", LATER)
    core = PlayedCore(PutResult("e", LATER, superseded=True), found(), done)
    assert put(core) is done
    assert core.bodies == [b"body", b"body"]
    assert core.commands[-1].timestamp > LATER


def test_a_large_body_was_overwritten_meanwhile() -> None:
    core = PlayedCore(PutResult("e", LATER, superseded=True))
    assert put(core, b"x" * (SMALL_BODY_MAX + 1)).superseded
    assert len(core.commands) == 1


def test_why_nothing_is_stored() -> None:
    conditions = WriteConditions(if_match=("e",))
    for script, code in (
        ((PreconditionFailed(), ObjectNotFound(PATH)), "NoSuchKey"),
        ((PreconditionFailed(), found()), "PreconditionFailed"),
        ((ChecksumMismatch("a", "b", Algorithm.SHA1),), "BadDigest"),
    ):
        with pytest.raises(S3Error) as caught:
            put(PlayedCore(*script), conditions=conditions)
        assert caught.value.code == code


def test_what_is_refused_before() -> None:
    with pytest.raises(S3Error, match="MissingContentLength"):
        body_length(request_of(CONTENT_LENGTH=""))


def delete(core: PlayedCore, where: Place, identifier: str | None = None) -> Deleted:
    return ObjectDeleter(core.context).delete(where, identifier, None, "tx")


def test_what_is_absent_is_deleted() -> None:
    assert delete(PlayedCore(ObjectNotFound(PATH)), place()) == Deleted()


def test_a_deletion_gets_a_newer_stamp() -> None:
    core = PlayedCore(NewerStored(PATH), found(), LATER)
    delete(core, place())
    assert core.commands[-1].timestamp > LATER


@pytest.mark.parametrize(("enabled", "mode"), [("true", "keep"), ("false", "null")])
@pytest.mark.parametrize("done", [LATER, ObjectNotFound(PATH, "", True, LATER.internal)], ids=["there", "absent"])
def test_where_versions_are_kept_a_marker_is_made(enabled: str, mode: str, done: Any) -> None:
    core = PlayedCore(done)
    deleted = delete(core, place(**{"Versions-Enabled": enabled}))
    assert core.commands[0].version_mode == mode
    assert deleted.is_marker
    assert deleted.version_id == (public_id(LATER.internal) if mode == "keep" else "null")


@pytest.mark.parametrize("is_marker", [False, True])
def test_versions_are_removed_for_good(is_marker: bool) -> None:
    state = ObjectNotFound(PATH, is_marker=True) if is_marker else found()
    core = PlayedCore(state, LATER)
    version = "0000a356ad35b819"
    assert delete(core, place(**{"Versions-Enabled": "true"}), version) == Deleted(version, is_marker)
    assert core.commands[-1].version
    with pytest.raises(S3Error, match="InvalidArgument"):
        delete(PlayedCore(), place(), "x")


def test_metadata_changes_right_after_what_was_read() -> None:
    before = StoredObjectInfo(4, "e", "a/b", LATER.normal, "", metadata=StoredMetadata(transient={"Other": "1"}))
    core = PlayedCore(before, NewerStored(PATH), before, PreconditionFailed(), before, None)
    reader: Any = SimpleNamespace(stored=lambda request, command: core.context.objects.head(command))
    MetadataChanger(core.context, reader).change(request_of(), place(), "Tags", "a=1")
    posted = core.commands[-1]
    assert posted.metadata.transient == {"Other": "1", "Tags": "a=1"}
    assert posted.timestamp == Timestamp(LATER.ticks + 1, 7)
    assert posted.conditions == WriteConditions(if_match=("e",))
    assert not posted.merges


def test_under_a_strong_policy_only_what_changes_is_named() -> None:
    core = PlayedCore(found(), None, consistency="strong")
    reader: Any = SimpleNamespace(stored=lambda request, command: core.context.objects.head(command))
    MetadataChanger(core.context, reader).change(request_of(), place(), "Tags", "")
    posted = core.commands[-1]
    assert posted.merges and posted.metadata == StoredMetadata(transient={"Tags": ""})


def test_a_class_that_means_another_policy_is_refused() -> None:
    with pytest.raises(S3Error, match="InvalidStorageClass"):
        put(PlayedCore(), storage_class="STANDARD_IA")
    assert put(PlayedCore(PutResult("e", LATER)), storage_class="GLACIER")
