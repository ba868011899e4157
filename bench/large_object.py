"""Memory of a store while one large object goes up and comes down, and whether it comes back as it was.

python -m objstore.bench.large_object PID [GIBIBYTES] [AUTH_URL] -- PID is the process of `objstore up`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import threading
from typing import Final, Self

from objstore.bench.endpoint import BLOCK, Endpoint, ProcessTree, Run

AUTH_URL: Final = "http://127.0.0.1:8080/auth/v1.0"
WARM_MEBIBYTES: Final = 64
SAMPLE_SECONDS: Final = 0.1
GROWTH_MAX: Final = 32 * 1024 * 1024


class MemoryWatch:
    """The most that each process has grown since the watch began, looked at ten times a second."""

    def __init__(self, processes: ProcessTree) -> None:
        self._processes = processes
        self._before = processes.resident_bytes()
        self._peaks = dict(self._before)
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            for process_id, resident in self._processes.resident_bytes().items():
                self._peaks[process_id] = max(resident, self._peaks.get(process_id, 0))

    @property
    def growth(self) -> int:
        """That of the process that grew most, in bytes."""
        return max(peak - self._before.get(process_id, 0) for process_id, peak in self._peaks.items())

    def table(self) -> str:
        """A line for each process: before, at most, now; in MiB."""
        now = self._processes.resident_bytes()
        return "\n".join(
            f"  process {process_id}: {self._before.get(process_id, 0) / 2**20:.1f} MiB before, "
            f"at most {peak / 2**20:.1f}, now {now.get(process_id, 0) / 2**20:.1f}"
            for process_id, peak in self._peaks.items()
        )


def main() -> None:
    """Print speed and growth; exit status 1 if a process grew by 32 MiB, or the object is not what it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pid", type=int)
    parser.add_argument("gibibytes", type=float, nargs="?", default=5.0)
    parser.add_argument("auth_url", nargs="?", default=AUTH_URL)
    chosen = parser.parse_args()
    processes, mebibytes = ProcessTree([chosen.pid]), round(chosen.gibibytes * 1024)
    endpoint = Endpoint(chosen.auth_url, "test:tester", "testing")
    endpoint.request("PUT", "/large")
    for _ in range(4 * len(processes.process_ids())):  # each worker gets a connection, and takes what it needs once
        endpoint.upload("/large/warm", WARM_MEBIBYTES)
        endpoint.download("/large/warm")
    expected = hashlib.md5(usedforsecurity=False)
    for _ in range(mebibytes):
        expected.update(BLOCK)
    came = hashlib.md5(usedforsecurity=False)
    with MemoryWatch(processes) as watch:
        runs = [_show("up", endpoint.upload("/large/object", mebibytes))]
        runs.append(_show("down", endpoint.download("/large/object")))
        runs.append(_show("down, hashed by the client", endpoint.download("/large/object", came.update)))
    with endpoint.send("HEAD", "/large/object") as response:
        etag = response.headers.get("etag", "")
    same = etag == expected.hexdigest() == came.hexdigest()
    print(watch.table())
    print(f"grew by {watch.growth / 2**20:.1f} MiB; ETag {etag} is {'' if same else 'NOT '}that of what went and came")
    for name in ("warm", "object"):
        endpoint.request("DELETE", f"/large/{name}")
    sys.exit(int(watch.growth >= GROWTH_MAX or not same or any(run.refused for run in runs)))


def _show(name: str, run: Run) -> Run:
    print(f"{name:<27} {run.rate:7.1f} MB/s  {'REFUSED' if run.refused else 'ok'}", flush=True)
    return run


if __name__ == "__main__":
    main()
