"""What a signed form allows: the policy document, whose conditions every field of the form has to meet.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from objstore.proxy.s3.errors import S3Error

# Fields that need no condition: they carry the policy, its signature, and the file.
FREE_FIELDS: Final = frozenset(
    {"awsaccesskeyid", "file", "policy", "signature"}
    | {"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"}
)
IGNORED_PREFIX: Final = "x-ignore-"
LENGTH: Final = "content-length-range"
Scalar = str | int | float | bool


class _Document(Struct, frozen=True, forbid_unknown_fields=True):
    expiration: str
    conditions: list[dict[str, Scalar] | list[Scalar]]


class FormCondition(Struct, frozen=True):
    """`field` is in lower case; its value is `value`, or begins with it."""

    field: str
    value: str
    prefix: bool = False

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Whether a form meets it. In a policy a dollar may be written as a backslash and a dollar."""
        given = fields.get(self.field)
        if given is None:
            return False
        expected = (self.value, self.value.replace("\\$", "$"))
        if not self.prefix:
            return given in expected
        if self.field == "content-type":
            return all(part.strip().startswith(expected) for part in given.split(","))
        return given.startswith(expected)


class PostPolicy(Struct, frozen=True):
    """A policy that was read. expires: seconds since the epoch. length_min, length_max: how long the file may be."""

    expires: float
    conditions: tuple[FormCondition, ...]
    length_min: int = 0
    length_max: int | None = None

    def check(self, fields: Mapping[str, str], bucket: str, now: float) -> None:
        """Whether it allows a form with these fields in this bucket. Raises S3Error AccessDenied."""
        if now > self.expires:
            raise _denied("Policy expired")
        given = {**fields, "bucket": bucket}
        named = {condition.field for condition in self.conditions}
        for name in given:
            if name not in named and name not in FREE_FIELDS and not name.startswith(IGNORED_PREFIX):
                raise _denied(f"Extra input fields: {name}")
        for condition in self.conditions:
            if not condition.holds(given):
                operator = "starts-with" if condition.prefix else "eq"
                raise _denied(f'Policy Condition failed: ["{operator}", "${condition.field}", "{condition.value}"]')


def parse_policy(text: str) -> PostPolicy:
    """A policy in base64, as forms have it. Raises S3Error InvalidPolicyDocument."""
    try:
        document = msgspec.json.decode(b64decode(text, validate=True), type=_Document)
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("Invalid JSON") from None
    lengths: tuple[int, int | None] = (0, None)
    conditions = []
    for each in document.conditions:
        if isinstance(each, dict):
            if not each:
                raise _invalid("a condition is empty")
            conditions += [FormCondition(name.lower(), _text(value)) for name, value in each.items()]
        elif len(each) == 3 and str(each[0]).lower() == LENGTH:
            lengths = _lengths(each[1], each[2])
        else:
            conditions.append(_operation(each))
    return PostPolicy(_expiry(document.expiration), tuple(conditions), *lengths)


def _operation(words: list[Scalar]) -> FormCondition:
    operator = str(words[0]).lower() if words else ""
    if len(words) != 3 or operator not in ("eq", "starts-with") or not str(words[1]).startswith("$"):
        raise _invalid("a condition is neither of eq, starts-with and content-length-range")
    return FormCondition(str(words[1])[1:].lower(), _text(words[2]), prefix=operator == "starts-with")


def _lengths(shortest: Scalar, longest: Scalar) -> tuple[int, int]:
    try:
        length_min, length_max = int(shortest), int(longest)
    except (ValueError, OverflowError):
        raise _invalid("content-length-range needs two numbers") from None
    if not 0 <= length_min <= length_max:
        raise _invalid("content-length-range needs two numbers, the smaller one first")
    return length_min, length_max


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _expiry(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(f"invalid expiration {text!r}") from None
    if "T" not in text or moment.tzinfo is None:
        raise _invalid(f"invalid expiration {text!r}")
    return moment.astimezone(UTC).timestamp()


def _invalid(reason: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {reason}")


def _denied(reason: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {reason}")
