"""Bodies of parts."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.http.multipart import BadMultipart, Multipart, TooLongInMultipart

TYPE = "multipart/form-data; boundary=xx"


class Pieces:
    """A body that comes in pieces of the given sizes, then as it is."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self.content = content
        self.sizes = sizes

    def read(self, size: int = -1) -> bytes:
        take = min(self.sizes.pop(0) if self.sizes else size, size)
        piece, self.content = self.content[:take], self.content[take:]
        return piece


def parts_of(content: bytes, sizes: list[int] | None = None, content_type: str = TYPE) -> list[tuple[str, bytes]]:
    body, found = Multipart(cast(Any, Pieces(content, sizes or [])), content_type), []
    while (part := body.next()) is not None:
        found.append((part.name, part.read()))
    return found


def rendered(parts: list[tuple[str, bytes]]) -> bytes:
    body = b"".join(
        b'--xx\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + content + b"\r\n"
        for name, content in parts
    )
    return body + b"--xx--\r\nepilogue"


CONTENT = st.lists(st.sampled_from([b"\r\n", b"\r", b"--", b"\r\n--x", b"\r\n--", b"a", b"\0" * 100])).map(b"".join)


@given(st.lists(st.tuples(st.sampled_from("abc"), CONTENT)), st.lists(st.integers(1, 9)))
def test_parts_come_out_as_they_went_in(parts: list[tuple[str, bytes]], sizes: list[int]) -> None:
    assert parts_of(rendered(parts), sizes) == parts


def test_what_is_unread_is_passed_over() -> None:
    body = Multipart(cast(Any, Pieces(rendered([("a", b"x" * 200_000), ("b", b"y")]), [])), TYPE)
    first = body.next()
    assert first is not None
    assert first.read(10) == b"x" * 10
    second = body.next()
    assert second is not None
    assert (second.name, second.text(10)) == ("b", "y")
    assert body.next() is None


def test_what_is_left_is_passed_over_within_a_limit() -> None:
    for bytes_max in (200, 199):
        body = Multipart(cast(Any, Pieces(rendered([("a", b"1"), ("b", b"x" * 200)]), [])), TYPE)
        body.next()
        if bytes_max == 200:
            body.finish(bytes_max)
        else:
            with pytest.raises(TooLongInMultipart):
                body.finish(bytes_max)


def test_a_file_has_a_name_and_a_type() -> None:
    head = b'--xx\r\nContent-Disposition: form-data; name="f"; filename="a b.txt"\r\ncontent-type: text/plain\r\n\r\n'
    part = Multipart(cast(Any, Pieces(head + b"x\r\n--xx--", [])), TYPE).next()
    assert part is not None
    assert (part.name, part.filename, part.content_type) == ("f", "a b.txt", "text/plain")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"preamble\r\n--xx--",
        b"--xx",
        b"--xx\r\n\r\n\r\nx\r\n--xx--",
        b"--xxy\r\n\r\n",
        b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',
        b"--xx\r\n" + b"a" * 100_000,
        b"--xx\r\n" + b"a" * 5000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_such_body(content: bytes) -> None:
    with pytest.raises(BadMultipart):
        parts_of(content)


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary="])
def test_types_without_a_boundary(content_type: str) -> None:
    with pytest.raises(BadMultipart):
        parts_of(b"", content_type=content_type)


@pytest.mark.parametrize("value", [b"x" * 11, b"\xff"])
def test_values_that_are_none(value: bytes) -> None:
    part = Multipart(cast(Any, Pieces(rendered([("a", value)]), [])), TYPE).next()
    assert part is not None
    with pytest.raises(BadMultipart):
        part.text(10)
