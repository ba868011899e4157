"""Three nodes with all their servers, a proxy's core in front of them, and uploads made through it."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any, cast

from objstore.config.container import PartReclaimerConfig
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.container.reclaimer import TURN_SECONDS, PartReclaimer
from objstore.daemon import run_once
from objstore.http.bodies import BytesBody
from objstore.object.engine import make_engine
from objstore.object.metadata import ATTRIBUTE, ObjectMetadata, decode
from objstore.object.replication.replicator import ObjectReplicator
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import PartSource, open_composite
from objstore.proxy.core.containers import GetContainer, PutContainer, WriteContainer
from objstore.proxy.core.context import make_context
from objstore.proxy.core.errors import CoreError
from objstore.proxy.core.info import StoredMetadata
from objstore.proxy.core.listing import ListingQuery, whole
from objstore.proxy.core.manifest import UPLOAD, is_composite
from objstore.proxy.core.objects import DeleteObject, GetObject, PutObject
from objstore.proxy.core.upload_commands import BeginUpload, ChosenPart, CompleteUpload, PutPart, UploadRecord
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from objstore.uploads import UploadName, hidden_container
from tests.unit.objstore.db.replicas import PATH, Replicas

KEY = PATH.with_object("folder/key")
HIDDEN = hidden_container(PATH)
DELAY_SECONDS = 600.0
CONFIG = PartReclaimerConfig(delay=DELAY_SECONDS, databases_per_second=0, sweep_interval=7 * 86_400.0)


class NoCache:
    """Remembers nothing, so the proxy asks each time."""

    def get(self, key: str, kind: type[object]) -> None:
        return None

    def generation(self, key: str) -> int:
        return 0

    def set(self, key: str, value: object, seconds: float, generation: int) -> None:
        pass

    def invalidate(self, key: str) -> None:
        pass


class Store:
    """The container PATH on three nodes, and what a client does there."""

    def __init__(self, folder: Path) -> None:
        self.replicas = Replicas(folder, 3)
        runtime = Runtime(log=self.replicas[1].runtime.log, clock=self.replicas.clock, random=Random(7))
        rings = cast(Rings, self.replicas[1].rings)
        self.context = make_context(
            ProxyConfig(), self.replicas.cluster, rings, self.replicas.transport, runtime, cast(Any, NoCache())
        )
        for number in (1, 2, 3):
            self.replicas[number].request("PUT", -100, path=ResourcePath("a"))
        self.context.containers.put(PutContainer(PATH, self.now()))
        self.interval = 0

    def now(self) -> Any:
        return self.replicas.clock.timestamp()

    def begin(self, path: ResourcePath = KEY) -> str:
        return self.context.uploads.begin(BeginUpload(path, 0, UploadRecord("text/plain")))

    def put_part(self, upload: str, number: int, content: bytes, path: ResourcePath = KEY) -> ChosenPart:
        command = PutPart(path, upload, number, BytesBody(content), len(content), 1 << 20)
        return ChosenPart(number, self.context.uploads.put_part(command).etag)

    def complete(self, upload: str, *parts: ChosenPart, path: ResourcePath = KEY, **more: Any) -> Any:
        return self.context.uploads.complete(CompleteUpload(path, 0, upload, parts, 1, **more))

    def abort(self, upload: str, path: ResourcePath = KEY) -> None:
        self.context.uploads.abort(path, upload, "")

    def uploaded(self, *contents: bytes, path: ResourcePath = KEY, **more: Any) -> Any:
        upload = self.begin(path)
        parts = [self.put_part(upload, number, content, path) for number, content in enumerate(contents, 1)]
        return self.complete(upload, *parts, path=path, **more)

    def put(self, content: bytes, path: ResourcePath = KEY, record_of: str = "", version_mode: str = "") -> None:
        metadata = StoredMetadata(system={UPLOAD: record_of} if record_of else {})
        size = len(content)
        self.context.objects.put(
            PutObject(
                path, 0, self.now(), BytesBody(content), size, size, "text/plain", metadata, version_mode=version_mode
            )
        )

    def record_of(self, upload: str) -> ResourcePath:
        return HIDDEN.with_object(UploadName(KEY.object, upload).record)

    def record_content(self, upload: str) -> bytes:
        return whole(self.context.objects.open(GetObject(self.record_of(upload), 0)).body)

    def delete(self, path: ResourcePath = KEY, **more: Any) -> None:
        self.context.objects.delete(DeleteObject(path, 0, self.now(), **more))

    def read(self, version: str = "", path: ResourcePath = KEY) -> bytes:
        """The content of an object made of parts."""
        command = GetObject(path, 0, version=version)
        opened = self.context.objects.open(command)
        source = PartSource(self.context.objects, self.context.lookup, "")
        return whole(open_composite(command, opened, source).body)

    def is_plain(self, path: ResourcePath = KEY) -> bool:
        """Whether the object is one of its own bytes."""
        return not is_composite(self.context.objects.head(GetObject(path, 0)))

    def hidden(self, container: ResourcePath = HIDDEN) -> list[str]:
        """What is listed there."""
        try:
            return [each.name for each in self.context.containers.list(GetContainer(container, ListingQuery()))]  # type: ignore[union-attr]
        except CoreError:
            return []

    def delete_container(self) -> None:
        self.context.containers.delete(WriteContainer(PATH, self.now()))

    def files(self) -> list[str]:
        """The data of objects on all nodes."""
        return sorted(str(path) for path in self.replicas.folder.glob("node*/sda/objects*/*/*/*/*.data"))

    def name_in(self, file: str) -> str:
        """The path of the object whose data a file holds."""
        found = decode(ObjectMetadata, os.getxattr(file, ATTRIBUTE))
        assert isinstance(found, ObjectMetadata)
        return found.name

    def forget_notes(self) -> None:
        for path in (PATH, HIDDEN):
            for number in (1, 2, 3):
                with self.replicas[number].opened(path) as database:
                    database.write(lambda connection: connection.execute("DELETE FROM orphan"))

    def notes(self) -> list[tuple[Any, ...]]:
        """Of all databases of all nodes."""
        found = []
        for path in (PATH, HIDDEN):
            for number in (1, 2, 3):
                try:
                    with self.replicas[number].opened(path) as database:
                        found += database.read(lambda connection: connection.execute("SELECT * FROM orphan").fetchall())
                except Exception:
                    continue
        return found

    def reclaim(self, *numbers: int, after: float = DELAY_SECONDS + 3 * TURN_SECONDS, sweeps: bool = False) -> Any:
        """A pass of each node's reclaimer, so much later; what all of them counted."""
        self.replicas.clock.seconds += after
        total: dict[str, int] = {}
        for number in numbers or (1, 2, 3):
            worker = PartReclaimer(CONFIG, self.replicas[number].context, 3.0)
            if not sweeps:
                worker._swept = int(self.replicas.clock.now() // CONFIG.sweep_interval)
            run_once(worker)
            for outcome, count in self.replicas[number].recon.read("part-reclaimer")["counts"].items():
                total[outcome] = total.get(outcome, 0) + count
        return total

    def replicate(self) -> None:
        """A pass of each replicator, of containers and of objects."""
        self.replicas.replicate()
        for number in (1, 2, 3):
            context = self.replicas[number].context
            engine = make_engine("file", context.runtime, 0)
            run_once(ObjectReplicator(ObjectConfig().replicator, context, engine, lambda *_: True))

    def sweep(self) -> Any:
        """Passes in which each primary has its turn to sweep."""
        totals = []
        for _ in range(3):
            totals.append(self.reclaim(after=CONFIG.sweep_interval, sweeps=True))
        return totals
