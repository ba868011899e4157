"""Names that lie in as many partitions as are wanted. Pure: the same each time, so that a report needs no record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.tools.dispersion.settings import CONTAINER_PREFIX

# With random names the last partition of n is found after about n * log(n) tries.
TRIES_PER_PARTITION: Final = 64


def partitions_wanted(partition_count: int, coverage_percent: float) -> int:
    """So many partitions are that share, at least one."""
    return min(max(round(partition_count * coverage_percent / 100), 1), partition_count)


def spread(
    make: Callable[[int], ResourcePath], partition_of: Callable[[ResourcePath], int], wanted: int
) -> dict[int, ResourcePath]:
    """The first names, by number, each in another partition; by partition. Fewer if they are not found."""
    found: dict[int, ResourcePath] = {}
    for number in range(wanted * TRIES_PER_PARTITION):
        path = make(number)
        found.setdefault(partition_of(path), path)
        if len(found) == wanted:
            break
    return found


def container_names(account: str) -> Callable[[int], ResourcePath]:
    """Of the containers that are looked for themselves."""
    return lambda number: ResourcePath(account, f"{CONTAINER_PREFIX}_{number}")


def objects_container(account: str, policy: Policy) -> ResourcePath:
    """The container of the objects of a policy."""
    return ResourcePath(account, f"{CONTAINER_PREFIX}_objects_{policy.index}")


def object_names(account: str, policy: Policy) -> Callable[[int], ResourcePath]:
    """Of the objects of a policy."""
    container = objects_container(account, policy)
    return lambda number: container.with_object(f"{CONTAINER_PREFIX}_{number}")
