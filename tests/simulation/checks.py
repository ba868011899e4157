"""What must hold once the faults have stopped and the daemons have had their time."""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import replace
from typing import Final

from tests.linearizability import Verdict
from tests.simulation.clients import Clients
from tests.simulation.copy_inventory import Copy, CopyInventory
from tests.simulation.expiry import Expiry
from tests.simulation.findings import Findings
from tests.simulation.listings import Listings
from tests.simulation.model import Kind, Model, ObjectModel, Write
from tests.simulation.plan import CHECK_NUMBER, is_strong, is_versioned
from tests.simulation.queues import Queues
from tests.simulation.services import OTHER_PREFIX, path_of
from tests.simulation.stored_forms import (
    ATTRIBUTE,
    WHOLE,
    StoredMetadata,
    StoredVersions,
    path_digest,
    read_data,
    read_metadata,
    read_name,
    read_versions,
    shared_name,
    whole_name,
)
from tests.simulation.stored_fragments import StoredCode
from tests.simulation.version_checks import VersionChecks
from tests.simulation.world import STRONG_KINDS, World

WRITES_MIN: Final = 20  # of so many some must succeed


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

        A write that was not acknowledged, of which no copy is whole, will be found out and set aside; not one of which
        somebody has known that enough fragments are stored.
        """
        acknowledged = [write for write in model.writes if write.acknowledged]
        names = self._inventory.names_together(self._copies.get(digest, ()))
        while True:
            merged = read_versions(names)
            data = merged.data
            if data is None or any(write.is_of(data.timestamp) for write in acknowledged):
                return merged
            if self._inventory.good_body(digest, data.name, self._copies) is not None:
                return merged
            if self._inventory.is_committed(digest, data.name, self._copies):
                return merged
            names.discard(data.name)

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
                if copy.disk not in primaries and _decided(copy, copy.names):
                    self.findings.wrong(f"{copy.disk} still has {digest} {copy.names} as a handoff")
                if set(copy.names) != set(copy.wanted):
                    self.findings.wrong(f"{copy.disk} keeps obsolete files of {digest}: {copy.names}")
            held = {copy.disk: copy for copy in copies if copy.disk in primaries}
            live = {each.version for copy in held.values() for each in copy.versions.versions if each.lives}
            shown = {
                disk: _alike(_decided(held[disk], held[disk].wanted)) if disk in held else () for disk in primaries
            }
            names = {_of_lines(wanted, live) for wanted in shown.values()}
            others = {name for wanted in shown.values() for name in wanted if name not in _of_lines(wanted, live)}
            if len(names) > 1 or not self._only_traces(others):
                self.findings.wrong(f"replicas of {digest} differ: {shown}")
            elif audited:
                self._same_bytes(digest, list(held.values()))
                self._fragments(digest, primaries, held)

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

    def _fragments(self, digest: str, primaries: list[str], held: dict[str, Copy]) -> None:
        """Each primary has its own fragment of every object, as it was made, and nothing is pending."""
        for number, disk in enumerate(primaries):
            for file in map(read_name, _decided(held[disk], held[disk].names) if disk in held else ()):
                if file is None or file.fragment == WHOLE:
                    continue
                found = read_data(f"{held[disk].directory}/{file.name}")
                good = self._inventory.good_body(digest, whole_name(file.name), self._copies)
                if file.fragment != number or file.pending:
                    self.findings.wrong(f"{disk} is to have fragment {number} of {digest}, and has {file.name}")
                elif found is None or good is None:
                    self.findings.wrong(f"{disk} has {file.name} of {digest}, which is damaged")
                elif found[1] != StoredCode.of((found[0].fragment or {})["code"]).fragment(good[1], number):
                    self.findings.wrong(f"{disk} has another fragment than it should, {file.name} of {digest}")
                elif _but_for_number(found[0]) != _but_for_number(good[0]):
                    self.findings.wrong(f"{disk} has other metadata than others with {file.name} of {digest}")


def _decided(copy: Copy, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names without those of fragments that wait: where handoffs count, so long as tombstones are kept."""
    if copy.kind in STRONG_KINDS:
        return names
    return tuple(name for name in names if (file := read_name(name)) is None or not file.pending)


def _alike(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names as primaries have them alike: fragments without their numbers."""
    return tuple(sorted(map(shared_name, names)))


def _but_for_number(metadata: StoredMetadata) -> StoredMetadata:
    return replace(metadata, checksum="", fragment={**(metadata.fragment or {}), "index": 0})


def _of_lines(names: tuple[str, ...], versions: set[str]) -> tuple[str, ...]:
    """The files of these versions, or of no known form."""
    return tuple(name for name in names if (file := read_name(name)) is None or file.version in versions)


def _written_at(stamp: str, candidates: list[Write | None]) -> Write | None:
    """Which write a version is of."""
    puts = [each for each in candidates if each is not None and each.kind is Kind.PUT]
    return next((each for each in puts if each.is_of(stamp)), None)
