"""Versions of objects on the object servers of a real cluster: replicated, removed, forgotten, mended one by one."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from xxhash import xxh3_128_hexdigest

from tests.functional.client import Answer, Client
from tests.functional.servers import Cluster, send_as_server, wait_until_healthy
from tests.functional.test_faults import flip
from tests.functional.test_locate import directories, run
from tests.functional.test_replication import heal, replicate

NOW = int(time.time()) - 3600


def at(second: int) -> str:
    return f"{NOW + second:010d}.00000"


class VersionedObject:
    """An object of which requests go to the servers of its three primaries themselves."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        client = Client.login(*cluster.endpoint(1))
        self.cluster, self.path = cluster, f"{client.account}/kept/{name}"
        _, self.found = run(cluster, "locate", client.account, "kept", name)
        self.places: list[dict[str, Any]] = [place for place in self.found["places"] if not place["handoff"]]
        self.folders: list[Path] = directories(cluster, self.found, "objects")

    def ask(self, place: int, method: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        device, zone = self.places[place]["device"], self.places[place]["zone"]
        path, known = f"/{device}/{self.found['partition']}/{self.path}", self.cluster.folder / "objstore.toml"
        return send_as_server(known, self.cluster.endpoint(zone, "object"), method, path, headers, body)

    def send(self, method: str, second: int, expected: int, body: bytes = b"", **headers: str) -> None:
        """To every server that runs; one at least."""
        sent = {f"X-Backend-Version-{name.title()}": value for name, value in headers.items()}
        sent |= {"X-Timestamp": at(second), "Content-Type": "text/plain"}
        sent |= {"Etag": hashlib.md5(body).hexdigest(), "X-Backend-Body-Checksum": xxh3_128_hexdigest(body)}
        answers = []
        for place in range(3):
            with suppress(OSError):
                answers.append(self.ask(place, method, sent, body).status)
        assert set(answers) == {expected}

    def names(self) -> list[list[str]]:
        return [sorted(path.name for path in folder.glob("*")) for folder in self.folders]


def test_a_node_that_was_down_gets_versions_and_removals(whole: Cluster) -> None:
    made = VersionedObject(whole, "down")
    for second in (1, 2):
        made.send("PUT", second, 201, b"body of %d" % second, mode="keep")
    down = str(made.places[2]["zone"])
    whole.run("kill-node", down)
    made.send("PUT", 3, 201, b"body of 3", mode="keep")
    made.send("DELETE", 4, 204, id=at(1))
    made.send("DELETE", 5, 204, mode="keep")
    whole.run("start", "--node", down)
    wait_until_healthy(*whole.endpoint(int(down), "object"))
    heal(whole)
    expected = [f"{at(2)}!.data", f"{at(3)}!.data", f"{at(4)}!{at(1)}.ts", f"{at(5)}!.ts"]
    assert made.names() == [expected] * 3
    for place in range(3):
        current = made.ask(place, "GET", {})
        assert (current.status, current.headers["x-backend-delete-marker"]) == (404, "true")
        assert made.ask(place, "GET", {"X-Backend-Version-Id": at(3)}).body == b"body of 3"
        assert made.ask(place, "GET", {"X-Backend-Version-Id": at(1)}).status == 404


def test_old_removal_marks_are_forgotten_and_versions_stay(whole: Cluster) -> None:
    made = VersionedObject(whole, "old")
    days = -9 * 86_400
    made.send("PUT", days, 201, b"old", mode="keep")
    made.send("PUT", days + 1, 201, b"removed", mode="keep")
    made.send("DELETE", days + 2, 204, mode="keep")
    made.send("DELETE", days + 3, 204, id=at(days + 1))
    assert f"{at(days + 3)}!{at(days + 1)}.ts" in made.names()[0]
    replicate(whole)
    assert made.names() == [[f"{at(days)}!.data", f"{at(days + 2)}!.ts"]] * 3


def test_a_damaged_version_is_mended_while_others_are_served(whole: Cluster) -> None:
    made = VersionedObject(whole, "damaged")
    for second in (1, 2, 3):
        made.send("PUT", second, 201, b"body of %d" % second, mode="keep")
    heal(whole)
    before = made.names()
    flip(made.folders[0] / f"{at(2)}!.data")
    assert made.ask(0, "GET", {"X-Backend-Version-Id": at(2)}).status == 404
    assert made.names()[0] == [f"{at(1)}!.data", f"{at(3)}!.data"]
    for second in (1, 3):
        assert made.ask(0, "GET", {"X-Backend-Version-Id": at(second)}).body == b"body of %d" % second
    heal(whole)
    assert made.names() == before
    assert made.ask(0, "GET", {"X-Backend-Version-Id": at(2)}).body == b"body of 2"
