"""Access lists: cleaning settles, and nothing that a list does not say is granted."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.auth import account_acl, acl
from objstore.proxy.auth.identity import Identity

texts = st.text(st.characters(max_codepoint=255), max_size=60) | st.lists(
    st.sampled_from(
        [
            ".r:*",
            ".r:-",
            ".ref: * ",
            ".r:.a.example",
            ".referrer:-b",
            ".rlistings",
            "a:b",
            "*:*",
            "a",
            " ",
            ".x",
            ".",
            ":",
        ]
    ),
    max_size=6,
).map(",".join)
names = st.text(st.sampled_from("ab:*."), min_size=1, max_size=5)


@given(texts, st.booleans())
def test_cleaning_settles(text: str, writing: bool) -> None:
    try:
        cleaned = acl.clean(text, writing=writing)
    except ValueError:
        return
    assert acl.clean(cleaned, writing=writing) == cleaned
    parsed = acl.parse(cleaned)
    if writing:
        assert not parsed.referrers


@given(texts, st.none() | st.text(max_size=40))
def test_anything_can_be_weighed(text: str, referer: str | None) -> None:
    parsed = acl.parse(text)
    admitted = acl.admits_referrer(parsed.referrers, referer)
    if not any(not pattern.startswith("-") for pattern in parsed.referrers):
        assert not admitted


@given(st.lists(names, max_size=4), names, names)
def test_users_are_admitted_by_one_of_their_names_only(granted: list[str], account: str, user: str) -> None:
    account = account.replace(":", "")
    identity = Identity(f"{account}:{user}", f"AUTH_{account}", frozenset({account, f"{account}:{user}"}))
    admitted = acl.admits_user(acl.parse(",".join(granted)).grantees, identity)
    fitting = {f"{a}:{u}" for a in (account, "*") for u in (user, "*")} | {account}
    assert admitted == any(name in fitting and not name.startswith(".") for name in granted if name)


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_account_lists_of_garbage(text: str) -> None:
    try:
        cleaned = account_acl.clean(text)
    except ValueError:
        return
    assert account_acl.clean(cleaned) == cleaned


@given(
    st.dictionaries(
        st.sampled_from(["admin", "read-write", "read-only"]),
        st.lists(st.text(st.characters(codec="utf-8"), max_size=5)),
    )
)
def test_account_lists_keep_all_names(access: dict[str, list[str]]) -> None:
    cleaned = account_acl.clean(json.dumps(access, ensure_ascii=False).encode().decode("latin-1"))
    assert cleaned.isascii()
    kept = json.loads(cleaned or "{}")
    assert kept == {kind: listed for kind, listed in access.items() if listed}
