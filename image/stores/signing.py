"""Signature version 4 of AWS, in the headers of a request; the body is not signed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class AwsCredentials:
    """An access key with its secret, and the region that requests are for."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str

    def headers(
        self, method: str, host: str, path: str, query: dict[str, str], now: datetime, payload: str = UNSIGNED
    ) -> dict[str, str]:
        """What to send beside other headers; `path` is quoted already, `query` is not. `payload` is its SHA-256."""
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        signed = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": moment}
        canonical = "\n".join(
            [
                method,
                path,
                canonical_query(query),
                *(f"{name}:{value}" for name, value in signed.items()),
                "",
                ";".join(signed),
                payload,
            ]
        )
        key = b"AWS4" + self.secret_key.encode()
        for part in (*scope.split("/"), "\n".join([ALGORITHM, moment, scope, _sha256(canonical)])):
            key = hmac.digest(key, part.encode(), "sha256")
        return {
            "X-Amz-Content-Sha256": payload,
            "X-Amz-Date": moment,
            "Authorization": f"{ALGORITHM} Credential={self.access_key}/{scope}, "
            f"SignedHeaders={';'.join(signed)}, Signature={key.hex()}",
        }


def canonical_query(query: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
