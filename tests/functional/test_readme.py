"""The commands of the README, run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.servers import Store

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"^### (\w+)$", re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> dict[str, str]:
    """The shell commands of each client's section."""
    _, *parts = SECTION.split((ROOT / "README.md").read_text())
    return {name: "".join(BLOCK.findall(text)) for name, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("client", ["curl", "swift", "rclone"])
def test_examples_work_as_printed(store: Store, client: str) -> None:
    if client == "rclone" and shutil.which("rclone") is None and os.geteuid() != 0:
        pytest.skip("rclone is not installed, and only root can install it")
    script = examples()[client].replace("http://127.0.0.1:8080", store.url)
    assert store.url in script
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
