"""Forms: their fields and their file, however they come; and what a policy allows."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Final

import pytest

from objstore.http.bodies import BytesBody, IterableBody
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.form import PostedForm, read_form
from objstore.proxy.s3.post_policy import PostPolicy, parse_policy

BOUNDARY: Final = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
TYPE: Final = f"multipart/form-data; boundary={BOUNDARY}"
NOW: Final = 1_764_000_000.0


def written(fields: list[tuple[str, str]], content: bytes = b"abc", behind: str = "", name: str = "a.txt") -> bytes:
    parts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n' for field, value in fields
    )
    parts += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    parts += "Content-Type: text/plain\r\n\r\n"
    rest = f'\r\nContent-Disposition: form-data; name="{behind}"\r\n\r\nx\r\n--{BOUNDARY}--\r\n' if behind else "--\r\n"
    return parts.encode() + content + f"\r\n--{BOUNDARY}{rest}".encode()


def form_of(wire: bytes, content_type: str = TYPE) -> PostedForm:
    return read_form(BytesBody(wire), content_type)


def code_of(wire: bytes, content_type: str = TYPE) -> str:
    with pytest.raises(S3Error) as caught:
        form_of(wire, content_type).file.read()
    return caught.value.code


CONTENTS: Final = (
    b"",
    b"abc",
    b"\r\n",
    f"\r\n--{BOUNDARY[:-1]}".encode(),
    b"--" + BOUNDARY.encode(),
    bytes(range(256)) * 1000,
    (b"\r\n--" + BOUNDARY.encode()[:-1]) * 5000,
)


@pytest.mark.parametrize("content", CONTENTS)
def test_a_form(content: bytes) -> None:
    form = form_of(written([("Key", "docs/${filename}"), ("acl", "private"), ("ACL", "other")], content))
    assert dict(form.fields) == {"key": "docs/a.txt", "acl": "private"}
    assert (form.filename, form.content_type) == ("a.txt", "text/plain")
    assert form.file.read() == content
    assert form.file.read() == b""


@pytest.mark.parametrize("content", CONTENTS)
def test_however_it_comes_the_file_is_the_same(content: bytes) -> None:
    wire = written([("key", "a")], content, behind="more")
    for size in (1, 7, 1000) if len(wire) < 10_000 else (997, 65_537):
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        form = read_form(IterableBody(pieces), TYPE)
        buffer = memoryview(bytearray(13))
        count = form.file.readinto(buffer)
        assert bytes(buffer[:count]) + form.file.read() == content


@pytest.mark.parametrize("name", ["a.txt", "C:\\\\folder\\\\a.txt", "/folder/a.txt", "\\\\a.txt"])
def test_the_name_of_the_file_has_no_folders(name: str) -> None:
    assert form_of(written([("key", "${filename}")], name=name)).fields["key"] == "a.txt"


def test_a_form_that_is_cut_off() -> None:
    wire = written([("key", "a")])
    for end in range(len(wire) - 2):
        assert code_of(wire[:end]) in ("MalformedPOSTRequest", "IncorrectNumberOfFilesInPostRequest")


def test_forms_that_are_none() -> None:
    assert code_of(b"", "application/xml") == "PreconditionFailed"
    assert code_of(written([]), "multipart/form-data") == "PreconditionFailed"
    assert code_of(written([]), "multipart/form-data; boundary=other") == "MalformedPOSTRequest"
    assert code_of(b"x" + written([])) == "MalformedPOSTRequest"
    assert code_of(written([]).replace(b' name="file";', b"")) == "MalformedPOSTRequest"
    assert code_of(f"--{BOUNDARY}--\r\n".encode()) == "IncorrectNumberOfFilesInPostRequest"
    assert code_of(written([("", "a")])) == "MalformedPOSTRequest"


def test_fields_have_limits() -> None:
    assert form_of(written([("key", "a" * 20_000)])).fields["key"] == "a" * 20_000
    assert code_of(written([("key", "a" * 21_000)])) == "MaxPostPreDataLengthExceededError"
    assert code_of(written([(f"x-ignore-{number}", "a" * 1000) for number in range(25)])) == (
        "MaxPostPreDataLengthExceededError"
    )
    assert code_of(written([(f"a{number}", "") for number in range(201)])) == "MaxPostPreDataLengthExceededError"
    assert code_of(written([("key", "a")], behind="b" * 200_000)) == "MalformedPOSTRequest"


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ((0, 10), None),
        ((10, 10), None),
        ((11, 20), "EntityTooSmall"),
        ((0, 9), "EntityTooLarge"),
        ((0, 0), "EntityTooLarge"),
    ],
)
def test_the_length_of_the_file(limits: tuple[int, int], code: str | None) -> None:
    form = form_of(written([], b"0123456789"))
    form.file.limit(*limits)
    if code is None:
        assert form.file.read() == b"0123456789"
    else:
        with pytest.raises(S3Error, match=code):
            form.file.read()


def policy_text(*conditions: Any, **document: Any) -> str:
    whole = {"expiration": "2030-01-01T00:00:00Z", "conditions": list(conditions), **document}
    return b64encode(json.dumps(whole).encode()).decode()


def policy(*conditions: Any, **document: Any) -> PostPolicy:
    return parse_policy(policy_text(*conditions, **document))


BUCKET: Final = {"bucket": "photos"}


def allowed(rules: PostPolicy, fields: dict[str, str], bucket: str = "photos", now: float = NOW) -> bool:
    try:
        rules.check(fields, bucket, now)
    except S3Error as error:
        assert error.code == "AccessDenied"
        return False
    return True


@pytest.mark.parametrize(
    ("condition", "fields", "holds"),
    [
        ({"key": "a"}, {"key": "a"}, True),
        ({"KEY": "a"}, {"key": "a"}, True),
        ({"key": "a"}, {"key": "A"}, False),
        ({"key": "a"}, {}, False),
        (["eq", "$key", "a"], {"key": "a"}, True),
        (["EQ", "$Key", "a"], {"key": "b"}, False),
        (["starts-with", "$key", "user/"], {"key": "user/a"}, True),
        (["StArTs-WiTh", "$key", "user/"], {"key": "other/a"}, False),
        (["starts-with", "$key", ""], {"key": "anything"}, True),
        (["starts-with", "$key", ""], {}, False),
        (["starts-with", "$key", "\\$a"], {"key": "$ab"}, True),
        (["starts-with", "$key", "\\$a"], {"key": "\\$ab"}, True),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/png, image/gif"}, True),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/png,text/html"}, False),
        ({"success_action_status": 201}, {"success_action_status": "201"}, True),
        ({"key": "a"}, {"key": "a", "acl": "public-read"}, False),
        ({"key": "a"}, {"key": "a", "x-ignore-me": "1", "policy": "", "x-amz-signature": "", "signature": ""}, True),
    ],
)
def test_conditions(condition: Any, fields: dict[str, str], holds: bool) -> None:
    assert allowed(policy(BUCKET, condition), fields) is holds


def test_the_bucket_needs_a_condition() -> None:
    assert allowed(policy(BUCKET), {})
    assert not allowed(policy(BUCKET), {}, "other")
    assert not allowed(policy(), {})


def test_a_policy_expires() -> None:
    rules = policy(BUCKET, expiration="2025-11-24T16:00:00Z")
    assert allowed(rules, {}, now=NOW)
    assert not allowed(rules, {}, now=NOW + 1)


def test_the_range_of_lengths() -> None:
    rules = policy(BUCKET, ["content-length-range", 1, "20"])
    assert (rules.length_min, rules.length_max) == (1, 20)
    assert policy(BUCKET).length_max is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%%%",
        b64encode(b"{").decode(),
        b64encode(b"[" * 100_000).decode(),
        b64encode(b"\xff").decode(),
        b64encode(b'{"conditions": []}').decode(),
        b64encode(b'{"expiration": "2030-01-01T00:00:00Z"}').decode(),
        b64encode(b'{"EXPIRATION": "2030-01-01T00:00:00Z", "conditions": []}').decode(),
    ],
)
def test_documents_that_are_none(text: str) -> None:
    with pytest.raises(S3Error, match="InvalidPolicyDocument"):
        parse_policy(text)


@pytest.mark.parametrize(
    "condition",
    [
        {},
        [],
        ["eq"],
        ["eq", "key", "a"],
        ["ends-with", "$key", "a"],
        ["content-length-range", 0],
        ["content-length-range", -1, 0],
        ["content-length-range", 2, 1],
        ["content-length-range", "a", "b"],
        [["eq"]],
        {"key": {}},
    ],
)
def test_conditions_that_are_none(condition: Any) -> None:
    with pytest.raises(S3Error, match="InvalidPolicyDocument"):
        policy(condition)


@pytest.mark.parametrize("expiration", ["2030-01-01", "tomorrow", "", 5, "2030-01-01T00:00:00"])
def test_expirations_that_are_none(expiration: Any) -> None:
    with pytest.raises(S3Error, match="InvalidPolicyDocument"):
        policy(BUCKET, expiration=expiration)
