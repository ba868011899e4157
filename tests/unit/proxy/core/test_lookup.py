"""Lookups of accounts and containers."""

from __future__ import annotations

from objstore.http.transport import BackendRequest
from objstore.paths import ResourcePath
from objstore.policies import Policies, Policy
from objstore.proxy.core.info import ABSENT, DELETED, PRESENT
from objstore.system import concurrency
from tests.unit.proxy.store import Reply, Script, ScriptedStore

CONTAINER = ResourcePath("AUTH_a", "c", "o")


def heads(store: ScriptedStore) -> list[str]:
    return [call.node for call in store.calls("HEAD")]


def test_what_is_found_is_remembered() -> None:
    store = ScriptedStore()
    store.container = Reply(
        204,
        {
            "X-Backend-Storage-Policy-Index": "1",
            "X-Container-Read": "r",
            "X-Container-Object-Count": "7",
            "X-Container-Meta-Quota-Bytes": "10",
            "X-Container-Sysmeta-Own": "1",
        },
    )
    info = store.context.lookup.container(CONTAINER, "tx1")
    assert (info.existence, info.policy_index, info.read_acl, info.object_count) == (PRESENT, 1, "r", 7)
    assert (info.metadata, info.sysmeta) == ({"Quota-Bytes": "10"}, {"Own": "1"})
    assert len(heads(store)) == 2
    assert store.context.lookup.container(CONTAINER, "tx1") is info
    assert store.context.lookup.account("AUTH_a", "tx1").existence is PRESENT
    assert len(heads(store)) == 2


def test_containers_of_our_own_are_found_and_others_are_asked_for_as_clients_may() -> None:
    store = ScriptedStore()
    for name, allowed in (("\0uploads\0c", "true"), ("c", None)):
        store.context.lookup.container(ResourcePath("AUTH_a", name), "tx1")
        (asked,) = [call for call in store.calls("HEAD") if call.request.path.container == name]
        assert asked.headers.get("X-Backend-Allow-Reserved-Names") == allowed


def test_a_container_without_account_is_none() -> None:
    store = ScriptedStore()
    for gone in (Reply(404), Reply(404, {"X-Account-Status": "Deleted"})):
        store.cache.values.clear()
        store.account = gone
        assert store.context.lookup.container(CONTAINER, "tx1").existence is ABSENT
    assert store.context.lookup.account("AUTH_a", "tx1").existence is DELETED


def test_if_nobody_knows_of_the_account_the_container_counts() -> None:
    store = ScriptedStore()
    store.account = Reply(refuses=True)
    assert store.context.lookup.container(CONTAINER, "tx1").existence is PRESENT
    assert "account/AUTH_a" not in store.cache.values


def test_internal_accounts_need_not_be_there() -> None:
    store = ScriptedStore()
    store.account = Reply(404)
    assert store.context.lookup.container(ResourcePath(".expiring_objects", "1"), "tx1").existence is PRESENT


def test_those_who_ask_at_one_time_share_an_answer() -> None:
    store = ScriptedStore()
    gate: concurrency.Event[None] = concurrency.Event()

    def script(request: BackendRequest) -> Reply:
        gate.wait()
        return Reply(204)

    store.transport.script = script
    tasks = [concurrency.spawn(store.context.lookup.account, "AUTH_a", "tx1") for _ in range(5)]
    concurrency.sleep()
    # A change meanwhile: who asks now must not get what was fetched before it.
    store.cache.invalidate("account/AUTH_a")
    late = concurrency.spawn(store.context.lookup.account, "AUTH_a", "tx1")
    concurrency.sleep()
    gate.set()
    assert all(task.wait().existence is PRESENT for task in (*tasks, late))
    assert len(heads(store)) == 2


IRON = Policies((Policy(0, "gold", default=True), Policy(1, "iron", consistency="strong")))


def test_what_is_not_there_is_asked_for_again_where_a_policy_is_strong() -> None:
    for policies, existence in ((None, ABSENT), (IRON, PRESENT)):
        store = ScriptedStore(policies=policies)
        store.account = store.container = Reply(404)
        assert store.context.lookup.container(CONTAINER, "tx1").existence is ABSENT
        store.account = store.container = Reply(204)  # another proxy has made both
        assert store.context.lookup.container(CONTAINER, "tx1").existence is existence


def test_who_asks_after_a_container_was_made_does_not_get_what_was_asked_before() -> None:
    store = ScriptedStore(policies=IRON)
    gate: concurrency.Event[None] = concurrency.Event()

    def script(request: BackendRequest) -> Reply:
        gate.wait()
        return Reply(404 if request.headers["X-Trans-Id"] == "tx0" else 204)

    store.transport.script = script
    tasks = [concurrency.spawn(store.context.lookup.account, "AUTH_a", f"tx{number}") for number in range(3)]
    concurrency.sleep()
    gate.set()
    assert [task.wait().existence for task in tasks] == [ABSENT, PRESENT, PRESENT]


def answers_of_two(others: Script) -> Script:
    """Two of a container's servers refuse to make it."""

    def script(request: BackendRequest) -> Reply:
        if request.method != "PUT":
            return others(request)
        return Reply(503 if request.node.device in ("c0", "c1") else 201)

    return script


def test_a_strong_container_is_made_by_a_majority_of_its_own_servers() -> None:
    for name, status in (("iron", 503), ("gold", 201)):
        store = ScriptedStore(policies=IRON)
        store.transport.script = answers_of_two(store.transport.script)
        assert store.send("PUT", "/v1/AUTH_a/new", {"X-Storage-Policy": name}).status == status
