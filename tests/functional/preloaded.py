"""`objstore`, called many times: the servers that it starts are forked from it, and import nothing anew."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from objstore.tools import main as command
from objstore.tools.cluster import wait_until_answering
from objstore.tools.loopback import SERVICES, LoopbackCluster
from objstore.tools.processes import DetachedProcess
from tests.forking import call

START_SERVERS = "start-servers"


def main() -> None:
    """One of the commands of `objstore`, or start-servers FOLDER [NODE]: of a cluster without its daemons."""
    DetachedProcess._spawn = _fork  # type: ignore[method-assign]
    if sys.argv[1] != START_SERVERS:
        command.main()  # does not return
    folder, *number = sys.argv[2:]
    nodes = LoopbackCluster.open(Path(folder)).chosen(int(number[0]) if number else None)
    for node in nodes:
        for service in SERVICES:
            node.process(service).start()
    wait_until_answering(nodes)


def _fork(process: DetachedProcess) -> int:
    """What DetachedProcess does, without another interpreter."""
    log = os.open(process.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if child := os.fork():
        os.close(log)
        return child
    os.setsid()
    for number, opened in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(opened, number)
    status = call(command.main, ["objstore", *process.command[3:]])  # python -m objstore.tools.main ...
    sys.stdout.flush()
    os._exit(status)
