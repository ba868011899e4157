"""Policies of one user or one group alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from msgspec.structs import replace

from objstore.config.access_keys import InlinePolicy, ManagedGroup, ManagedUser
from objstore.proxy.s3.iam.groups import named_group
from objstore.proxy.s3.iam.request import NAME, IamRequest, limit, missing
from objstore.proxy.s3.xml import Element

Owner = ManagedUser | ManagedGroup
Find = Callable[[IamRequest], Owner]
# Of all policies of a user or a group together.
CHARACTERS_MAX: Final = {"UserName": 2048, "GroupName": 5120}


class InlinePolicies:
    """The actions on policies of users, or of groups. parameter: the one that names whose they are."""

    def __init__(self, parameter: str) -> None:
        self._parameter: Final = parameter
        self._characters_max: Final = CHARACTERS_MAX[parameter]

    def put(self, request: IamRequest) -> list[Element]:
        """Make a policy, or replace it."""
        owner, name = self._owner(request, changes=True), request.asked.needed("PolicyName", NAME)
        policy = InlinePolicy(name, request.document(self._characters_max))
        policies = (*(each for each in owner.policies if each.name != name), policy)
        if sum(len(each.document) for each in policies) > self._characters_max:
            raise limit(f"Policies have at most {self._characters_max} characters together")
        self._store(request, owner, policies)
        return []

    def get(self, request: IamRequest) -> list[Element]:
        owner = self._owner(request, changes=False)
        policy = _named(request, owner)
        return [
            Element(self._parameter, owner.name),
            Element("PolicyName", policy.name),
            Element("PolicyDocument", quote(policy.document, safe="-_.~")),
        ]

    def delete(self, request: IamRequest) -> list[Element]:
        owner = self._owner(request, changes=True)
        policy = _named(request, owner)
        self._store(request, owner, tuple(each for each in owner.policies if each is not policy))
        return []

    def names(self, request: IamRequest) -> list[Element]:
        owner = self._owner(request, changes=False)
        return request.page("PolicyNames", ((each.name, Element("member", each.name)) for each in owner.policies))

    def _owner(self, request: IamRequest, *, changes: bool) -> Owner:
        """Raises QueryError."""
        if self._parameter == "GroupName":
            return named_group(request)
        name = request.asked.needed("UserName")
        return request.changeable(name) if changes else request.user(name)

    def _store(self, request: IamRequest, owner: Owner, policies: tuple[InlinePolicy, ...]) -> None:
        if isinstance(owner, ManagedUser):
            request.store(replace(owner, policies=policies))
        else:
            request.tables.groups[owner.account, owner.name] = replace(owner, policies=policies)


def _named(request: IamRequest, owner: Owner) -> InlinePolicy:
    """The policy that a request names. Raises QueryError."""
    name = request.asked.needed("PolicyName", NAME)
    for policy in owner.policies:
        if policy.name == name:
            return policy
    raise missing(f"The policy with name {name} cannot be found.")
