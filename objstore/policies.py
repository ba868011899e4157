"""Storage policies: how the objects of a container are stored, and on which ring."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from msgspec import Struct

from objstore.config.units import Bytes, Count, Positive
from objstore.erasure import BadCode
from objstore.errors import StoreError
from objstore.scheme import WHOLE_REPLICAS, Fragments, Scheme, fragments_of

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9-]+")


@dataclass(eq=False)
class UnknownPolicy(StoreError):
    message: ClassVar[str] = "no storage policy {policy!r}"

    policy: int | str


@dataclass(eq=False)
class BadPolicies(StoreError):
    """The set of policies contradicts itself."""

    message: ClassVar[str] = "storage policies: {reason}"

    reason: str


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """One storage policy. Its index is written into paths and rows and never changes; its name may."""

    index: int
    name: str
    aliases: tuple[str, ...] = ()
    default: bool = False
    deprecated: bool = False
    kind: Literal["replication", "erasure_coding"] = "replication"
    consistency: Literal["available", "strong"] = "available"
    ec_type: str = "isa_l_rs_cauchy"
    data_fragments: Count = 0
    parity_fragments: Count = 0
    segment_size: Bytes = 1024 * 1024
    duplication_factor: Positive = 1
    small_object_size: Bytes = 4096
    encrypted: bool = False

    @property
    def is_strong(self) -> bool:
        """Whether a majority of an object's primaries has a part in each write and each read of it."""
        return self.consistency == "strong"

    @property
    def tells_state(self) -> bool:
        """Whether answers about an object say which versions the device has: readers compare them."""
        return self.consistency == "strong" or self.kind != "replication"

    @property
    def scheme(self) -> Scheme:
        """How its objects become pieces, and pieces become objects again. Raises BadCode."""
        if self.kind == "replication":
            return WHOLE_REPLICAS
        return fragments_of(
            self.ec_type,
            self.data_fragments,
            self.parity_fragments,
            self.segment_size,
            self.duplication_factor,
            self.small_object_size,
        )

    @property
    def replicas(self) -> int | None:
        """How many replicas its ring must have; None if that is for the ring to say."""
        scheme = self.scheme
        return scheme.places if isinstance(scheme, Fragments) else None

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and its aliases; all find it."""
        return (self.name, *self.aliases)

    @property
    def data_dir(self) -> str:
        return self._suffixed("objects")

    @property
    def tmp_dir(self) -> str:
        """The folder of a device that holds its unfinished files."""
        return self._suffixed("tmp")

    @property
    def async_dir(self) -> str:
        """The folder of a device that holds its container updates still to be delivered."""
        return self._suffixed("async_pending")

    @property
    def ring_name(self) -> str:
        """Its ring file's name without ".ring.gz"."""
        return self._suffixed("object")

    def _suffixed(self, name: str) -> str:
        # Index 0 carries no suffix: it owns the data written before there were policies.
        return f"{name}-{self.index}" if self.index else name


class Policies:
    """All policies of the cluster, found by index or (in any case) by name or alias."""

    def __init__(self, policies: Sequence[Policy] = (Policy(0, "Policy-0", default=True),)) -> None:
        """Raises BadPolicies unless indexes and names are unique, 0 is there, and one is the default."""
        _check(policies)
        self._by_index = {policy.index: policy for policy in policies}
        self._by_name = {name.lower(): policy for policy in policies for name in policy.names}
        self.default = next((policy for policy in policies if policy.default), policies[0])

    def by_index(self, index: int) -> Policy:
        """Raises UnknownPolicy."""
        try:
            return self._by_index[index]
        except KeyError:
            raise UnknownPolicy(index) from None

    def by_name(self, name: str) -> Policy:
        """Raises UnknownPolicy."""
        try:
            return self._by_name[name.lower()]
        except KeyError:
            raise UnknownPolicy(name) from None

    def __iter__(self) -> Iterator[Policy]:
        return iter(self._by_index.values())

    def __len__(self) -> int:
        return len(self._by_index)


def _check(policies: Sequence[Policy]) -> None:
    indexes = [policy.index for policy in policies]
    names = [name.lower() for policy in policies for name in policy.names]
    if 0 not in indexes or min(indexes) < 0:
        raise BadPolicies("one must have index 0, and none a negative one")
    if doubled := _doubled(str(index) for index in indexes):
        raise BadPolicies(f"index used twice: {doubled}")
    if doubled := _doubled(names):
        raise BadPolicies(f"name used twice: {doubled}")
    for name in names:
        if not NAME_PATTERN.fullmatch(name):
            raise BadPolicies(f"name {name!r} may hold letters, digits and dashes only")
    for policy in policies:
        try:
            _ = policy.scheme
        except BadCode as error:
            raise BadPolicies(f"{policy.name}: {error}") from error
        if policy.kind == "replication" and (policy.data_fragments or policy.parity_fragments):
            raise BadPolicies(f'{policy.name}: whole replicas have no fragments; say kind = "erasure_coding"')
    defaults = [policy for policy in policies if policy.default]
    if len(defaults) > 1 or (not defaults and len(policies) > 1):
        raise BadPolicies("exactly one must say default = true")
    if (defaults or policies)[0].deprecated:
        raise BadPolicies(f"the default {(defaults or policies)[0].name!r} cannot be deprecated")


def _doubled(values: Iterable[str]) -> str:
    return ", ".join(sorted(value for value, count in Counter(values).items() if count > 1))
