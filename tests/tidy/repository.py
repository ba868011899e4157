"""What the repository holds, as the tests of its tidiness see it."""

import ast
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
# From the foundation up: a tier may import those of a lower rank only.
RANKS: Final = {
    "objstore": 0,
    "ring": 1,
    "account": 2,
    "container": 2,
    "object": 2,
    "proxy": 3,
    "identity": 4,
    "image": 4,
    "compute": 4,
    "tools": 5,
    "bench": 6,
}


@cache
def files() -> tuple[Path, ...]:
    """All files of the repository, links left out: tracked ones and those about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        found = [ROOT / name for name in names if name]
    else:  # an unpacked archive
        found = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return tuple(sorted(path for path in set(found) if path.is_file() and not path.is_symlink()))


@cache
def sources(*folders: str) -> tuple[Path, ...]:
    """The Python files below these folders; without any, those of all tiers."""
    wanted = folders or tuple(RANKS)
    return tuple(path for path in files() if path.suffix == ".py" and tier_of(path) in wanted)


def tier_of(path: Path) -> str:
    """The folder at the top of the repository that a file lies in."""
    return path.relative_to(ROOT).parts[0]


@cache
def tree_of(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> list[tuple[int, str]]:
    """Every (line, module) a file imports, wherever the import stands; `from a import b` gives a.b."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names]
    return found


def place(path: Path, line: int) -> str:
    """A place as editors jump to it."""
    return f"{path.relative_to(ROOT)}:{line}"
