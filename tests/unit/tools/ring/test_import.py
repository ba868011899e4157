from __future__ import annotations

from pathlib import Path

import pytest

from objstore.ring.builderfile import load_builder
from objstore.tools.main import run
from objstore.tools.ring.edit import import_builder
from tests.unit.ring.test_swift_import import written


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        run(import_builder, "import", arguments)
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def test_a_builder_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "object.builder")
    status, out, err = call(capsys, written(tmp_path), target)
    assert (status, err) == (0, "")
    assert out.startswith(f"{target}: version 17, 4 partitions, 3 devices.")
    builder = load_builder(target)
    assert builder.version == 17
    assert [entry.what for entry in builder.history] == [f"import {tmp_path / 'swift.builder'}"]


def test_a_builder_that_is_there_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "object.builder"
    target.write_bytes(b"dear")
    status, _, err = call(capsys, written(tmp_path), str(target))
    assert (status, err) == (2, f"import: {target}: exists already; move it away first\n")
    assert target.read_bytes() == b"dear"


@pytest.mark.parametrize(
    "content", [b"", b"cos\nsystem\n(S'touch pwned'\ntR.", b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85R."]
)
def test_a_hostile_file_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.builder").write_bytes(content)
    status, out, err = call(capsys, "bad.builder", "object.builder")
    assert (status, out) == (2, "")
    assert err.startswith("import: bad.builder: not a valid builder file of Swift: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.builder"]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = call(capsys, str(tmp_path / "a"), str(tmp_path / "b"))
    assert (status, err) == (2, f"import: {tmp_path / 'a'}: no such builder file\n")
    status, _, err = call(capsys, written(tmp_path), str(tmp_path / "nowhere" / "b"))
    assert status == 2
    assert "No such file or directory" in err
