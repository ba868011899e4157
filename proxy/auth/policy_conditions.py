"""Conditions of access policies: {operator: {key: values}}, all of which have to hold.

Of a condition's values one has to fit, and none of them if the operator is negated. A key that the request does not
have fails a condition, and passes a negated one; what ends in IfExists passes as well, and so does ForAllValues.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from msgspec import Struct

from objstore.proxy.auth.patterns import Pattern, Variables, parse_pattern

# The values of a request by the lower-case name of their key; a key that is not there is absent.
RequestKeys = Mapping[str, tuple[str, ...]]
# Whether a request's value fits a policy's.
Comparison = Callable[[str, Any, Variables], bool]

IF_EXISTS: Final = "IfExists"
FOR_ALL: Final = "ForAllValues"
FOR_ANY: Final = "ForAnyValue"
ARN_PARTS: Final = 6
# Longer numbers are not compared: they come from clients, and cost time.
NUMBER_LENGTH_MAX: Final = 40
_EPOCH: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")


class Operator(Struct, frozen=True):
    """How a kind of condition reads the policy's values and compares the request's. `read` raises ValueError."""

    read: Callable[[str, bool], Any]
    fits: Comparison
    negated: bool = False


class Condition(Struct, frozen=True):
    """One operator and key. name: of the operator. set_operator: FOR_ALL, FOR_ANY or "". key: in lower case."""

    name: str
    set_operator: str
    if_exists: bool
    key: str
    values: tuple[Any, ...]

    def holds(self, keys: RequestKeys, variables: Variables) -> bool:
        found = keys.get(self.key)
        if self.name == NULL:
            return (not found) in self.values
        operator = OPERATORS[self.name]
        if not found:
            passes = operator.negated and self.set_operator != FOR_ANY
            return passes or self.if_exists or self.set_operator == FOR_ALL
        fits = [any(operator.fits(each, value, variables) for value in self.values) for each in found]
        if self.set_operator == FOR_ALL:
            return not any(fits) if operator.negated else all(fits)
        if self.set_operator == FOR_ANY:
            return not all(fits) if operator.negated else any(fits)
        return any(fits) is not operator.negated


def parse_condition(name: str, key: str, values: tuple[str, ...], *, variables: bool) -> Condition:
    """A condition of a policy whose language has variables or, in that of 2008, has none. Raises ValueError."""
    set_operator, colon, plain = name.partition(":")
    if not colon:
        set_operator, plain = "", name
    elif set_operator not in (FOR_ALL, FOR_ANY):
        raise ValueError(f"no such operator: {name}")
    if_exists = plain.endswith(IF_EXISTS)
    plain = plain.removesuffix(IF_EXISTS)
    if plain == NULL and not if_exists and not set_operator:
        return Condition(NULL, "", False, key.lower(), tuple(_read_bool(value, False) for value in values))
    operator = OPERATORS.get(plain)
    if operator is None:
        raise ValueError(f"no such operator: {name}")
    return Condition(
        plain, set_operator, if_exists, key.lower(), tuple(operator.read(each, variables) for each in values)
    )


def pins(condition: Condition) -> bool:
    """Whether only requests pass whose value is one of a few that the policy names."""
    operator = OPERATORS.get(condition.name)
    if operator is None or operator.negated or condition.if_exists or condition.set_operator == FOR_ALL:
        return False
    return all(_is_fixed(value) for value in condition.values)


def _is_fixed(value: Any) -> bool:
    """Whether a policy's value is one text or, as AWS takes it, a range of addresses that is narrow enough."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value.is_private or value.prefixlen >= (8 if value.version == 4 else 32)
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, Pattern) and part.fixed for part in parts)


def _read_pattern(text: str, variables: bool) -> Pattern:
    return parse_pattern(text, variables=variables)


def _read_arn(text: str, variables: bool) -> tuple[Pattern, ...]:
    parts = text.split(":", ARN_PARTS - 1)
    if len(parts) < ARN_PARTS and text != "*":
        raise ValueError(f"not an ARN: {text!r}")
    return tuple(parse_pattern(part, variables=variables) for part in parts)


def _read_number(text: str, _variables: bool) -> float:
    if len(text) > NUMBER_LENGTH_MAX or not _NUMBER.fullmatch(text):
        raise ValueError(f"not a number: {text!r}")
    return float(text)


def _read_date(text: str, _variables: bool) -> float:
    """Seconds since the epoch, of a date of ISO 8601 or of such a number."""
    if _EPOCH.fullmatch(text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _read_bool(text: str, _variables: bool) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"neither true nor false: {text!r}")
    return text.lower() == "true"


def _read_network(text: str, _variables: bool) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _equals(text: str, pattern: Pattern, variables: Variables) -> bool:
    return pattern.text(variables) == text


def _equals_folded(text: str, pattern: Pattern, variables: Variables) -> bool:
    wanted = pattern.text(variables)
    return wanted is not None and wanted.casefold() == text.casefold()


def _like(text: str, pattern: Pattern, variables: Variables) -> bool:
    return pattern.matches(text, variables)


def _arn_like(text: str, patterns: tuple[Pattern, ...], variables: Variables) -> bool:
    """Part by part: no wildcard crosses a colon but in the last."""
    if len(patterns) == 1:
        return True
    parts = text.split(":", ARN_PARTS - 1)
    return len(parts) == len(patterns) and all(
        pattern.matches(part, variables) for pattern, part in zip(patterns, parts, strict=True)
    )


def _in_network(text: str, network: IPv4Network | IPv6Network, _variables: Variables) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and network.version == 4 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version == network.version and address in network


def _comparison(read: Callable[[str, bool], float], compare: Callable[[float, float], bool]) -> Comparison:
    def fits(text: str, wanted: float, _variables: Variables) -> bool:
        try:
            return compare(read(text, False), wanted)
        except (ValueError, OverflowError):
            return False

    return fits


def _operators() -> dict[str, Operator]:
    found = {
        "StringEquals": Operator(_read_pattern, _equals),
        "StringEqualsIgnoreCase": Operator(_read_pattern, _equals_folded),
        "StringLike": Operator(_read_pattern, _like),
        "BinaryEquals": Operator(_read_pattern, _equals),
        "ArnEquals": Operator(_read_arn, _arn_like),
        "ArnLike": Operator(_read_arn, _arn_like),
        "Bool": Operator(_read_bool, _comparison(_read_bool, lambda given, wanted: given == wanted)),
        "IpAddress": Operator(_read_network, _in_network),
    }
    for kind, read in (("Numeric", _read_number), ("Date", _read_date)):
        for name, compare in (
            ("Equals", lambda given, wanted: given == wanted),
            ("LessThan", lambda given, wanted: given < wanted),
            ("LessThanEquals", lambda given, wanted: given <= wanted),
            ("GreaterThan", lambda given, wanted: given > wanted),
            ("GreaterThanEquals", lambda given, wanted: given >= wanted),
        ):
            found[kind + name] = Operator(read, _comparison(read, compare))
    for negated, plain in (
        ("StringNotEquals", "StringEquals"),
        ("StringNotEqualsIgnoreCase", "StringEqualsIgnoreCase"),
        ("StringNotLike", "StringLike"),
        ("ArnNotEquals", "ArnEquals"),
        ("ArnNotLike", "ArnLike"),
        ("NotIpAddress", "IpAddress"),
        ("NumericNotEquals", "NumericEquals"),
        ("DateNotEquals", "DateEquals"),
    ):
        found[negated] = Operator(found[plain].read, found[plain].fits, negated=True)
    return found


NULL: Final = "Null"
OPERATORS: Final = _operators()
