"""The command itself: its help, its errors, and how quickly it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from objstore.tools.main import COMMANDS, main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.out, output.err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for name in COMMANDS:
        assert f"\n  {name} " in out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, _ = run(capsys, name, "--help")
    assert status == 0
    assert out.startswith(f"Usage: objstore {name}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fly",), "No such command 'fly'"),
        (("up", "--bind", "nowhere"), "--bind"),
        (("up", "--devices", "0"), "--devices"),
        (("proxy",), "--config"),
        (("proxy", "--config", "/nonexistent/proxy.toml"), "/nonexistent/proxy.toml"),
        (("cluster", "start", "--directory", "/nonexistent"), "objstore cluster make"),
        (("check-config", "/nonexistent/proxy.toml"), "/nonexistent/proxy.toml"),
        (("check-config", "strange.toml"), "--kind"),
    ],
)
def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert err.startswith("objstore: ")
    assert err.count("\n") == 1
    assert said in err


def test_starting_imports_no_server() -> None:
    # The operator's time, and the memory of small commands.
    script = "import sys; import objstore.tools.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"eventlet", "greenlet", "numpy", "rich", "lxml", "objstore.config.loading", "objstore.http.server"}
    assert heavy.isdisjoint(loaded)


def test_commands_about_rings_start_no_event_loop() -> None:
    modules = "edit", "plan", "show", "diff", "verify", "simulate", "plot"
    script = f"import sys; from objstore.tools.ring import {', '.join(modules)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"eventlet", "matplotlib", "objstore.http.server"}.isdisjoint(loaded)
