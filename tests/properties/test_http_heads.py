"""Properties of heads: what we send is what is read; anything else is refused in an orderly way."""

from hypothesis import example, given
from hypothesis import strategies as st

from objstore.devices import Device
from objstore.http.errors import HttpError
from objstore.http.heads import HeadLimits, parse_request, parse_response
from objstore.http.messages import Environ, variable_of
from objstore.http.transport import BackendRequest
from objstore.paths import ResourcePath

NODE = Device(0, 1, 1, "127.0.0.1", 6200, "", 0, "sda", 1.0)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
names = st.from_regex(r"X-[A-Za-z0-9-]{1,10}", fullmatch=True).map(str.title)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)


@given(texts.filter(lambda text: "/" not in text), texts, st.dictionaries(names, values, max_size=5))
def test_what_a_client_sends_is_what_a_server_reads(container: str, name: str, headers: dict[str, str]) -> None:
    request = BackendRequest("PUT", NODE, 7, ResourcePath("a", container, name), headers, "q=1")
    environ: Environ = {}
    assert parse_request(request.head("Content-Length: 3"), environ, HeadLimits())
    assert environ["PATH_INFO"].encode("latin-1").decode() == f"/sda/7/a/{container}/{name}"
    assert (environ["QUERY_STRING"], environ["CONTENT_LENGTH"]) == ("q=1", "3")
    for key, value in headers.items():
        assert environ[variable_of(key)] == value.strip(" \t")


@given(st.text(st.characters(max_codepoint=0xFF), max_size=20))
@example("a\r\nX-Smuggled: 1")
def test_values_never_become_lines(value: str) -> None:
    request = BackendRequest("PUT", NODE, 7, ResourcePath("a"), {"X-A": value})
    try:
        head = request.head("Content-Length: 3")
    except ValueError:
        assert set(value) & set("\r\n\0")
        return
    assert head.count(b"\n") == 5


@given(st.binary(max_size=100), st.integers(0, 80), st.integers(0, 5))
def test_damaged_requests_are_parsed_or_refused(damage: bytes, place: int, length: int) -> None:
    head = b"PUT /v1/a/c/o?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-A: 1\r\n\r\n"
    environ: Environ = {}
    damaged = head[:place] + damage + head[place + length :]
    try:
        parse_request(damaged[: damaged.find(b"\r\n\r\n") + 4] or b"\r\n\r\n", environ, HeadLimits())
    except HttpError as error:
        assert error.status in (400, 414, 501, 505)
        return
    assert environ["PATH_INFO"].startswith("/")
    assert all("\n" not in value and "\r" not in value and "\0" not in value for key, value in environ.items()
               if key.startswith("HTTP_"))  # fmt: skip


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 5))
def test_damaged_answers_are_parsed_or_refused(damage: bytes, place: int, length: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nEtag: x\r\n\r\n"
    damaged = head[:place] + damage + head[place + length :]
    try:
        answer = parse_response(damaged[: damaged.find(b"\r\n\r\n") + 4])
    except ValueError:
        return
    assert 0 <= answer.status <= 999
