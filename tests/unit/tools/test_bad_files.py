"""Every command with every kind of bad file: one clear line, exit status 2, files as they were, no traceback."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from objstore.tools import main, ring_builder
from objstore.tools.ring_builder import SUBCOMMANDS
from tests.tidy.test_commands import every_command

Break = Callable[[Path, bytes], object]
NOBODY: Final = 65534
CLUSTER: Final = '[hash]\nprefix = "a"\nsuffix = "b"\n'


def absent(path: Path, content: bytes) -> None:
    path.unlink()


def folder(path: Path, content: bytes) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path, content: bytes) -> None:
    path.unlink()
    path.symlink_to(path.name)


# What may have happened to a file.
KINDS: Final[dict[str, Break]] = {
    "absent": absent,
    "folder": folder,
    "loop": loop,
    "empty": lambda path, content: path.write_bytes(b""),
    "half": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "junk": lambda path, content: path.write_bytes(bytes(range(256)) * 4),
    "text": lambda path, content: path.write_bytes(b"hello, world\n"),
}
# Of these a file may hold nothing, or half of what it did, and still be one.
UNREADABLE: Final = ("absent", "folder", "loop", "junk", "text")

BUILDERS: Final = (
    "ring add B r1z4-127.0.0.1:6200/a=1",
    "ring remove B 0",
    "ring set B --weight 0=5",
    "ring rebalance B",
    "ring plan B",
    "ring show B",
    "ring verify B",
    "ring verify B object.ring.gz",
    "ring plot B -o x.svg",
    "ring plot object.ring.gz --against B -o x.svg",
    "ring diff B object.builder",
    "ring power B prepare",
    "ring import B new.builder",
)
RINGS: Final = (
    "ring show R",
    "ring verify R",
    "ring verify object.builder R",
    "ring plot R -o x.svg",
    "ring diff object.ring.gz R",
    "ring compose x.ring.gz R",
    "ring publish R --cluster objstore.toml",
    "locate --ring R --partition 1",
    "locate --ring R --ring-dir . AUTH_a",
    "explain R",
)
# Folders with a bad ring among good ones.
RING_FOLDERS: Final = (
    "locate --ring-dir D --cluster objstore.toml AUTH_a",
    "recon --md5 --ring-dir D --cluster objstore.toml",
)
CONFIGURATIONS: Final = (
    "ring publish object.ring.gz --cluster C",
    "ring simulate C",
    "locate --ring-dir . --cluster C AUTH_a",
    "dispersion populate --user a --key b --ring-dir . --cluster C",
    "dispersion report --user a --key b --ring-dir . --cluster C",
    "drive-audit --config C",
    "compute-host --config C",
    "compute-api --config C",
    "image --config C",
    "usage report --config C",
    "head http://127.0.0.1:9/a/1/b --cluster C",
    "check-config --kind proxy C",
    "relinker relink --config C",
    *(f"key {words} --config C" for words in ("add a", "list", "rotate")),
    "user list --config C",
    *(f"user {verb} a --config C" for verb in ("add", "disable", "keys", "remove", "rotate")),
    *(f"policy {verb} a --config C" for verb in ("attach", "remove", "show")),
    "policy put a objstore.toml --config C",
    "policy list --config C",
    "key add a --config C",
    "key list --config C",
    "key rotate --config C",
    *(f"{command} --config C" for command in ("identity", "identity-rotate")),
    *(f"{server} --config C" for server in ("proxy", "object", "container", "account")),
    *(f"{server}-daemons --once --config C" for server in ("object", "container", "account")),
)
SERVICE_FOLDERS: Final = tuple(
    f"services {verb} --config-dir D --run-dir run --log-dir log" for verb in ("start", "reload")
)
CLUSTER_FOLDERS: Final = tuple(
    f"cluster {verb} --directory D" for verb in ("start", "stop", "status", "add-node", "kill-node 1", "wipe 1")
)
IN_PLACE_OF_FOLDERS: Final = (
    "up --data C",
    "cloud up --data C",
    "cluster make --directory C",
    *(f"services {verb} --config-dir C --run-dir run" for verb in ("start", "stop", "reload", "status")),
)
COPIES: Final = {
    "object.builder": "object-7.builder",
    "object.ring.gz": "object-7.ring.gz",
    "object-7.ring.gz": "lone.ring.gz",
    "objstore.toml": "bad.toml",
}
OTHERS: Final = (
    "bench",
    "certificate authority",
    "certificate node",
    "cloud guest-image",
    "hash-password",
    "quota",
)  # read no file

ARGUMENTS: Final = {
    "add": "r1z1-10.0.0.77:6200/sda 1",
    "create": "4 3 1",
    "list_parts": "d0",
    "remove": "d0 --yes",
    "search": "d0",
    "set_info": "d0 _x",
    "set_limit": "d0 5",
    "set_min_part_hours": "2",
    "set_overload": "0.1",
    "set_region": "d0 1",
    "set_replicas": "2",
    "set_weight": "d0 5",
    "set_zone": "d0 1",
}
READS_THE_RING: Final = ("version", "write_builder")


def cases() -> Iterator[tuple[str, str, str]]:
    """A command, the file to break, and how."""
    for file, kinds, commands in (
        ("object-7.builder", tuple(KINDS), BUILDERS),
        ("object-7.ring.gz", tuple(KINDS), RINGS),
        ("folder/account.ring.gz", tuple(KINDS), RING_FOLDERS),
        ("bad.toml", UNREADABLE, CONFIGURATIONS),
        ("folder/proxy.toml", ("folder", "loop", "junk", "text"), SERVICE_FOLDERS),
        ("folder/cluster.json", tuple(KINDS), CLUSTER_FOLDERS),
        ("bad.toml", ("loop", "junk", "text"), IN_PLACE_OF_FOLDERS),
    ):
        for command in commands:
            words = {"B": file, "R": file, "C": file, "D": "folder"}
            line = " ".join(words.get(word, word) for word in command.split())
            yield from ((f"objstore {line}", file, kind) for kind in kinds)
    for name in SUBCOMMANDS:
        file = "lone.ring.gz" if name in READS_THE_RING else "object-7.builder"
        for kind in KINDS:
            if (name, kind) != ("create", "absent"):
                yield f"objstore-ring-builder {file} {name} {ARGUMENTS.get(name, '')}", file, kind


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with builders, rings and configuration that are right. No test changes it for good."""
    made = tmp_path_factory.mktemp("good")
    with working_in(made):
        for name in ("account", "container", "object"):
            assert run(f"objstore ring create {name}.builder --part-power 4") == 0
            devices = " ".join(f"r1z{zone}-127.0.0.{zone}:6200/a=1" for zone in (1, 2, 3))
            assert run(f"objstore ring add {name}.builder {devices}") == 0
            assert run(f"objstore ring rebalance {name}.builder --seed 1 --quiet") == 0
        (made / "objstore.toml").write_text(CLUSTER)
        shutil.copytree(made, made / "folder")
        (made / "folder/proxy.toml").touch()
        assert run("objstore cluster make --directory whole --nodes 1 --replicas 1") == 0
        shutil.move(made / "whole/cluster.json", made / "folder/cluster.json")
        shutil.rmtree(made / "whole")
        for original, copy in COPIES.items():
            shutil.copy(original, copy)
    return made


@contextmanager
def working_in(path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def broken(path: Path, break_it: Break) -> Iterator[None]:
    """What is at a path is bad for a while."""
    content = path.read_bytes()
    break_it(path, content)
    try:
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(content)


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def run(line: str) -> int | str | None:
    """Run a command line here; its exit status."""
    program, *words = shlex.split(line)
    programs = {"objstore": main.main, "objstore-ring-builder": ring_builder.main}
    with pytest.raises(SystemExit) as stop:
        programs[program](words)
    return stop.value.code


def contents() -> dict[Path, bytes | None]:
    """Every file here and below but locks; None for what is no file."""
    found = (path for path in Path().rglob("*") if path.suffix != ".lock")
    return {path: path.read_bytes() if path.is_file() else None for path in found if not path.is_symlink()}


@contextmanager
def refused(line: str, capture: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Around a call of the command; then the list has the line that says why."""
    before = contents()
    capture.readouterr()
    reasons: list[str] = []
    yield reasons
    out, err = capture.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    assert err.startswith(f"{line.split()[0]}: "), err
    assert "Errno" not in err, err
    assert len(err) < 300, err
    assert contents() == before
    reasons.append(err)


@pytest.mark.parametrize(("line", "file", "kind"), list(cases()))
def test_refused(good: Path, capsys: pytest.CaptureFixture[str], line: str, file: str, kind: str) -> None:
    with working_in(good), broken(Path(file), KINDS[kind]):
        with refused(line, capsys) as reasons:
            assert run(line) == 2
        assert Path(file).name in reasons[0] or Path(file).parts[0] in reasons[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("objstore ring show object-7.builder", "object-7.builder"),
        ("objstore ring set object-7.builder --weight 0=5", "object-7.builder"),
        ("objstore ring verify object-7.ring.gz", "object-7.ring.gz"),
        ("objstore explain object-7.ring.gz", "object-7.ring.gz"),
        ("objstore check-config --kind objstore bad.toml", "bad.toml"),
        ("objstore-ring-builder object-7.builder rebalance", "object-7.builder"),
        ("objstore-ring-builder object-7.ring.gz version", "object-7.ring.gz"),
    ],
)
def test_not_permitted(good: Path, capsys: pytest.CaptureFixture[str], line: str, file: str) -> None:
    with working_in(good):
        with broken(Path(file), absent):
            run(line)  # imports what the command needs, which nobody else may read
        Path(file).chmod(0)
        with refused(line, capsys) as reasons, as_nobody():
            assert run(line) == 2
        assert file in reasons[0]


def test_every_command_is_asked() -> None:
    lines = {line for line, _, _ in cases()}
    asked = {re.sub(r"^(objstore-ring-builder) \S+", r"\1 FILE", line) for line in lines}
    names = set(every_command()) - {f"objstore {name}" for name in OTHERS}
    assert {name for name in names if not any(f"{line} ".startswith(f"{name} ") for line in asked)} == {
        "objstore ring create"  # makes a new file only; ring/test_editing.py has what it refuses
    }
