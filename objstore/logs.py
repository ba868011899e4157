"""Structured log lines (logfmt): `time=... level=info logger=proxy msg="..." key=value`.

One event is one line and one write, whatever its values hold, so that lines of several processes do not mix
and a client cannot forge one. The standard library's logging is not used: an access line would cost more
than parsing the request.
"""

import os
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from objstore.timestamps import Timestamp

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
STANDARD_ERROR: Final = 2
# How often `Logger.repeated` says the same of one server, and of how many it knows when it last did.
REPEATED_SECONDS: Final = 60.0
REPEATED_MAX: Final = 1000
CUT_MARK: Final = "..."

# A value of these characters alone stands bare.
BARE: Final = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
# Fields and query parameters that let whoever reads the log act as the client.
SECRET_FIELDS: Final = frozenset({"authorization", "key", "password", "secret", "signature", "token"})
SECRET_PARAMETERS: Final = re.compile(
    r"((?:^|&)(?:temp_url_sig|swiftinfo_sig|signature|x-amz-signature|x-amz-security-token|x-auth-token)=)[^&]*",
    re.IGNORECASE,
)


def write_standard_error(line: bytes) -> None:
    """Where lines go by default. A reader that has gone must not stop the store."""
    try:
        os.write(STANDARD_ERROR, line)
    except OSError:
        pass


class Sink:
    """Where lines go, from which level on, and how long they may be (in characters; 0 = no limit)."""

    def __init__(
        self,
        level: str = "info",
        max_line_length: int = 0,
        write: Callable[[bytes], object] = write_standard_error,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.now = now
        self.configure(level, max_line_length, write)

    def configure(
        self, level: str, max_line_length: int = 0, write: Callable[[bytes], object] = write_standard_error
    ) -> None:
        """Change what all loggers of this sink do from now on."""
        self.threshold = LEVELS[level]
        self.max_line_length = max_line_length
        self.write = write

    def line(self, level: str, logger: str, fields: Mapping[str, object]) -> None:
        """Write one line, whatever the level."""
        moment = Timestamp.from_seconds(self.now()).isoformat
        parts = [f"time={moment}Z level={level} logger={logger}"]
        parts += [f"{key}={_value(key, value)}" for key, value in fields.items()]
        text = " ".join(parts)
        if 0 < self.max_line_length < len(text):
            text = text[: max(self.max_line_length - len(CUT_MARK), 0)] + CUT_MARK
        self.write((text + "\n").encode("utf-8", "backslashreplace"))


class Logger:
    """Lines of one part of the program."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name = name
        self._sink = sink
        self._repeated: dict[tuple[str, str], tuple[float, int]] = {}  # when it was last said, and how many since

    def debug(self, message: str, **fields: object) -> None:
        """What helps only someone who looks for a bug."""
        self._log("debug", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """What an operator may want to know later."""
        self._log("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """What went wrong and was worked around."""
        self._log("warning", message, fields)

    def repeated(self, message: str, server: str, **fields: object) -> None:
        """A warning about a server that may come thousands of times: written once a minute, with their number."""
        now = self._sink.now()
        last, count = self._repeated.get((message, server), (float("-inf"), 0))
        if 0 <= now - last < REPEATED_SECONDS:
            self._repeated[message, server] = last, count + 1
            return
        if len(self._repeated) >= REPEATED_MAX:
            self._repeated.clear()
        self._repeated[message, server] = now, 0
        self.warning(message, server=server, **fields, times=count + 1)

    def error(self, message: str, **fields: object) -> None:
        """What an operator should look at."""
        self._log("error", message, fields)

    def exception(self, message: str, **fields: object) -> None:
        """An error with the exception being handled and its traceback, still on one line."""
        self._log("error", message, fields | {"traceback": traceback.format_exc().rstrip()})

    @property
    def writes_access(self) -> bool:
        """Whether lines of requests are wanted: without them their fields need not be collected."""
        return self._sink.threshold <= LEVELS["info"]

    def access(self, **fields: object) -> None:
        """One line for a request that has been answered; secrets in a `query` field are blanked."""
        if self.writes_access:
            self._sink.line("info", self.name, fields)

    def _log(self, level: str, message: str, fields: dict[str, object]) -> None:
        if LEVELS[level] >= self._sink.threshold:
            self._sink.line(level, self.name, {"msg": message} | fields)


SINK: Final = Sink()


def get_logger(name: str) -> Logger:
    """A logger on the process's own sink, which `SINK.configure` sets up at start."""
    return Logger(name, SINK)


def redact_query(query: str) -> str:
    """A query string without the values that sign a request or carry a token."""
    return SECRET_PARAMETERS.sub(rf"\1{CUT_MARK}", query)


def _value(key: str, value: object) -> str:
    if key in SECRET_FIELDS:
        return CUT_MARK
    if isinstance(value, float):
        return f"{value:.4f}"
    if value is None:
        return "-"
    text = str(value)
    if key == "query":
        text = redact_query(text)
    return text if BARE(text) else _quoted(text)


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    if not text.isprintable():
        text = "".join(each if each.isprintable() else _escaped(each) for each in text)
    return f'"{text}"'


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
