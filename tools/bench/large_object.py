"""Memory of a store while one large object goes up and comes down.

python -m objstore.tools.bench.large_object PID [GIBIBYTES] -- PID is the process of `objstore up`.
"""

from __future__ import annotations

import sys
from typing import Final

from objstore.tools.bench.endpoint import Endpoint, Run
from objstore.tools.bench.usage import ProcessTree

AUTH_URL: Final = "http://127.0.0.1:8080/auth/v1.0"
WARM_MEBIBYTES: Final = 64


def main() -> None:
    """Print speed and growth; exit status 1 if the processes grew by 32 MiB or more."""
    processes = ProcessTree([int(sys.argv[1])])
    gibibytes = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    endpoint = Endpoint(AUTH_URL, "test:tester", "testing")
    endpoint.request("PUT", "/large")
    endpoint.upload("/large/warm", WARM_MEBIBYTES)
    endpoint.download("/large/warm")
    before = processes.resident_bytes()
    growth = [_step("up", endpoint.upload("/large/object", gibibytes * 1024), processes.resident_bytes() - before)]
    growth.append(_step("down", endpoint.download("/large/object"), processes.resident_bytes() - before))
    for name in ("warm", "object"):
        endpoint.request("DELETE", f"/large/{name}")
    sys.exit(int(max(growth) >= 32 * 1024 * 1024))


def _step(name: str, run: Run, growth: int) -> int:
    verdict = "FAILED" if run.refused else "ok"
    print(f"{name:<5} {run.rate:7.1f} MB/s  {verdict}  resident memory grew by {growth / 2**20:.1f} MiB", flush=True)
    return growth


if __name__ == "__main__":
    main()
