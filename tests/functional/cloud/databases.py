"""PostgreSQL and MariaDB servers in a folder of a test, which end with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.functional.conftest import installed
from tests.functional.servers import free_port
from tests.waiting import wait_until

NAME = "objstore"


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    data, port = folder / "pg", free_port()
    _run(["initdb", "-D", str(data), "-U", NAME, "--auth=trust", "--no-sync"], folder, "postgres")
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(folder)]
    with _server(["postgres", "-D", str(data), "-p", str(port), *options], folder, "postgres"):
        create = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", NAME, "-c", f"CREATE DATABASE {NAME}", "postgres"]
        _until(create, folder)
        yield f"postgresql+psycopg://{NAME}@127.0.0.1:{port}/{NAME}"


@contextmanager
def mariadb(folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    data, port, socket = folder / "maria", free_port(), folder / "maria.sock"
    _run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"],
        folder,
        "mysql",
    )
    options = [f"--datadir={data}", f"--port={port}", f"--socket={socket}", "--bind-address=127.0.0.1"]
    with _server(["mariadbd", "--no-defaults", *options, "--innodb-flush-log-at-trx-commit=0"], folder, "mysql"):
        _until(["mariadb", f"--socket={socket}", "-u", "root", "-e", f"CREATE DATABASE {NAME}"], folder)
        yield f"mysql+pymysql://root@127.0.0.1:{port}/{NAME}"


def _as(user: str, command: list[str], folder: Path) -> list[str]:
    """As another user, where root must not do it; "" is whoever runs the tests."""
    program = _beside_postgres(command[0]) or installed(command[0])
    if os.geteuid() != 0 or not user:
        return [program, *command[1:]]
    for each in (folder, *folder.parents):
        if each.stat().st_mode & 0o005 != 0o005:
            each.chmod(0o755)
    shutil.chown(folder, user)
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", program, *command[1:]]


def _beside_postgres(name: str) -> str | None:
    """Debian keeps the programs of PostgreSQL's server off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else None


def _run(command: list[str], folder: Path, user: str = "") -> None:
    done = subprocess.run(_as(user, command, folder), capture_output=True, text=True, cwd=folder, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def _until(command: list[str], folder: Path) -> None:
    """Repeat a command of the client until the server is there."""
    program = _beside_postgres(command[0]) or installed(command[0])
    wait_until(
        lambda: subprocess.run([program, *command[1:]], capture_output=True, timeout=60).returncode == 0,
        "the database server",
        60,
    )


@contextmanager
def _server(command: list[str], folder: Path, user: str = "") -> Iterator[None]:
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(_as(user, command, folder), stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT if command[0] == "postgres" else signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
