"""How streams are divided, and requests signed."""

from __future__ import annotations

from datetime import UTC, datetime

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from objstore.image.stores.signing import UNSIGNED, AwsCredentials, canonical_query
from objstore.image.stores.store import PieceGroups


@given(st.lists(st.binary(max_size=20)), st.integers(1, 15))
def test_groups_hold_everything_in_order(pieces: list[bytes], size: int) -> None:
    groups, whole = PieceGroups(pieces, size), b"".join(pieces)
    divided = []
    for group in groups:
        divided.append(b"".join(group))
        assert groups.counted == len(divided[-1])
    assert b"".join(divided) == whole
    assert all(len(each) == size for each in divided[:-1])
    assert all(divided)


def test_groups_are_not_read_ahead() -> None:
    taken = []

    def source() -> object:
        for number in range(4):
            taken.append(number)
            yield b"x" * 10

    groups = iter(PieceGroups(source(), 20))  # type: ignore[arg-type]
    next(next(groups))
    assert taken == [0]


def test_signatures_are_those_of_botocore() -> None:
    query = {"partNumber": "3", "uploadId": "a/b+c=", "uploads": ""}
    path = "/bucket/a%20b/c~d"
    key = AwsCredentials("AKID", "secret", "eu-west-1")
    now = datetime.now(UTC)
    ours = key.headers("PUT", "127.0.0.1:8080", path, query, now)
    request = AWSRequest(
        "PUT", f"http://127.0.0.1:8080{path}?{canonical_query(query)}", {"x-amz-content-sha256": UNSIGNED}
    )
    request.context["payload_signing_enabled"] = False
    request.context["timestamp"] = ours["X-Amz-Date"]
    signer = S3SigV4Auth(Credentials("AKID", "secret"), "s3", "eu-west-1")
    request.headers["host"] = "127.0.0.1:8080"
    request.headers["X-Amz-Date"] = ours["X-Amz-Date"]
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert ours["Authorization"].rpartition("Signature=")[2] == signature
    assert "secret" not in repr(key)
