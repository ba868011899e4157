"""The commands of docs/get-started, run as they are printed; what they print is what the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from objstore.tools.loopback import LoopbackCluster
from tests.functional.servers import Store, claim_ports

ROOT: Final = Path(__file__).resolve().parents[2]
BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END: Final = "=== the command ended with"


@dataclass
class Step:
    """One command of the page, and the lines it is shown to print."""

    command: str
    shown: str


def steps(page: str) -> list[Step]:
    """The commands of all console blocks, in their order."""
    parts = [part for block in BLOCK.findall(page) for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [Step(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def pattern_of(shown: str) -> str:
    """What output matches the page: `…` is any text of one line, and alone on a line any number of lines.

    Columns of a table are as wide as their widest cell, so the number of blanks between them does not count.
    """
    lines = (re.sub(r"(\\ ){2,}", " +", re.escape(line)).replace("…", ".*") for line in shown.splitlines())
    return "".join("(?:.*\n)*" if line == ".*" else f"{line}\n" for line in lines)


def test_an_ellipsis_stands_for_what_differs() -> None:
    assert re.fullmatch(pattern_of("a … c\n"), "a b c\n")
    assert re.fullmatch(pattern_of("a\n…\nz\n"), "a\nb\nc\nz\n")
    assert not re.fullmatch(pattern_of("a\n"), "a\nb\n")
    assert not re.fullmatch(pattern_of("a … c\n"), "a b\n")
    assert re.fullmatch(pattern_of(" a  1\n"), " a     1\n")


def run(commands: list[str], folder: Path) -> list[str]:
    """What each command printed, in one shell; each has to succeed."""
    script = "".join(
        f"{{ {command}\n}} 2>&1\nstatus=$?; echo; echo '{END}' $status; test $status = 0 || exit\n"
        for command in commands
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, timeout=300, check=False)
    parts = re.split(rf"\n{END} (\d+)\n", done.stdout)
    printed, statuses = parts[:-1:2], parts[1::2]
    assert set(statuses) == {"0"}, f"$ {commands[len(statuses) - 1]}\n{printed[-1]}ended with {statuses[-1]}"
    return printed


def placed(text: str, store: Store, first_port: int) -> str:
    """The page's text for a store and a cluster at other ports than the usual ones."""
    text = text.replace("http://127.0.0.1:8080", store.url)
    text = re.sub(r"(?<=:)620(\d)(?!\d)", lambda match: str(first_port + int(match[1])), text)
    return text.replace("cluster make\n", f"cluster make --first-port {first_port}\n")


@pytest.mark.timeout(400)
def test_the_tutorial_does_what_it_shows(store: Store, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    first_port = claim_ports()
    page = (ROOT / "docs/get-started/index.md").read_text(encoding="utf-8")
    done = steps(page)
    try:
        printed = run([placed(f"{step.command}\n", store, first_port).rstrip("\n") for step in done], tmp_path)
    finally:
        if (tmp_path / "cluster/cluster.json").exists():
            cluster = LoopbackCluster.open(tmp_path / "cluster")
            cluster.stop(cluster.nodes)
    for step, output in zip(done, printed, strict=True):
        wanted = pattern_of(placed(step.shown, store, first_port))
        # Not every output ends its last line.
        assert re.fullmatch(wanted, output if output.endswith("\n") or not output else f"{output}\n"), (
            f"$ {step.command}\n{output}\ninstead of\n{step.shown}"
        )
