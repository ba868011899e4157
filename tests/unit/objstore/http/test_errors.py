import pytest

from objstore.http.errors import HttpError


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "Not Found"),
        (507, "Insufficient Storage"),
        (497, "Blacklisted"),
        (498, "Rate Limited"),
        (499, "Client Disconnect"),
        (529, "Too Many Backend Requests"),
        (599, "Unknown"),
    ],
)
def test_the_reason_is_the_statuss_own(status: int, reason: str) -> None:
    assert HttpError(status).reason == reason


def test_what_is_given_is_kept() -> None:
    error = HttpError(412, "Maximum limit is 5", {"X-Timestamp": "1"})
    assert (error.status, error.reason, error.headers) == (412, "Maximum limit is 5", {"X-Timestamp": "1"})
    assert str(error) == "412 Maximum limit is 5"


def test_headers_are_not_shared() -> None:
    HttpError(500).headers["Etag"] = "x"
    assert HttpError(500).headers == {}
