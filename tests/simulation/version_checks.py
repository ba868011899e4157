"""What must hold of objects with versions: none is lost, none comes back once removed, and listings show just these."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tests.simulation.clients import Clients
from tests.simulation.copy_inventory import Copy, CopyInventory
from tests.simulation.findings import Findings
from tests.simulation.model import Kind, Model, ObjectModel, Write
from tests.simulation.plan import CHECK_NUMBER, VERSIONED
from tests.simulation.services import path_of
from tests.simulation.stored_forms import StoredVersion, StoredVersions, path_digest, read_versions, stamp_of_id

DELETED_TYPE: Final = "application/x-deleted;swift_versions_deleted=1"
Copies = dict[str, list[Copy]]


class VersionChecks:
    """Looks at the versions of all objects in containers that keep them."""

    def __init__(self, inventory: CopyInventory, model: Model, clients: Clients, findings: Findings) -> None:
        self._inventory = inventory
        self._model = model
        self._clients = clients
        self._findings = findings
        self._live: dict[str, dict[str, Write]] = {}  # by object and timestamp, "" of the plain line

    def stored(self, model: ObjectModel, copies: Copies) -> None:
        """What holds at any time of what all devices together have of an object."""
        digest = path_digest(str(path_of(model.name))).hex()
        merged = self._merged(model, digest, copies)
        live = {each.version: each for each in merged.versions if each.lives}
        found = self._live[model.name] = {}
        for version, stored in live.items():
            write = self._write_of(model, stored)
            if write is None:
                self._findings.wrong(f"{model.name} has a version {version or 'null'} of {stored.written_at} of nobody")
            else:
                found[version] = write
                self._whole(model, write, stored, digest, copies)
        for write in model.kept():
            self._kept(model, write, [each for version, each in live.items() if version and write.is_of(version)])
        candidates = model.candidates()
        if "" not in live and not any(each is None or each.kind is Kind.DELETE for each in candidates):
            said = ", ".join(map(str, candidates))
            self._findings.wrong(f"the plain version of {model.name} is gone; expected one of {said}")
        current = found.get(merged.current.version) if merged.current.data is not None else None
        self._findings.objects[model.name] = current

    def _write_of(self, model: ObjectModel, stored: StoredVersion) -> Write | None:
        """Which write a version is of that lives."""
        possible = model.kept() if stored.version else [each for each in model.candidates() if each is not None]
        kind = Kind.PUT if stored.data is not None else Kind.DELETE
        stamp = stored.version or stored.written_at
        return next((each for each in possible if each.kind is kind and each.is_of(stamp)), None)

    def _kept(self, model: ObjectModel, write: Write, lives: list[StoredVersion]) -> None:
        removals = model.removals_of(write)
        if any(each.written_at < model.restored_since(write) for each in lives):
            self._findings.wrong(f"version {write} of {model.name} is not what is current since it was restored")
        if lives and any(each.acknowledged for each in removals):
            self._findings.wrong(f"version {write} of {model.name} is back: it was removed by {removals[0]}")
        if not lives and write.acknowledged and not removals:
            self._findings.wrong(f"version {write} of {model.name} is gone")

    def _whole(self, model: ObjectModel, write: Write, stored: StoredVersion, digest: str, copies: Copies) -> None:
        if stored.data is None:
            return
        body = self._inventory.good_body(digest, stored.data.name, copies)
        if body is None:
            self._findings.wrong(f"no copy of version {write} of {model.name} is whole")
        elif why := self._model.wrote(model.name, body[1]):
            self._findings.wrong(f"version {write} of {model.name}: {why}")
        elif not write.copied_from and body[0].etag != write.etag:
            self._findings.wrong(f"version {write} of {model.name} has the content of another one")

    def _merged(self, model: ObjectModel, digest: str, copies: Copies) -> StoredVersions:
        """What there will be once every device has heard of everything, and has set aside what is damaged."""
        names = self._inventory.names_together(copies.get(digest, ()))
        acknowledged = [write for write in model.writes if write.acknowledged]
        while True:
            merged = read_versions(names)
            damaged = {
                each.data.name
                for each in merged.versions
                if each.data is not None
                and not any(write.is_of(each.data.timestamp) for write in acknowledged)
                and self._inventory.good_body(digest, each.data.name, copies) is None
                and not self._inventory.is_committed(digest, each.data.name, copies)
            }
            if not damaged:
                return merged
            names -= damaged

    # In the end, as clients see it

    def seen(self) -> None:
        """Every version is read and listed, and nothing else is."""
        for identifier, write in self._clients.versioned.known():
            self._readable(identifier, write)
        for container in VERSIONED:
            if self._findings.containers.get(container):
                self._listed(container)

    def _readable(self, identifier: str, write: Write) -> None:
        live = self._live.get(write.name, {}).values()
        query = f"version-id={identifier}"
        answer = self._clients.send(
            self._clients.world.proxies[0], CHECK_NUMBER, "GET", write.name, {"X-Newest": "true"}, query=query
        )
        status = answer.status if answer is not None else 0
        wanted = 200 if write in live and write.kind is Kind.PUT else 404
        if status != wanted:
            self._findings.wrong(f"GET of version {write} of {write.name} answers {status}, not {wanted}")
        elif answer is not None and status == 200:
            self._clients.versioned.judge(write, answer)

    def _listed(self, container: str) -> None:
        answer = self._clients.send(
            self._clients.world.proxies[0],
            CHECK_NUMBER,
            "GET",
            container,
            {"X-Newest": "true"},
            query="versions&format=json",
        )
        if answer is None or answer.status != 200:
            self._findings.wrong(f"versions of {container}: {answer.status if answer else 'no answer'}")
            return
        rows: list[dict[str, Any]] = msgspec.json.decode(answer.body)
        listed = {(f"{container}/{row['name']}", _version(row)): row for row in rows}
        for model in self._model.of_container(container):
            live = self._live.get(model.name, {})
            for version, write in live.items():
                is_shown = version != "" or write.kind is Kind.PUT
                row = listed.pop((model.name, version), None)
                if is_shown and write.acknowledged and not _shows(row, write):
                    self._findings.wrong(f"{container} lists version {write} of {model.name} as {row}")
        for (name, version), row in listed.items():
            if not self._may_differ(name, version):
                self._findings.wrong(f"{container} lists a version of {name} that is not there: {row}")
        size = sum(row["bytes"] for row in rows)
        if answer.headers["X-Container-Bytes-Used"] != str(size):
            self._findings.wrong(f"{container} uses {answer.headers['X-Container-Bytes-Used']}, its versions {size}")

    def _may_differ(self, name: str, version: str) -> bool:
        """Whether nobody knows the outcome of what wrote or removed a version: then a listing need not know it."""
        model = self._model.objects.get(name)
        if model is None:
            return False
        if not version:
            return len(model.candidates()) > 1
        writes = [each for each in model.kept() if each.is_of(version)]
        changes = [*writes, *(removal for each in writes for removal in model.removals_of(each))]
        return bool(writes) and not all(each.acknowledged for each in changes)


def _version(row: dict[str, Any]) -> str:
    return "" if row["version_id"] == "null" else stamp_of_id(row["version_id"])


def _shows(row: dict[str, Any] | None, write: Write) -> bool:
    """Whether a row, or none, is what a container lists of a version."""
    if row is None:
        return False
    if write.kind is Kind.DELETE:
        return bool(row["content_type"] == DELETED_TYPE)
    return row["content_type"] != DELETED_TYPE and (bool(write.copied_from) or row["hash"] == write.etag)
