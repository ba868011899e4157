"""The commands of docs/use, run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.functional.servers import Store

ROOT: Final = Path(__file__).resolve().parents[2]
SECTION: Final = re.compile(r"^### (\w+)$", re.MULTILINE)
BLOCK: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLIENTS: Final = ("curl", "swift", "rclone")


def examples() -> dict[str, str]:
    """The shell commands of each client's section; those of other pages go on where the ones of curl end."""
    _, *parts = SECTION.split((ROOT / "docs/use/clients.md").read_text(encoding="utf-8"))
    found = {name: "".join(BLOCK.findall(text)) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    for page in ("access", "symlinks", "large-objects"):
        found["curl"] += "".join(BLOCK.findall((ROOT / f"docs/use/{page}.md").read_text(encoding="utf-8")))
    return found


def test_every_example_is_run() -> None:
    assert set(examples()) == set(CLIENTS)
    assert "X-Account-Access-Control" in examples()["curl"]


@pytest.mark.parametrize("client", CLIENTS)
def test_examples_work_as_printed(own_store: Store, client: str) -> None:
    """In a store of their own: what they grant to others stays."""
    own_store.start()
    if client == "rclone" and shutil.which("rclone") is None and os.geteuid() != 0:
        pytest.skip("rclone is not installed, and only root can install it")
    script = examples()[client].replace("http://127.0.0.1:8080", own_store.url)
    assert own_store.url in script
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
