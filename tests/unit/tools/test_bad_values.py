"""Values that mean nothing, in options of commands whose files are right: one clear line, exit status 2."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from objstore.tools import main

DISPERSION = "dispersion report --user a --key b --ring-dir ."


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rings whose servers nobody asks."""
    made = tmp_path_factory.mktemp("rings")
    for name in ("account", "container", "object"):
        for line in (
            f"create {made}/{name}.builder --part-power 4",
            f"add {made}/{name}.builder r1z1-127.0.0.1:1/a=1 r1z2-127.0.0.1:1/b=1 r1z3-127.0.0.1:1/c=1",
            f"rebalance {made}/{name}.builder --quiet",
        ):
            assert run(f"ring {line}") == 0
    (made / "objstore.toml").write_text('[hash]\nprefix = "a"\nsuffix = "b"\n')
    return made


def run(line: str) -> int | str | None:
    with pytest.raises(SystemExit) as stop:
        main.main(shlex.split(line))
    return stop.value.code


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("locate --ring-dir . ''", "a name is empty"),
        ("locate --ring-dir . a/b c", "cannot contain slashes"),
        ("locate --ring-dir . a b/c o", "cannot contain slashes"),
        ("locate --ring-dir . -Q a%FF", "not UTF-8"),
        ("locate --ring-dir . a c caf\udce9", "not UTF-8"),
        ("locate --ring-dir . --policy nope a c o", "no storage policy 'nope'"),
        ("locate --ring object.ring.gz --partition 16", "has no partition 16; it has 0 to 15"),
        ("locate --ring account.ring.gz --cluster objstore.toml a c", "account.ring.gz does not place /a/c"),
        ("locate --ring objstore.toml --partition 1", "objstore.toml: not a valid ring file"),
        ("explain object.ring.gz --root", "requires an argument"),
        ("recon --ring-dir . --md5 --timeout nan", "expected a duration"),
        ("recon --ring-dir . --md5 --timeout 0", "it must be more than 0"),
        ("recon --ring-dir . --time --jitter inf", "expected a duration"),
        ("recon --ring-dir . --md5 --cluster nope.toml", "nope.toml: cannot be read: No such file or directory"),
        ("recon --ring-dir . --md5 --region 7", "there is no such server"),
        ("recon --ring-dir .", "what to report?"),
        (f"{DISPERSION} --coverage nan", "expected a share"),
        (f"{DISPERSION} --coverage 101", "at most 100 percent"),
        (f"{DISPERSION} --timeout=-1", "expected a duration"),
        (f"{DISPERSION} --auth 127.0.0.1", "no address as http://HOST:PORT"),
        (f"{DISPERSION} --auth http://127.0.0.1:99999/", "Port out of range"),
        (f"{DISPERSION} --auth http://127.0.0.1:1/auth", "Connection refused; check --auth"),
        ("ring plan object.builder --overload some", "expected a share such as 0.1 or 10%"),
        ("ring publish object.ring.gz --cluster objstore.toml --timeout 0", "it must be more than 0"),
        ("ring publish object.ring.gz --cluster objstore.toml", "not staged on 127.0.0.1:1 (Connection refused)"),
        ("services stop --kill-after nan", "expected a duration"),
        ("cluster make --memcached here", 'expected "host:port"'),
        ("bench --seconds nan", "expected a duration"),
        ("bench --connections 0", "not in the range"),
        ("bench --auth http://127.0.0.1:1/auth head", "Connection refused; start the store"),
        ("up --bind here", 'expected "host:port"'),
        ("up --devices 0", "not in the range"),
    ],
)
def test_refused(
    rings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, reason: str
) -> None:
    monkeypatch.chdir(rings)
    capsys.readouterr()
    assert run(line) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    assert err.startswith("objstore: ")
    assert reason in err
