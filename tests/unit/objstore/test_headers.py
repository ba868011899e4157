import pytest

from objstore import headers
from objstore.headers import INTERNAL_NAMES, OWNER_ONLY, Backend, Client, Owner, Sysmeta, is_internal

GROUPS = (Client, Owner, Sysmeta, Backend)


def names(group: type) -> dict[str, str]:
    return {name: value for name, value in vars(group).items() if name.isupper()}


def test_every_name_is_in_title_case() -> None:
    for group in GROUPS:
        for value in names(group).values():
            assert value == value.title()


def test_no_name_stands_twice() -> None:
    values = [value for group in GROUPS for value in names(group).values()]
    assert len(values) == len(set(values))
    assert len(values) > 100


def test_families_and_only_they_end_in_a_dash() -> None:
    for group in GROUPS:
        for name, value in names(group).items():
            assert value.endswith("-") == name.endswith("PREFIX"), value


@pytest.mark.parametrize("value", [*names(Backend).values(), *names(Sysmeta).values()])
def test_ours_are_internal(value: str) -> None:
    assert is_internal(value)


@pytest.mark.parametrize("value", [*names(Client).values(), *names(Owner).values()])
def test_clients_are_not(value: str) -> None:
    assert not is_internal(value)


def test_unlisted_members_of_internal_families() -> None:
    assert is_internal("X-Backend-Whatever")
    assert is_internal("X-Container-Sysmeta-Whatever")
    assert is_internal("X-Object-Transient-Sysmeta-Whatever")
    assert not is_internal("X-Object-Meta-Sysmeta-X")


def test_groups_of_names() -> None:
    assert {"X-Container-Read", "X-Container-Sync-Key", "X-Account-Meta-Temp-Url-Key-2"} < OWNER_ONLY
    assert len(OWNER_ONLY) == 9
    assert {"X-Container-Host", "X-Delete-At-Container"} < INTERNAL_NAMES
    assert not any(name.startswith(headers.INTERNAL_PREFIXES) for name in INTERNAL_NAMES)
