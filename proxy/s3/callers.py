"""Who makes a request, as policies name users and sessions."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from objstore.proxy.auth.identity import Identity
from objstore.proxy.auth.policy import Caller

CALLERS_MAX: Final = 1024


@lru_cache(maxsize=CALLERS_MAX)
def caller_of(identity: Identity, session: str = "") -> Caller:
    """A user as policies name it: arn:aws:iam::test:user/tester, of the account "test" or "AUTH_test".

    A session of a role, which is a user, is named by its own ARN and by those of the role and the user.
    """
    account, _, user = identity.user.partition(":")
    accounts = (account, identity.account)
    arns = {f"arn:aws:iam::{each}:user/{user}" for each in accounts}
    arn = f"arn:aws:iam::{account}:user/{user}"
    if session:
        arns |= {f"arn:aws:iam::{each}:role/{user}" for each in accounts}
        arns |= {f"arn:aws:sts::{each}:assumed-role/{user}/{session}" for each in accounts}
        arn = f"arn:aws:sts::{account}:assumed-role/{user}/{session}"
    return Caller(arn, frozenset(arns | {identity.user}), frozenset(accounts))


def user_id_of(identity: Identity, session: str = "") -> str:
    """What aws:userid says."""
    return f"{identity.user}:{session}" if session else identity.user
