"""Time, chance, threads, processes, network and disk are touched by objstore/system, and by the files named here.

Everything else is handed what it needs, so that a simulation can put something else in its place. Operators' commands
(tools), benchmarks (bench) and cloud services run in the real world, and are not looked at.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.tidy.repository import ROOT, sources, tree_of

UNCHECKED: Final = ("objstore/system/", "objstore/cloud/")
TIERS: Final = ("objstore", "ring", "account", "container", "object", "proxy")
MODULES: Final = {
    "time": "time",
    "secrets": "chance",
    "uuid": "chance",
    "threading": "threads",
    "concurrent": "threads",
    "multiprocessing": "processes",
    "subprocess": "processes",
    "signal": "processes",
    "resource": "processes",
    "ctypes": "processes",
    "mmap": "processes",
    "socket": "network",
    "select": "network",
    "pymemcache": "network",
    "netifaces": "network",
    "shutil": "disk",
    "tempfile": "disk",
    "glob": "disk",
    "fcntl": "disk",
    "pathlib": "disk",
}
# Members of modules that do more than compute; of random everything but the class that is given a seed.
MEMBERS: Final = {"sqlite3.connect": "disk", "http.client": "network", "urllib.request": "network"}
BUILTINS: Final = {"open": "disk"}
OS_PROCESSES: Final = frozenset({"fork", "kill", "waitpid", "_exit", "sched_getaffinity"})
# What only computes, or says what this process was started with.
OS_PURE: Final = frozenset(
    {"PathLike", "environ", "fspath", "getpid", "path.basename", "path.dirname", "path.join", "path.split", "strerror"}
)
# The files outside objstore/system that touch it, and why they do so themselves.
TOUCHED: Final = {
    "objstore/client/connections.py": ({"network", "threads"}, "the sockets of the client, which threads share"),
    "objstore/client/identity.py": (
        {"time", "threads"},
        "tokens end, and threads share them; the clock can be replaced",
    ),
    "objstore/client/requests.py": ({"time"}, "pauses between attempts; callers can hand in a pause of their own"),
    "objstore/client/store.py": ({"time", "threads"}, "tokens end, and threads share them; the clock can be replaced"),
    "objstore/followed.py": ({"disk"}, "notices that a file has changed"),
    "objstore/config/loading.py": ({"disk"}, "reads configuration, before anything runs"),
    "objstore/config/units.py": ({"processes"}, "workers = auto is one for each processor"),
    "objstore/config/written.py": ({"disk"}, "files that commands rewrite"),
    "objstore/daemon.py": ({"processes"}, "a daemon that is a process of its own ends on signals"),
    "objstore/logs.py": ({"time", "disk"}, "lines go to standard error; the clock can be replaced"),
    "objstore/metrics.py": ({"network"}, "StatsD is a datagram for each change"),
    "objstore/metrics_folder.py": ({"time", "disk"}, "processes of a service share small files in memory"),
    "objstore/mounts.py": ({"disk"}, "asks whether a device is mounted, and how full it is"),
    "objstore/contact_record.py": ({"disk"}, "one small file for each device"),
    "objstore/recon.py": ({"disk"}, "one small file for each daemon"),
    "objstore/operators/disks.py": ({"disk"}, "operators ask how disks are"),
    "objstore/operators/recon.py": ({"disk"}, "operators ask about files of this machine"),
    "objstore/http/operations.py": ({"disk"}, "a file takes a server out of service"),
    "objstore/http/body_chunks.py": ({"processes"}, "buffers are mappings, which the system has back at once"),
    "objstore/http/response_writer.py": (
        {"time"},
        "the Date header, made once a second; a call more would cost each response",
    ),
    "objstore/cluster_tls.py": ({"disk"}, "reads certificates, and notices that they are renewed"),
    "objstore/http/pool.py": ({"network"}, "connects to storage servers; simulations have a transport of their own"),
    "objstore/http/signing.py": ({"chance"}, "a number by which a server knows a signed request again"),
    "objstore/http/handshake.py": ({"chance"}, "a number that is good for one connection"),
    "objstore/http/server.py": ({"network"}, "accepts connections; simulations call applications"),
    "objstore/http/session.py": ({"network"}, "sets options of connections that the server has accepted"),
    "objstore/http/webhook.py": ({"network"}, "sends to addresses out of the store; tests hand in a sender"),
    "objstore/http/sockets.py": ({"network", "disk"}, "moves bytes between sockets and pipes"),
    "objstore/db/connection.py": ({"disk"}, "opens SQLite, whose files simulations keep on a real disk"),
    "objstore/db/database.py": ({"threads", "disk"}, "a database has one writer; flushes its file"),
    "objstore/db/location.py": ({"disk"}, "database files: where they lie"),
    "objstore/db/removal.py": ({"disk"}, "database files: removes them"),
    "objstore/db/repair.py": ({"disk"}, "database files: which are to be repaired"),
    "objstore/db/snapshots.py": ({"disk"}, "database files: copies them"),
    "objstore/db/store.py": ({"disk"}, "database files: makes them and sets them aside"),
    "objstore/db/summary.py": ({"disk"}, "database files: peeks at many"),
    "objstore/db/tables.py": ({"disk"}, "a database in memory, to compare tables with"),
    "container/reports.py": ({"disk"}, "marks of containers whose account is to be told"),
    "object/agreement.py": ({"disk"}, "a table of floors for each device, which processes share"),
    "object/auditor.py": ({"disk"}, "reads its bookmark"),
    "object/container_updates/pending.py": ({"disk"}, "one small file for each update that waits"),
    "object/container_updates/session.py": ({"disk"}, "one small file for each process that writes objects"),
    "object/file_engine/inspecting.py": ({"disk"}, "reads a file for an operator's command, wherever it lies"),
    "object/file_engine/disk.py": ({"disk"}, "the disk of the file engine; simulations replace this class"),
    "object/file_engine/suffixes.py": ({"disk"}, "one file of digests for each partition"),
    "object/relinkstate.py": ({"disk"}, "reads its bookmark"),
    "proxy/auth/user_file.py": ({"disk"}, "replaces the file of users"),
    "proxy/auth/new_keys.py": ({"chance"}, "ids and secrets of access keys"),
    "proxy/core/cache.py": ({"network"}, "memcached"),
    "ring/builderfile.py": ({"disk"}, "builder files"),
    "ring/format.py": ({"disk"}, "ring files"),
    "ring/receiver.py": ({"disk"}, "puts new ring files in place"),
    "ring/rings.py": ({"disk"}, "notices that a ring file has changed"),
    "ring/swift_import.py": ({"disk"}, "reads Swift's builder files"),
}


def kinds_of(tree: ast.Module) -> set[str]:
    """What of the real world a module touches."""
    found: set[str] = set()
    modules = {
        each.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {MODULES[name] for each in node.names if (name := each.name.split(".")[0]) in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {kind for each in node.names if (kind := _kind_of(f"{node.module}.{each.name}"))}
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.split(".")[0] in modules and (kind := _kind_of(name)):
                found.add(kind)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
            found.add(BUILTINS[node.func.id])
    return found


def _kind_of(name: str) -> str | None:
    """The kind of a dotted name, as in "os.path.exists"."""
    module, _, member = name.partition(".")
    if module in MODULES:
        return MODULES[module]
    if module == "os":
        if member in OS_PROCESSES:
            return "processes"
        if member == "urandom":
            return "chance"
        # A constant in capitals opens nothing by itself, and "os.path" is looked at with what follows it.
        return None if member in OS_PURE or member == "path" or member.upper() == member else "disk"
    if module == "random":
        return None if member.startswith("Random") else "chance"
    return next((kind for known, kind in MEMBERS.items() if name == known or name.startswith(f"{known}.")), None)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("import time\nnow = time.time()", {"time"}),
        ("from time import monotonic", {"time"}),
        ("import random\nrandom.shuffle(x)", {"chance"}),
        ("from random import Random\nRandom(1).shuffle(x)", set()),
        ("import os\nos.urandom(8)", {"chance"}),
        ("import os\nos.path.exists('a')", {"disk"}),
        ("import os\nos.path.join('a', os.fspath(b), str(os.getpid()))", set()),
        ("import os\nos.fork()", {"processes"}),
        ("from os import replace", {"disk"}),
        ("with open('a') as file: pass", {"disk"}),
        ("import sqlite3\ndef f(c: sqlite3.Connection): pass", set()),
        ("import sqlite3\nsqlite3.connect('a')", {"disk"}),
        ("import http.client\nhttp.client.HTTPConnection('a')", {"network"}),
        ("from http import HTTPStatus\nfrom urllib.parse import quote", set()),
        ("import socket, threading", {"network", "threads"}),
        ("def f(resource, random): return resource.path, random.shuffle", set()),
    ],
)
def test_rule(text: str, kinds: set[str]) -> None:
    assert kinds_of(ast.parse(text)) == kinds


def test_the_real_world_is_touched_where_it_is_said() -> None:
    found = {_name(path): kinds for path in sources(*TIERS) if (kinds := kinds_of(tree_of(path)))}
    outside = {name: kinds for name, kinds in found.items() if not name.startswith(UNCHECKED)}
    # A new file is better handed what it needs; if it has to touch the world itself, TOUCHED says why.
    assert outside == {name: kinds for name, (kinds, _) in TOUCHED.items()}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))
