"""A process that ends with its parent."""

import os
import subprocess
import sys

SCRIPT = """
import os, time
from objstore.system.processes import end_with_parent
parent = os.getpid()
child = os.fork()
if child == 0:
    end_with_parent(parent)
    time.sleep(600)
print(child, flush=True)
input()
"""


def test_it_ends_with_its_parent() -> None:
    # The pipe of the output is held by the child too: its end is the child's end.
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
        assert parent.stdout.read() == ""
