"""What a plain request costs in Python calls and in files of our code: `python -m tests.request_cost`.

A whole store runs in this process: the proxy calls the storage servers' applications, with three replicas and no
network. Calls are those of Python functions of the store, in every greenlet and thread, of the median request.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from objstore.config.units import Address
from objstore.system import concurrency
from objstore.tools.store_folder import AskedShape, StoreFolder
from objstore.tools.whole_store import WholeStore

ROOT: Final = os.path.dirname(os.path.dirname(os.path.realpath(concurrency.__file__))).removesuffix("/objstore")
BODY: Final = b"x" * 4096
WARM_UP: Final = 50  # requests after which caches are full and files open
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class CallCounter:
    """Counts the calls of functions of the store, by their code."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.active = False

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and self.active:
            self.calls[frame.f_code] += 1

    def install(self) -> None:
        """From now on, for the threads that start later too; a greenlet takes the profiler of its thread."""
        threading.setprofile(self)
        sys.setprofile(self)

    def measure(self, action: Callable[[], None]) -> Counter[str]:
        """Calls by file of the store during an action."""
        self.calls.clear()
        self.active = True
        try:
            action()
            concurrency.sleep()  # what a request leaves to be done is part of its cost
        finally:
            self.active = False
        files: Counter[str] = Counter()
        for code, count in self.calls.items():
            path = os.path.realpath(code.co_filename)
            if (
                not code.co_filename.startswith("<")
                and path.startswith(f"{ROOT}/")
                and "/.venv/" not in path
                and not path.startswith(f"{ROOT}/tests/")
            ):
                files[path.removeprefix(f"{ROOT}/")] += count
        return files


class Requests:
    """Sends requests to an application, as a server would."""

    def __init__(self, application: Application) -> None:
        self._application = application
        status, headers = self.send("GET", "/auth/v1.0", HTTP_X_AUTH_USER="test:tester", HTTP_X_AUTH_KEY="testing")
        assert status == 200, status
        self._token = headers["X-Auth-Token"]

    def send(self, method: str, path: str, body: bytes = b"", **variables: str) -> tuple[int, dict[str, str]]:
        """The status and the headers; the body is read to its end."""
        from objstore.http.bodies import BytesBody

        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "127.0.0.1:8080",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesBody(body),
            **variables,
        }
        if method in ("PUT", "POST"):
            environ["CONTENT_LENGTH"] = str(len(body))
        seen: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], *_error: object) -> None:
            seen.update(status=int(status[:3]), headers=dict(headers))

        result = self._application(environ, start_response)
        for _ in result:
            pass
        if hasattr(result, "close"):
            result.close()
        return seen["status"], seen["headers"]

    def expect(self, wanted: int, method: str, path: str, body: bytes = b"") -> None:
        """A request of the user, which must have this status."""
        status, _ = self.send(method, f"/v1/AUTH_test/{path}", body, HTTP_X_AUTH_TOKEN=self._token)
        assert status == wanted, f"{method} {path}: {status}"


def make_application(folder: Path) -> Application:
    """The proxy of a new store in this process."""
    folder.mkdir()
    store_folder = StoreFolder(folder)
    store_folder.prepare(AskedShape(4, 3), loopback=True)
    store = WholeStore(store_folder, Address("127.0.0.1", 0), loopback=True)
    # Its one public method that makes something; older code, where it has another name, is measured, too.
    apps = next(getattr(store, name) for name in dir(store) if name.startswith("make_"))()
    application: Application = apps.public
    return application


def median(samples: list[Counter[str]]) -> Counter[str]:
    """The sample with the median of calls."""
    middle = statistics.median_low(sample.total() for sample in samples)
    return next(sample for sample in samples if sample.total() == middle)


def report(name: str, files: Counter[str], each_file: bool) -> None:
    """Print the calls and files of a request, in all and by tier."""
    tiers: dict[str, list[int]] = {}
    for path, count in files.items():
        tiers.setdefault(path.partition("/")[0], []).append(count)
    print(f"{name}: {files.total()} Python calls in {len(files)} files")
    for tier, counts in sorted(tiers.items()):
        print(f"    {tier:10} {sum(counts):5} calls in {len(counts):3} files")
    for path, count in files.most_common() if each_file else ():
        print(f"      {count:5} {path}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.request_cost", description=__doc__)
    parser.add_argument("--count", type=int, default=21, help="requests of each kind that are measured")
    parser.add_argument("--files", action="store_true", help="the calls of each file, too")
    chosen = parser.parse_args()
    counter = CallCounter()
    counter.install()
    with tempfile.TemporaryDirectory() as folder:
        requests = Requests(make_application(Path(folder) / "data"))
        requests.expect(201, "PUT", "c")

        def put(number: int) -> Callable[[], None]:
            return lambda: requests.expect(201, "PUT", f"c/o{number}", BODY)

        def get(number: int) -> Callable[[], None]:
            return lambda: requests.expect(200, "GET", f"c/o{number}")

        total = WARM_UP + chosen.count
        for name, action in (("PUT of 4 KiB", put), ("GET of 4 KiB", get)):
            samples = [counter.measure(action(number)) for number in range(total)][WARM_UP:]
            report(name, median(samples), chosen.files)
    sys.setprofile(None)
    threading.setprofile(None)  # type: ignore[arg-type]
    sys.stdout.flush()
    os._exit(0)  # the store's threads wait for ever


if __name__ == "__main__":
    sys.exit(main())
