"""What operations are called in policies."""

from __future__ import annotations

from objstore.proxy.auth.policy_words import ACTIONS as KNOWN
from objstore.proxy.s3.actions import ACTIONS, Scope
from objstore.proxy.s3.operations import Operation


def test_every_operation_has_an_action() -> None:
    assert ACTIONS.keys() == set(Operation)


def test_policies_know_every_action() -> None:
    implemented = [action for action in ACTIONS.values() if action.scope is not Scope.NOBODY]
    names = {action.named(with_version) for action in implemented for with_version in (False, True)}
    assert {name for name in names if name.lower() not in KNOWN} == set()


def test_a_request_for_a_version_has_an_action_of_its_own() -> None:
    assert ACTIONS[Operation.GET_OBJECT].named(True) == "s3:GetObjectVersion"
    assert ACTIONS[Operation.PUT_OBJECT].named(True) == "s3:PutObject"
