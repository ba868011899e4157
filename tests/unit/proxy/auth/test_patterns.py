"""Patterns of policies: wildcards, variables, and that no pattern is slow."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.auth.patterns import parse_pattern

VALUES = {"aws:username": "anna", "s3:prefix": "a*b"}
SMALL = st.text(alphabet="ab/", max_size=12)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("", "", True),
        ("*", "", True),
        ("*", "any/thing", True),
        ("?", "", False),
        ("?", "\n", True),
        ("a*c", "abbc", True),
        ("a*c", "abbcd", False),
        ("*a", "aa", True),
        ("a*a", "a", False),
        ("*b*b*", "abb", True),
        ("*b*b*", "ab", False),
        ("a?*d", "abcd", True),
        ("a.c", "abc", False),
        ("home/${aws:username}/*", "home/anna/x", True),
        ("home/${AWS:UserName}/*", "home/anna/x", True),
        ("home/${aws:username}/*", "home/bert/x", False),
        ("${aws:missing}*", "x", False),
        ("${aws:missing, 'x'}", "x", True),
        ("${s3:prefix}", "a*b", True),
        ("${s3:prefix}", "aXb", False),
        ("${*}${?}${$}", "*?$", True),
        ("${*}", "x", False),
    ],
)
def test_matches(pattern: str, text: str, fits: bool) -> None:
    assert parse_pattern(pattern, variables=True).matches(text, VALUES.get) is fits


def test_without_variables_a_dollar_is_text() -> None:
    assert parse_pattern("${aws:username}", variables=False).matches("${aws:username}", VALUES.get)


def test_a_variable_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="without an end"):
        parse_pattern("a${aws:username", variables=True)


@given(st.text(alphabet="ab/*?", max_size=10), SMALL)
def test_as_a_regular_expression_says(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    wanted = re.fullmatch(expression, text, re.DOTALL) is not None
    assert parse_pattern(pattern, variables=True).matches(text, VALUES.get) is wanted


@given(st.text(max_size=20), st.text(alphabet="ab*?", max_size=8))
def test_the_value_of_a_variable_is_no_pattern(value: str, text: str) -> None:
    value = value.replace("\0", "")
    assert parse_pattern("${v}", variables=True).matches(text, {"v": value}.get) is (value == text)


def test_hostile_patterns_are_quick() -> None:
    begun = process_time()
    assert not parse_pattern("*a" * 10_000 + "b", variables=True).matches("a" * 1024, VALUES.get)
    assert not parse_pattern("*?a?" * 5_000 + "b", variables=True).matches("a" * 1024, VALUES.get)
    assert process_time() - begun < 1
