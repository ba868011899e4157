"""What must hold once the faults have stopped and the daemons have had their time."""

from __future__ import annotations

import os
from collections.abc import Set
from typing import Final

from tests.linearizability import Verdict
from tests.simulation.clients import PATIENCE_SECONDS, Clients
from tests.simulation.copy_inventory import Copy, CopyInventory
from tests.simulation.expiry import Expiry
from tests.simulation.findings import Findings
from tests.simulation.listings import Listings
from tests.simulation.model import Kind, Model, ObjectModel, Write
from tests.simulation.node import EPOCH
from tests.simulation.plan import CHECK_NUMBER, is_strong, is_versioned
from tests.simulation.queues import Queues
from tests.simulation.services import OTHER_PREFIX, path_of
from tests.simulation.stored_forms import (
    ATTRIBUTE,
    StoredMetadata,
    StoredVersions,
    path_digest,
    read_metadata,
    read_name,
    read_versions,
)
from tests.simulation.version_checks import VersionChecks
from tests.simulation.world import AFTERMATH_SECONDS, World

WRITES_MIN: Final = 20  # of so many some must succeed
QUORUM: Final = 2  # of three replicas


class Checks:
    """Looks at what lies on the disks, and then at what clients see of it."""

    def __init__(self, world: World, model: Model, clients: Clients) -> None:
        self._world = world
        self._model = model
        self._clients = clients
        self._inventory = CopyInventory(world)
        self._copies: dict[str, list[Copy]] = {}
        self._expiry = Expiry(world, model)
        self.findings = Findings(world)
        self._versions = VersionChecks(self._inventory, model, clients, self.findings)

    def stored(self) -> None:
        """What holds at any time: all that was acknowledged lies on some disk, and nothing newer but what was begun."""
        self._copies = self._inventory.objects()
        for name in sorted(self._model.objects):
            model = self._model.objects[name]
            if is_versioned(name):
                self._versions.stored(model, self._copies)
            else:
                self._stored(model)

    def run(self, daemons: Set[str]) -> None:
        """What holds in the end, as far as these daemons have seen to it."""
        self.stored()
        if len(self._model.writes) > WRITES_MIN and not any(
            write.acknowledged for write in self._model.writes.values()
        ):
            self.findings.wrong("no write was ever acknowledged")
        self._histories()
        for node in self._world.nodes.values():
            for bug in node.bugs:
                self.findings.wrong(f"{node.name} logged: {bug[:2000]}")
        for error in self._world.hub.errors:
            self.findings.wrong(f"a callback failed: {error}")
        if "object-replicator" in daemons:
            self._replicas(audited="object-auditor" in daemons)
            self.findings.containers = self._present()
            for name in sorted(self.findings.objects):
                self._readable(name, self.findings.objects[name])
            self._versions.seen()
            self._clients.composites.check(self.findings)
            self._clients.uploads.check(self.findings)
        if "container-replicator" in daemons:
            Listings(self._world, self._model, self._clients, self.findings, self.stored).run()
            Queues(self._world, self._model, self.findings).run()

    # Objects, as all devices together have them

    def _stored(self, model: ObjectModel) -> None:
        candidates = model.candidates()
        said = ", ".join(str(each) for each in candidates)
        digest = path_digest(str(path_of(model.name))).hex()
        merged = self._merged(model, digest)
        if merged.data is None:
            self.findings.objects[model.name] = None
            if not any(self._expiry.may_be_gone(model, each) for each in candidates):
                self.findings.wrong(f"{model.name} is gone; expected one of {said}")
            return
        stamp = merged.data.timestamp
        data = _written_at(stamp, candidates)
        if data is None and self._is_orphan(model, stamp):
            self.findings.objects[model.name] = None
            return
        if data is None:
            self.findings.wrong(f"{model.name} is of {stamp}; expected one of {said}")
            return
        self.findings.objects[model.name] = data
        found = self._inventory.good_body(digest, merged.data.name, self._copies)
        if found is None:
            self.findings.wrong(f"{model.name}: no copy of {data} is whole")
            return
        metadata, body = found
        if why := self._model.wrote(model.name, body):
            self.findings.wrong(f"{model.name}: {why}")
        headers, content_type = metadata.headers, metadata.content_type
        if merged.meta is not None:
            posted = self._posted(digest, merged.meta.name)
            if posted is None:
                self.findings.wrong(f"{model.name}: no copy of {merged.meta.name} is whole")
                return
            headers = posted.headers
            typed = self._posted(digest, merged.type_meta.name) if merged.type_meta is not None else posted
            if typed is not None and typed.content_type_timestamp > data.timestamp:
                content_type = typed.content_type
        self._metadata(model, data, headers, content_type)

    def _merged(self, model: ObjectModel, digest: str) -> StoredVersions:
        """What the object will be once every device has heard of everything.

        A write that was not acknowledged, of which no copy is whole, will be found out and set aside.
        """
        acknowledged = [write for write in model.writes if write.acknowledged]
        names = {name for copy in self._copies.get(digest, ()) for name in copy.names}
        while True:
            merged = read_versions(names)
            data = merged.data
            if data is None or any(write.is_of(data.timestamp) for write in acknowledged):
                return merged
            if self._inventory.good_body(digest, data.name, self._copies) is not None:
                return merged
            names.discard(data.name)

    def acknowledged(self, write: Write) -> None:
        """A client has just heard that a write is stored: then a quorum of devices must have it, or something newer."""
        if self._world.hub.now - self._world.destroyed_at < AFTERMATH_SECONDS:
            return
        path = str(path_of(write.name))
        copies = self._inventory.copies_of(path)
        # The primaries are those of the ring by which it was written.
        is_steady = self._world.is_undisturbed and EPOCH + self._world.disturbed_at < write.at
        if is_strong(write.name) and is_steady:
            copies = [copy for copy in copies if copy.disk in self._inventory.primaries_of(copy)]
        held = [copy.names for copy in copies]
        # The damage of a copy may have come to light when it had just got the write.
        held += self._inventory.set_aside(path)
        removed = self._removed_meanwhile(write)
        having = sum(any(_has(name, write) or _removes(name, removed) for name in names) for names in held)
        if having < QUORUM:
            self.findings.wrong(f"{write} of {write.name} is on {having} devices only")
        if is_strong(write.name) and is_steady and write.kind is not Kind.POST:
            self._row_is_on_quorum(write)

    def _removed_meanwhile(self, write: Write) -> set[str]:
        """The versions that others removed while one was posted to: removed is removed, whatever the clocks say."""
        if write.kind is not Kind.POST or is_strong(write.name):
            return set()
        others = self._model.objects[write.name].writes
        return {each.removes for each in others if each.removes and each.at > write.at - PATIENCE_SECONDS}

    def _row_is_on_quorum(self, write: Write) -> None:
        """In a strong policy a write is acknowledged when most replicas of its container list it."""
        container, _, name = write.name.partition("/")
        path = str(path_of(container))
        primaries = self._inventory.primaries("container", self._inventory.partition("container", path))
        rows = self._inventory.rows_of(path, name)
        having = [disk for disk in primaries if rows.get(disk) and rows[disk][0] >= write.timestamp]
        if len(having) < QUORUM:
            self.findings.wrong(f"{write} of {write.name} is listed by {len(having)} devices only")

    def _posted(self, digest: str, name: str) -> StoredMetadata | None:
        for copy in self._copies[digest]:
            if name in copy.names and (found := read_metadata(f"{copy.directory}/{name}")):
                return found[0]
        return None

    def _metadata(self, model: ObjectModel, data: Write, headers: dict[str, str], content_type: str) -> None:
        number = int(headers.get("X-Object-Meta-Number", "0"))
        allowed = model.metadata_candidates(data)
        if number not in {each.number for each in allowed}:
            self.findings.wrong(f"{model.name} has metadata of {number}; expected {', '.join(map(str, allowed))}")
        elif why := self._clients.why_foreign(headers):
            self.findings.wrong(f"{model.name}: {why}")
        if content_type not in model.type_candidates(data):
            self.findings.wrong(f"{model.name} has type {content_type}; expected {sorted(model.type_candidates(data))}")

    def _is_orphan(self, model: ObjectModel, stamp: str) -> bool:
        """Whether it was written in a life of its container that is over, and deleted in another, of another policy.

        A late proxy may have dated it before a deletion that came earlier, or nobody was told of it. The container,
        should it come back, deletes it; clients must not see it: see `_readable`.
        """
        newest, *_ = model.candidates()
        container = self._model.containers.get(model.name.partition("/")[0])
        return (
            (newest is None or newest.kind is Kind.DELETE)
            and any(each.is_of(stamp) for each in model.writes)
            and container is not None
            and any(each.kind is Kind.DELETE and each.timestamp > stamp for each in container.writes)
        )

    def _histories(self) -> None:
        """Where the policy is strong, an order explains what clients saw of each object; elsewhere it need not."""
        for name, findings in self._clients.races.histories.check().items():
            wrong = [each for each in findings if each.verdict is Verdict.NOT_LINEARIZABLE]
            self._clients.count(f"segments of {'strong' if is_strong(name) else 'available'} histories", len(findings))
            for finding in wrong:
                if is_strong(name):
                    self.findings.wrong(f"the history of {name} is {finding}")
                else:
                    self._clients.count("without an order", 1)

    # Containers

    def _present(self) -> dict[str, bool]:
        """Which containers are there."""
        found = {}
        for name in sorted(self._model.containers):
            answer = self._clients.send(self._world.proxies[0], CHECK_NUMBER, "HEAD", name, {"X-Newest": "true"})
            status = answer.status if answer is not None else 0
            found[name] = status == 204
            if status not in (204, 404):
                self.findings.wrong(f"HEAD {name} answers {status}")
            else:
                count = int(answer.headers.get("X-Container-Object-Count", "0")) if answer is not None else 0
                self._container(name, found[name], count)
        return found

    def _container(self, name: str, is_there: bool, count: int) -> None:
        """It has to be as its writes say, but one that holds an object stays, and those of a deleted account go."""
        candidates = self._model.container_candidates(name)
        kinds = {each.kind if each is not None else Kind.DELETE for each in candidates}
        dropped = self._model.account_dropped and name.startswith(OTHER_PREFIX)
        if (not is_there and kinds == {Kind.PUT} and not dropped) or (
            is_there and kinds == {Kind.DELETE} and not count
        ):
            wanted = ", ".join(map(str, candidates))
            self.findings.wrong(f"{name} is {'' if is_there else 'not '}there; expected {wanted}")

    # Objects, as clients see them

    def _readable(self, name: str, state: Write | None) -> None:
        model = self._model.objects[name]
        if not self.findings.containers.get(name.partition("/")[0]):
            return
        for headers in ({}, {"X-Newest": "true"}):
            answer = self._clients.send(self._world.proxies[0], CHECK_NUMBER, "GET", name, headers)
            status = answer.status if answer is not None else 0
            if answer is not None and status == 200:
                if state is None or self._expiry.must_be_gone(model, state):
                    self.findings.wrong(f"GET {name} finds it; it is gone: {state}")
                self._clients.judge_content(name, answer)
                if state is not None and not state.copied_from and answer.headers["Etag"] != state.etag:
                    self.findings.wrong(f"GET {name} answers with something else than {state}")
            elif status != 404 or (state is not None and not self._expiry.may_be_gone(model, state)):
                self.findings.wrong(f"GET {name} answers {status}; it is {state}")

    # Replicas

    def _replicas(self, audited: bool) -> None:
        apart: dict[tuple[str, str], list[Copy]] = {}
        for digest, everywhere in sorted(self._copies.items()):
            for copy in everywhere:
                apart.setdefault((digest, copy.kind), []).append(copy)
        for (digest, _), copies in apart.items():
            partition = int(copies[0].partition)
            primaries = self._inventory.primaries(copies[0].kind, partition)
            for copy in copies:
                if copy.disk not in primaries and copy.names:
                    self.findings.wrong(f"{copy.disk} still has {digest} {copy.names} as a handoff")
                if set(copy.names) != set(copy.wanted):
                    self.findings.wrong(f"{copy.disk} keeps obsolete files of {digest}: {copy.names}")
            held = {copy.disk: copy for copy in copies if copy.disk in primaries}
            live = {each.version for copy in held.values() for each in copy.versions.versions if each.lives}
            shown = {disk: held[disk].wanted if disk in held else () for disk in primaries}
            names = {_of_lines(wanted, live) for wanted in shown.values()}
            others = {name for wanted in shown.values() for name in wanted if name not in _of_lines(wanted, live)}
            if len(names) > 1 or not self._only_traces(others):
                self.findings.wrong(f"replicas of {digest} differ: {shown}")
            elif audited:
                self._same_bytes(digest, list(held.values()))

    def _only_traces(self, names: set[str]) -> bool:
        # Tombstones, and metadata of a clock that was ahead, are forgotten by each node in its own time.
        return all(name.endswith((".ts", ".meta")) for name in names)

    def _same_bytes(self, digest: str, copies: list[Copy]) -> None:
        for name in copies[0].wanted if copies else ():
            contents = set()
            for copy in copies:
                path = f"{copy.directory}/{name}"
                if os.path.exists(path):
                    with open(path, "rb") as file:
                        contents.add((file.read(), os.getxattr(path, ATTRIBUTE)))
            if len(contents) > 1:
                self.findings.wrong(f"replicas of {digest} have different bytes in {name}")


def _has(name: str, write: Write) -> bool:
    """Whether a file is of the write, or of something newer; one of a kept version has to be of that."""
    file = read_name(name)
    if file is None:
        return False
    if write.removes:  # of several removals of a version the newest stays
        return file.kind == "removal" and file.version == write.removes and file.timestamp >= write.timestamp
    if write.mode == "keep":  # removed by now, perhaps
        if write.restores:
            return file.version == write.restores and (file.kind == "removal" or file.timestamp >= write.timestamp)
        return file.kind != "meta" and bool(file.version) and write.is_of(file.version)
    return file.timestamp >= write.timestamp


def _removes(name: str, versions: set[str]) -> bool:
    """Whether a file says that one of these versions is removed."""
    file = read_name(name)
    return file is not None and file.kind == "removal" and file.version in versions


def _of_lines(names: tuple[str, ...], versions: set[str]) -> tuple[str, ...]:
    """The files of these versions, or of no known form."""
    return tuple(name for name in names if (file := read_name(name)) is None or file.version in versions)


def _written_at(stamp: str, candidates: list[Write | None]) -> Write | None:
    """Which write a version is of."""
    puts = [each for each in candidates if each is not None and each.kind is Kind.PUT]
    return next((each for each in puts if each.is_of(stamp)), None)
