"""objstore check-config warns of ports that answer strangers."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from objstore.tools.check_config import check_config


@pytest.mark.parametrize("name", ["account.toml", "container.toml", "object.toml", "proxy.toml"])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "8.8.8.8"])
def test_a_public_bind_is_warned_of(tmp_path: Path, name: str, host: str) -> None:
    file = tmp_path / name
    file.write_text(f'[server]\nbind = "{host}:6200"\n[replication]\nbind = "{host}:6210"\n')
    answer = CliRunner().invoke(check_config, [str(file)])
    assert answer.exit_code == 0
    assert answer.stdout == f"{file}: ok\n"
    warned = [line.split(": ")[3] for line in answer.stderr.splitlines() if "answers anyone" in line]
    # Clients are to reach a proxy.
    assert warned == ["replication.bind"] if name == "proxy.toml" else ["server.bind", "replication.bind"]


@pytest.mark.parametrize("name", ["account.toml", "container.toml", "object.toml", "proxy.toml"])
@pytest.mark.parametrize(
    "text", ["# all defaults\n", '[server]\nbind = "10.0.0.1:6200"\n[replication]\nbind = "[fd00::1]:6210"\n']
)
def test_other_binds_are_not(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    answer = CliRunner().invoke(check_config, [str(file)])
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, f"{file}: ok\n", "")
