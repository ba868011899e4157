"""Runs Python commands many times over, and imports them once: forking.py MODULE FUNCTION [MODULE IT NEEDS]...

Takes JSON lines, each a list of {"arguments": [...], "folder": "..."} to run side by side, and answers each line with a
list of {"status": 0, "stdout": "", "stderr": ""}. It is run by the interpreter that has the module, so it needs nothing
but the standard library.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import traceback

SECONDS_MAX = 120


def call(function, arguments):
    """What the process of a console script does; its exit status."""
    sys.argv[:] = arguments  # in place: modules may have taken hold of the list
    try:
        status = function()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        return 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        return 1
    return status or 0


class Child:
    """A command in a child of this process."""

    def __init__(self, function, wanted):
        self._outputs = {name: tempfile.TemporaryFile() for name in ("stdout", "stderr")}  # noqa: SIM115
        self._process = os.fork()
        if self._process == 0:
            signal.alarm(SECONDS_MAX)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(self._outputs["stdout"].fileno(), 1)
            os.dup2(self._outputs["stderr"].fileno(), 2)
            os.chdir(wanted["folder"])
            status = call(function, wanted["arguments"])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def outcome(self):
        """What it has come to; waits for its end."""
        _, status = os.waitpid(self._process, 0)
        found = {"status": os.waitstatus_to_exitcode(status)}
        for name, file in self._outputs.items():
            with file:
                file.seek(0)
                found[name] = file.read().decode()
        return found


def main():
    module, function, *needed = sys.argv[1:]
    wanted = getattr(importlib.import_module(module), function)
    for name in needed:
        importlib.import_module(name)
    for line in sys.stdin:
        children = [Child(wanted, each) for each in json.loads(line)]
        print(json.dumps([child.outcome() for child in children]), flush=True)


if __name__ == "__main__":
    main()
