import os

import pytest

from objstore.logs import REPEATED_MAX, SINK, Logger, Sink, get_logger, redact_query, write_standard_error


class Lines(list[bytes]):
    """Collects what a sink writes."""

    @property
    def last(self) -> str:
        return self[-1].decode()


def logger(lines: Lines, level: str = "debug", max_line_length: int = 0) -> Logger:
    return Logger("test", Sink(level, max_line_length, lines.append, now=lambda: 1234567890.5))


PREFIX = "time=2009-02-13T23:31:30.500000Z"


def test_a_line() -> None:
    lines = Lines()
    logger(lines).info("two words", count=3, share=0.5, none=None, ok=True, name="x")
    assert lines == [
        f'{PREFIX} level=info logger=test msg="two words" count=3 share=0.5000 none=- ok=True name=x\n'.encode()
    ]


def test_what_is_repeated_about_a_server_is_said_once_a_minute_with_its_number() -> None:
    lines, moment = Lines(), [100.0]
    log = Logger("test", Sink("info", 0, lines.append, now=lambda: moment[0]))
    for _ in range(1000):
        log.repeated("update failed", "10.0.0.1:6201", reason="timeout")
    log.repeated("update failed", "10.0.0.2:6201", reason="timeout")
    log.repeated("update refused", "10.0.0.1:6201", status=404)
    moment[0] += 60.0
    log.repeated("update failed", "10.0.0.1:6201", reason="connect")
    assert [line.decode().split("msg=")[1].strip() for line in lines] == [
        '"update failed" server=10.0.0.1:6201 reason=timeout times=1',
        '"update failed" server=10.0.0.2:6201 reason=timeout times=1',
        '"update refused" server=10.0.0.1:6201 status=404 times=1',
        '"update failed" server=10.0.0.1:6201 reason=connect times=1000',
    ]


def test_what_is_remembered_of_repeated_lines_is_bounded() -> None:
    log = logger(Lines())
    for number in range(3 * REPEATED_MAX):
        log.repeated("update failed", f"10.0.0.1:{number}")
    assert len(log._repeated) <= REPEATED_MAX


def test_levels() -> None:
    lines = Lines()
    log = logger(lines, "warning")
    log.debug("a")
    log.info("b")
    log.access(method="GET")
    assert lines == []
    log.warning("c")
    log.error("d")
    assert [line.decode().split()[1] for line in lines] == ["level=warning", "level=error"]


def test_access_has_no_message() -> None:
    lines = Lines()
    logger(lines, "info").access(method="GET", status=200)
    assert lines.last == f"{PREFIX} level=info logger=test method=GET status=200\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain-1/2:3", "plain-1/2:3"),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("forged\nlevel=error", r'"forged\nlevel=error"'),
        ("\x00\x1b[31m\r\t", r'"\x00\x1b[31m\r\t"'),
        ("\x85\u2028\u202e", r'"\x85\u2028\u202e"'),
        ("größe", '"größe"'),
        ("\udcff", r'"\udcff"'),
    ],
)
def test_no_value_can_break_a_line(value: str, shown: str) -> None:
    lines = Lines()
    logger(lines).info("m", value=value)
    assert lines.last == f"{PREFIX} level=info logger=test msg=m value={shown}\n"


def test_exceptions_stay_on_one_line() -> None:
    lines = Lines()
    try:
        raise RuntimeError("out of paper")
    except RuntimeError:
        logger(lines).exception("printing failed", printer=1)
    assert lines.last.count("\n") == 1
    assert 'msg="printing failed" printer=1 traceback="Traceback' in lines.last
    assert lines.last.endswith('RuntimeError: out of paper"\n')


def test_long_lines_are_cut() -> None:
    lines = Lines()
    log = logger(lines, max_line_length=80)
    log.info("x" * 100)
    assert len(lines.last) == 81
    assert lines.last.endswith("x...\n")
    log.info("y" * (80 - len(f"{PREFIX} level=info logger=test msg=")))
    assert len(lines.last) == 81
    assert lines.last.endswith("y\n")


def test_secrets_are_blanked() -> None:
    lines = Lines()
    logger(lines).access(token="AUTH_tk1", key="k", query="limit=1&temp_url_sig=abc&X-Amz-Signature=def&a=b")
    assert "AUTH_tk1" not in lines.last
    assert " token=... key=... " in lines.last
    assert 'query="limit=1&temp_url_sig=...&X-Amz-Signature=...&a=b"' in lines.last


def test_redact_query_leaves_other_parameters() -> None:
    assert redact_query("my_signature=1&signature=2") == "my_signature=1&signature=..."
    assert redact_query("") == ""


def test_a_sink_can_be_set_up_later() -> None:
    lines = Lines()
    sink = Sink(write=lines.append)
    log = Logger("test", sink)
    sink.configure("error", write=lines.append)
    log.warning("no")
    log.error("yes")
    assert len(lines) == 1


def test_get_logger_uses_the_sink_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines()
    monkeypatch.setattr(SINK, "write", lines.append)
    get_logger("somewhere").error("m")
    assert "logger=somewhere msg=m" in lines.last


def test_standard_error_that_is_gone_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_standard_error(b"line\n")
    assert capfd.readouterr().err == "line\n"

    def fail(descriptor: int, line: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", fail)
    write_standard_error(b"line\n")
