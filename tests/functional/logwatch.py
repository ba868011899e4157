"""The logs of the servers under test: whatever goes wrong there without a word to the client is a fault, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

# Lines of tracebacks that tests bring about on purpose, and why they are right there.
EXPECTED: Final = {
    "ObjectCorrupt: .*the body does not match its checksum": "damage that comes to light while a body is sent: the"
    " server breaks the answer off, and the proxy goes on with another replica",
}
TRACEBACK: Final = "Traceback (most recent call last)"
CONTEXT_LINES: Final = 40


class LogWatch:
    """Reads what logs have got since it last looked."""

    def __init__(self) -> None:
        self._sources: list[tuple[Path, str]] = []
        self._read: dict[Path, int] = {}

    def add(self, folder: Path, pattern: str) -> None:
        """Watch the files of a folder that match a pattern, those to come too."""
        if (folder, pattern) not in self._sources:
            self._sources.append((folder, pattern))

    def unhandled_errors(self) -> list[str]:
        """Every new traceback that is not expected, with the file it stands in."""
        found = []
        for folder, pattern in self._sources:
            for path in sorted(folder.glob(pattern)):
                found += [f"{path}: {text}" for text in tracebacks(self._new_text(path))]
        return found

    def _new_text(self, path: Path) -> str:
        start = self._read.get(path, 0)
        try:
            with path.open("rb") as file:
                file.seek(start)
                content = file.read()
        except FileNotFoundError:
            return ""
        whole = content[: content.rfind(b"\n") + 1]  # the rest of a line comes later
        self._read[path] = start + len(whole)
        return whole.decode("utf-8", "replace")


def tracebacks(text: str) -> list[str]:
    """The tracebacks of a log that no entry of EXPECTED matches: within one line, or over several."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines):
        if TRACEBACK in line:
            shown = line if line.startswith("time=") else "\n".join(lines[number : number + CONTEXT_LINES])
            if not any(re.search(pattern, shown) for pattern in EXPECTED):
                found.append(shown)
    return found


LOGS: Final = LogWatch()
