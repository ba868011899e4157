from typing import Any

import pytest

from objstore.policies import BadPolicies, Policies, Policy, UnknownPolicy

GOLD = Policy(0, "gold", aliases=("Au", "yellow"), default=True)
SILVER = Policy(1, "silver")


def _ec(data: int, parity: int, **more: Any) -> Policy:
    return Policy(0, "x", kind="erasure_coding", data_fragments=data, parity_fragments=parity, **more)


def test_folders_and_rings() -> None:
    assert (GOLD.data_dir, GOLD.tmp_dir, GOLD.async_dir) == ("objects", "tmp", "async_pending")
    assert (SILVER.data_dir, SILVER.tmp_dir, SILVER.async_dir) == ("objects-1", "tmp-1", "async_pending-1")
    assert (GOLD.ring_name, SILVER.ring_name) == ("object", "object-1")


def test_lookup() -> None:
    policies = Policies([SILVER, GOLD])
    assert policies.by_index(1) is SILVER
    assert policies.by_name("SILVER") is SILVER
    assert policies.by_name("au") is policies.by_name("Yellow") is policies.default is GOLD
    assert list(policies) == [SILVER, GOLD]
    assert len(policies) == 2


def test_unknown() -> None:
    with pytest.raises(UnknownPolicy, match="no storage policy 7"):
        Policies().by_index(7)
    with pytest.raises(UnknownPolicy, match="no storage policy 'bronze'"):
        Policies().by_name("bronze")


def test_without_any_there_is_one() -> None:
    assert [(policy.index, policy.name) for policy in Policies()] == [(0, "Policy-0")]
    assert Policies().default.index == 0


def test_a_single_one_is_the_default_without_saying_so() -> None:
    assert Policies([Policy(0, "only")]).default.name == "only"


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        ([], "index 0"),
        ([SILVER], "index 0"),
        ([GOLD, Policy(-1, "x")], "negative"),
        ([GOLD, Policy(0, "x")], "index used twice: 0"),
        ([GOLD, Policy(1, "GOLD")], "name used twice: gold"),
        ([GOLD, Policy(1, "x", aliases=("yellow",))], "name used twice: yellow"),
        ([GOLD, Policy(1, "x", default=True)], "exactly one"),
        ([Policy(0, "x"), SILVER], "exactly one"),
        ([Policy(0, "x", deprecated=True, default=True), SILVER], "cannot be deprecated"),
        ([Policy(0, "x", deprecated=True)], "cannot be deprecated"),
        ([Policy(0, "a name")], "letters, digits and dashes"),
        ([Policy(0, "")], "letters, digits and dashes"),
        ([Policy(0, "x", data_fragments=4)], "no fragments"),
        ([_ec(0, 2)], "from 1 data"),
        ([_ec(4, 61)], "up to 64"),
        ([_ec(4, 2, ec_type="chalk")], "ec_type is one of"),
        ([_ec(8, 5, ec_type="isa_l_rs_vand")], "cannot be decoded"),
        ([_ec(22, 4, ec_type="isa_l_rs_vand")], "cannot be decoded"),
        ([_ec(4, 2, segment_size=1)], "segments of"),
    ],
)
def test_contradictions(policies: list[Policy], reason: str) -> None:
    with pytest.raises(BadPolicies, match=reason):
        Policies(policies)
