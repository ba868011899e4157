"""Where an object is looked for and written, by the state of its ring."""

from array import array

import pytest

from objstore.devices import Device
from objstore.object.engine import Location
from objstore.object.part_power import adjacent_powers, partition_of, resolve_location
from objstore.policies import Policy
from objstore.ring.ring import Ring

HASH = "b0000000" + "0" * 24  # 1011...: partitions 1, 2, 5, 11 by the powers 1 to 4
ZERO = "0" * 32


def ring(power: int, following: int | None = None) -> Ring:
    device = Device(0, 1, 1, "10.0.0.1", 6200, "10.0.0.1", 6200, "sda", 100.0)
    return Ring(power, [device], [array("H", [0] * 2**power)], 1, following)


def at(partition: str, digest: str = HASH) -> Location:
    return Location(Policy(0, "gold"), partition, digest, "/a/c/o")


def test_the_partition_is_the_top_bits_of_the_hash() -> None:
    assert [partition_of(HASH, power) for power in range(5)] == ["0", "1", "2", "5", "11"]
    assert partition_of("ffffffff" + "0" * 24, 32) == str(2**32 - 1)


def test_there_are_no_powers_below_0_or_above_32() -> None:
    assert (adjacent_powers(0), adjacent_powers(5), adjacent_powers(32)) == ([1], [4, 6], [31])


@pytest.mark.parametrize("asked", ["2", "5", "11"])
@pytest.mark.parametrize(
    ("power", "following", "home", "others", "linked"),
    [
        (3, None, "5", (), ""),
        (3, 4, "5", ("11",), "11"),
        (3, 3, "5", ("2", "11"), ""),
    ],
    ids=["at rest", "prepared", "increased or cancelled"],
)
def test_any_of_the_partitions_leads_to_the_place(
    asked: str, power: int, following: int | None, home: str, others: tuple[str, ...], linked: str
) -> None:
    found = resolve_location(at(asked), ring(power, following))
    assert (found.partition, found.others, found.linked) == (home, others, linked)


def test_a_place_follows_the_ring() -> None:
    prepared = resolve_location(at("5"), ring(3, 4))
    assert resolve_location(prepared, ring(3, 4)) == prepared
    assert resolve_location(prepared, ring(4, 4)).partition == "11"
    finished = resolve_location(prepared, ring(4))
    assert (finished.partition, finished.others, finished.linked) == ("11", (), "")


def test_a_partition_that_is_not_of_these_powers_stays() -> None:
    for location in (at("1"), at("4"), at("99")):
        assert resolve_location(location, ring(3, 4)) == location


def test_without_a_ring_everything_stays() -> None:
    assert resolve_location(at("5"), None) == at("5")


def test_partition_0_needs_no_second_place() -> None:
    found = resolve_location(at("0", ZERO), ring(3, 4))
    assert (found.partition, found.others, found.linked) == ("0", (), "")
