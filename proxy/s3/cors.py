"""Cross-origin resource sharing of buckets: which requests of other sites' scripts each rule allows.

See the Fetch standard, section "HTTP CORS protocol".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from objstore.headers import Client
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.xml import ReceivedElement

RULES_MAX: Final = 100
ID_LENGTH_MAX: Final = 255
METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
ANY: Final = "*"
VARY: Final = ", ".join((Client.ORIGIN, Client.ACCESS_CONTROL_REQUEST_HEADERS, Client.ACCESS_CONTROL_REQUEST_METHOD))


class CorsRule(Struct, frozen=True):
    """Which origins may send which requests. headers: in lower case. Each origin and header may hold one "*"."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age: int | None = None

    def origin_of(self, origin: str) -> str | None:
        """The origin that fits, as the rule has it."""
        return next((each for each in self.origins if _fits(each, origin)), None)

    def allows(self, origin: str, method: str, headers: Sequence[str]) -> bool:
        return (
            method in self.methods
            and self.origin_of(origin) is not None
            and all(any(_fits(each, header.lower()) for each in self.headers) for header in headers)
        )


def _fits(pattern: str, text: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


def rule_for(rules: Sequence[CorsRule], origin: str, method: str, headers: Sequence[str] = ()) -> CorsRule | None:
    """The first rule that allows a request."""
    return next((rule for rule in rules if rule.allows(origin, method, headers)), None)


def cors_headers(rule: CorsRule, origin: str, headers: Sequence[str] = ()) -> dict[str, str]:
    """What the answer to a request tells the browser; `headers` are those that a preflight asks for."""
    found = {Client.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(rule.methods), Client.VARY: VARY}
    if rule.origin_of(origin) == ANY:
        found[Client.ACCESS_CONTROL_ALLOW_ORIGIN] = ANY
    else:
        found[Client.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        found[Client.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
    if headers:
        found[Client.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(header.lower() for header in headers)
    if rule.exposed:
        found[Client.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(rule.exposed)
    if rule.max_age is not None:
        found[Client.ACCESS_CONTROL_MAX_AGE] = str(rule.max_age)
    return found


def parse_cors(document: ReceivedElement) -> tuple[CorsRule, ...]:
    """The rules of a CORSConfiguration. Raises S3Error, MalformedDocument."""
    rules = document.all("CORSRule")
    if not rules or len(rules) != len(list(document)) or len(rules) > RULES_MAX:
        raise S3Error("MalformedXML")
    ids = [name for rule in rules if (name := rule.value("ID"))]
    if len(set(ids)) != len(ids) or any(len(name) > ID_LENGTH_MAX for name in ids):
        raise S3Error("InvalidRequest", "The IDs of rules are unique and have at most 255 characters")
    return tuple(_rule(rule) for rule in rules)


def _rule(element: ReceivedElement) -> CorsRule:
    known = {"ID", "AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds"}
    if any(child.name not in known for child in element):
        raise S3Error("MalformedXML")
    origins, methods, headers, exposed = (
        tuple(child.text.strip() for child in element.all(name))
        for name in ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")
    )
    if not origins or not methods:
        raise S3Error("MalformedXML")
    for method in methods:
        if method not in METHODS:
            raise S3Error(
                "InvalidRequest", f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            )
    for name, values in (("AllowedOrigin", origins), ("AllowedHeader", headers)):
        for value in values:
            if value.count("*") > 1:
                raise S3Error("InvalidRequest", f'{name} "{value}" can not have more than one wildcard.')
    for value in exposed:
        if "*" in value:
            raise S3Error("InvalidRequest", f'ExposeHeader "{value}" contains wildcard.')
    if not all(value.isprintable() and value.isascii() for value in (*origins, *headers, *exposed)):
        raise S3Error("InvalidRequest", "Origins and names of headers are ASCII")
    age = element.value("MaxAgeSeconds")
    if age is not None and not (age.isascii() and age.isdigit() and len(age) < 10):
        raise S3Error("MalformedXML")
    lower = tuple(header.lower() for header in headers)
    return CorsRule(origins, methods, lower, exposed, None if age is None else int(age))
