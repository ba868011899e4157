"""Finds devices on which nearly every object is damaged in the same way, and takes them out of service.

Such a device is not worn out: it was copied by a program that drops extended attributes, or belongs to a store with
other secrets. Its server answers 507 for it, as for a disk that is not mounted. Once most objects are sound, or the
device is empty, it is in service again.
"""

from __future__ import annotations

from typing import Final

from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.mounts import OutOfService, out_of_service, out_of_service_file, take_out_of_service
from objstore.object.engine import BAD_DEVICE_HINT, DEVICE_CHECK, DeviceSample, StorageEngine
from objstore.paths import ResourcePath
from objstore.ring.daemon_context import DaemonContext
from objstore.system import files

CHECK_SECONDS: Final = 300.0


class DeviceCheck:
    """A worker: each step looks at some objects of each device."""

    name: str = DEVICE_CHECK

    def __init__(self, context: DaemonContext, engine: StorageEngine) -> None:
        self._context = context
        self._runtime = context.runtime
        self._engine = engine
        self._report = PassReport(DEVICE_CHECK, context.recon, context.runtime, "devices")

    def step(self) -> Step:
        self._report.begin()
        for device in sorted(files.list_directory(self._context.devices.root)):
            if device.startswith("."):
                continue
            try:
                self._report.count(self._check(device))
            except OSError as error:  # of a disk that fails: that is drive-audit's
                self._report.count("failed")
                self._runtime.log.error("device cannot be checked", device=device, error=str(error))
        self._report.end()
        return Step.IDLE

    def _check(self, device: str) -> str:
        """What became of a device, in a word for the metrics. Raises OSError."""
        devices, log = self._context.devices, self._runtime.log
        mark = out_of_service(devices.root, device)
        if not devices.is_present(device) or (mark is not None and mark.by != DEVICE_CHECK):
            return "away"
        found = self._sample(f"{devices.root}/{device}")
        if mark is None and found.is_bad:
            mark = OutOfService(self._runtime.clock.now(), (found.reason,), DEVICE_CHECK)
            if take_out_of_service(devices.root, device, mark):
                log.error("device taken out of service", device=device, reason=found.reason, hint=BAD_DEVICE_HINT)
        elif mark is not None and found.is_good:
            files.unlink_quietly(out_of_service_file(devices.root, device))
            log.warning("device is in service again", device=device)
            mark = None
        if mark is None:
            return "sound"
        self._engine.close(f"{devices.root}/{device}")
        return "out_of_service"

    def _sample(self, path: str) -> DeviceSample:
        """Of all policies, the worst."""
        storage, cluster = self._engine.device(path), self._context.cluster

        def hash_of(name: str) -> str:
            return cluster.hasher.hexdigest(ResourcePath.parse(name))

        samples = [storage.sample(policy, hash_of) for policy in cluster.policies]
        return max(samples, key=lambda sample: (sample.is_bad, sample.damaged))
