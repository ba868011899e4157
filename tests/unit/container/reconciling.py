"""Three replicas that were put under different policies, objects in the wrong one, and passes of reconcilers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import xxhash

from objstore.config.container import ReconcilerConfig
from objstore.container.queue import ACCOUNT, DIVISOR, Misplaced
from objstore.container.reconciler import ContainerReconciler
from objstore.daemon import run_once
from objstore.db.status import NEVER, Incarnation
from objstore.http.transport import BackendRequest, BackendResponse, NodeFailure
from objstore.paths import ResourcePath
from objstore.rows import ContainerRow, ObjectRow, encode_rows
from objstore.timestamps import Timestamp
from tests.unit.objstore.db.harness import NOW, at
from tests.unit.objstore.db.replicas import PATH, Replicas

TYPE = "text/é".encode().decode("latin-1")
OBJECT = PATH.with_object("über/o")
CONTENT = bytes(range(256)) * 2000
QUEUE = ResourcePath(ACCOUNT, str(NOW // DIVISOR * DIVISOR))
QUEUED_AT = Timestamp.from_seconds(NOW + 100)
FIRST_LIFE, LATER_LIFE = Incarnation(NEVER, at(1), 0), Incarnation(NEVER, at(2), 1)
ENTRY = f"1:{NEVER}:{at(1)}:0:PUT:{at(3)}:{OBJECT}"


def entry_of(path: ResourcePath, life: Incarnation, policy: int) -> Misplaced:
    """An entry of what was written at 3."""
    return Misplaced(path, life, policy, False, Timestamp.parse(at(3)), Timestamp.parse(at(3)), QUEUED_AT)


def put_object(
    replicas: Replicas,
    second: float,
    policy: int,
    content: bytes = CONTENT,
    numbers: tuple[int, ...] = (1, 2, 3),
    **headers: str,
) -> None:
    """As a proxy that knows the policy of node 3's container would."""
    for number in numbers:
        answer = replicas[number].request(
            "PUT",
            second,
            content,
            path=OBJECT,
            X_Backend_Storage_Policy_Index=str(policy),
            Content_Type=TYPE,
            Etag=hashlib.md5(content).hexdigest(),
            X_Backend_Body_Checksum=xxhash.xxh3_128_hexdigest(content),
            X_Object_Meta_Color=b"blau".decode("latin-1"),
            X_Object_Sysmeta_Own="kept",
            **headers,
        )
        assert answer.status == 201, answer.read_all()
    version = headers.get("X_Backend_Version_Id", at(second)) if "X_Backend_Version_Mode" in headers else ""
    listed = ObjectRow(
        OBJECT.object,
        at(second),
        len(content),
        "text/é",
        hashlib.md5(content).hexdigest(),
        policy_index=policy,
        version=version,
    )
    replicas[3].update(listed)


def delete_object(replicas: Replicas, second: float, policy: int, row: ObjectRow, **headers: str) -> None:
    """As a proxy would; node 3's container gets this row of it."""
    for number in (1, 2, 3):
        answer = replicas[number].request(
            "DELETE", second, path=OBJECT, X_Backend_Storage_Policy_Index=str(policy), **headers
        )
        assert answer.status == 204
    replicas[3].update(row)


def get_object(
    replicas: Replicas, policy: int, number: int = 1, method: str = "GET", **headers: str
) -> BackendResponse:
    return replicas[number].request(method, path=OBJECT, X_Backend_Storage_Policy_Index=str(policy), **headers)


def post_object(
    replicas: Replicas,
    second: float,
    policy: int,
    color: str,
    numbers: tuple[int, ...] = (1, 2, 3),
    is_late: bool = False,
    **headers: str,
) -> None:
    """As a proxy would; node 3's container hears of it, unless the row is late."""
    for number in numbers:
        answer = replicas[number].request(
            "POST",
            second,
            path=OBJECT,
            X_Backend_Storage_Policy_Index=str(policy),
            X_Object_Meta_Color=color,
            **headers,
        )
        assert answer.status == 202
    if not is_late:
        known = next(each for each in replicas[3].rows() if each.policy_index == policy)
        replicas[3].update(msgspec.structs.replace(known, meta_timestamp=at(second)))


def converge(replicas: Replicas) -> None:
    """Containers learn of each other, and queue what is misplaced."""
    replicas.replicate()
    replicas.replicate()


def colors(replicas: Replicas, policy: int) -> set[tuple[bytes, str, str]]:
    """Content, metadata and type on all nodes."""
    found = [get_object(replicas, policy, number) for number in (1, 2, 3)]
    return {(each.read_all(), each.headers["X-Object-Meta-Color"], each.headers["Content-Type"]) for each in found}


def unreachable(address: str, *methods: str) -> Callable[[BackendRequest], None]:
    """No requests for the object, of these methods if any are named, reach this address."""

    def refuse(request: BackendRequest) -> None:
        asked = request.path == OBJECT and (not methods or request.method in methods)
        if asked and request.node.ip == address:
            raise NodeFailure(request.node, "connect")

    return refuse


def tell_account(replicas: Replicas) -> None:
    """As the container updater does."""
    rows = encode_rows([ContainerRow(QUEUE.container, at(3), object_count=1, stats_timestamp=at(4))])
    for number in (1, 2, 3):
        assert replicas[number].request("UPDATE", body=rows, path=ResourcePath(ACCOUNT)).status == 202


def reconcile(replicas: Replicas, **options: Any) -> dict[str, int]:
    """One pass of each node's, with what all of them counted."""
    tell_account(replicas)
    total: dict[str, int] = {}
    for number in (1, 2, 3):
        node = replicas[number]
        run_once(ContainerReconciler(ReconcilerConfig(**options), node.context, 3.0))
        for outcome, count in node.recon.read("container-reconciler")["counts"].items():
            total[outcome] = total.get(outcome, 0) + count
    return total
