"""Names spread over partitions."""

from objstore.paths import PathHasher
from objstore.policies import Policy
from objstore.tools.dispersion import container_names, object_names, partitions_wanted, spread

HASHER = PathHasher("prefix", "suffix")


def test_share_of_the_partitions() -> None:
    assert partitions_wanted(1024, 1.0) == 10
    assert partitions_wanted(16, 1.0) == 1
    assert partitions_wanted(16, 200.0) == 16


def test_every_partition_wanted_has_a_name_of_its_own() -> None:
    found = spread(container_names("a"), lambda path: HASHER.digest(path)[0], 256)
    assert sorted(found) == list(range(256))
    assert found == spread(container_names("a"), lambda path: HASHER.digest(path)[0], 256)
    assert all(HASHER.digest(path)[0] == partition for partition, path in found.items())


def test_partitions_that_no_name_reaches_are_given_up() -> None:
    assert list(spread(container_names("a"), lambda path: 3, 10)) == [3]


def test_objects_lie_in_a_container_of_their_policy() -> None:
    path = object_names("a", Policy(1, "silver"))(7)
    assert path.container == "dispersion_objects_1"
