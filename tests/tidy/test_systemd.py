"""The units of systemd start commands that exist, with configuration that is read."""

import configparser
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from objstore.tools.main import objstore
from tests.tidy.repository import ROOT

UNITS = sorted((ROOT / "etc/systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


def parsed(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_what_a_unit_starts_exists(unit: Path) -> None:
    program, name, *arguments = parsed(unit)["Service"]["ExecStart"].split()
    assert program == "/usr/bin/objstore"
    assert unit.stem == f"objstore-{name}"
    command = objstore.get_command(click.Context(objstore), name)
    assert command is not None
    command.make_context(name, list(arguments))
    assert (ROOT / "etc" / Path(arguments[-1]).name).exists()


def test_every_server_and_its_daemons_have_a_unit() -> None:
    servers = {"account", "container", "object", "proxy", "account-daemons", "container-daemons", "object-daemons"}
    assert {unit.stem.removeprefix("objstore-") for unit in SERVICES} == servers | {
        "compute-api",
        "compute-host",
        "drive-audit",
        "identity",
        "image",
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_it(unit: Path, tmp_path: Path) -> None:
    # The program is not installed here: any other stands for it.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace("/usr/bin/objstore", "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []
