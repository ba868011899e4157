"""Runs a Python command many times over, and imports it once: forking.py MODULE FUNCTION [MODULE IT NEEDS]...

Takes JSON lines {"arguments": [...], "folder": "..."} and answers each with {"status": 0, "stdout": "", "stderr": ""}.
It is run by the interpreter that has the module, so it needs nothing but the standard library.
"""

import importlib
import json
import os
import sys
import tempfile
import traceback


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


def run(function, wanted):
    """In a child of this process."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            os.chdir(wanted["folder"])
            status = call(function, wanted["arguments"])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        answer = {"status": os.waitstatus_to_exitcode(status)}
        for name, file in (("stdout", stdout), ("stderr", stderr)):
            file.seek(0)
            answer[name] = file.read().decode()
        return answer


def main():
    module, function, *needed = sys.argv[1:]
    wanted = getattr(importlib.import_module(module), function)
    for name in needed:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(run(wanted, json.loads(line))), flush=True)


main()
