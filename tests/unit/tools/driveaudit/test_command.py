"""The command on a folder where nothing is mounted."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from objstore.errors import StoreError
from objstore.mounts import out_of_service_file
from objstore.tools.driveaudit.command import drive_audit


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "drive-audit.toml"
    path.write_text(
        f'[devices]\nroot = "{tmp_path}"\n[kernel]\nsources = []\n[slow]\nawait_limit = 0\n'
        f'[recon]\ndirectory = "{tmp_path}/recon"\n'
    )
    return str(path)


def test_a_pass_is_reported(config: str, tmp_path: Path) -> None:
    Path(out_of_service_file(str(tmp_path), "d7")).write_text("{}")
    assert CliRunner().invoke(drive_audit, ["--config", config], catch_exceptions=False).exit_code == 0
    report = json.loads((tmp_path / "recon/drive-audit.json").read_text())
    assert (report["errors"], report["out_of_service"], report["found"]) == (1, ["d7"], {})
    assert report["ended"] >= report["started"]


def test_dry_run_reports_nothing(config: str, tmp_path: Path) -> None:
    CliRunner().invoke(drive_audit, ["--config", config, "--dry-run"], catch_exceptions=False)
    assert not (tmp_path / "recon").exists()


def test_back_into_service(config: str, tmp_path: Path) -> None:
    mark = Path(out_of_service_file(str(tmp_path), "d7"))
    mark.write_text("{}")
    done = CliRunner().invoke(drive_audit, ["--config", config, "--return", "d7"], catch_exceptions=False)
    assert "in service again" in done.output
    assert not mark.exists()
    with pytest.raises(StoreError):
        CliRunner().invoke(drive_audit, ["--config", config, "--return", "d7"], catch_exceptions=False)
