import pytest

from objstore.quorum import best_status, has_quorum, quorum_size


def test_quorum_size() -> None:
    assert [quorum_size(replicas) for replicas in range(1, 8)] == [1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("statuses", "needed", "reached"),
    [
        ([201, 202], 2, True),
        ([100, 100], 2, True),
        ([404, 404], 2, True),
        ([201, 404], 2, False),
        ([503, 503, 507], 2, False),
        ([], 1, False),
    ],
)
def test_has_quorum(statuses: list[int], needed: int, reached: bool) -> None:
    assert has_quorum(statuses, needed) is reached


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ([201, 201, 503], 201),
        ([201, 202, 202], 202),
        ([202, 201, 507], 202),
        ([404, 404, 201], 404),
        ([404, 409, 409], 409),
        ([201, 404, 503], 503),
        ([503, 503, 503], 503),
        ([507, 507, 201], 503),
        ([], 503),
    ],
)
def test_best_status(statuses: list[int], best: int) -> None:
    assert best_status(statuses, 2) == best


def test_overrides_count_only_where_no_class_wins() -> None:
    overrides = {404: 204}
    assert best_status([204, 404, 503], 2, overrides) == 204
    assert best_status([404, 404, 204], 2, overrides) == 404
    assert best_status([204, 404, 503], 2) == 503
    assert best_status([204, 409, 503], 2, overrides) == 503


def test_with_half_as_quorum_the_first_class_wins() -> None:
    assert best_status([404, 404, 201, 201], 2) == 201
