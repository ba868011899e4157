"""Policies that AWS has for every account, which scripts attach by their ARNs."""

from __future__ import annotations

import json
from typing import Final


def _allowing(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


# By ARN.
AWS_POLICIES: Final = {
    f"arn:aws:iam::aws:policy/{name}": document
    for name, document in {
        "AdministratorAccess": _allowing("*"),
        "AmazonS3FullAccess": _allowing("s3:*"),
        "AmazonS3ReadOnlyAccess": _allowing("s3:Get*", "s3:List*"),
        "IAMFullAccess": _allowing("iam:*"),
        "IAMReadOnlyAccess": _allowing("iam:Get*", "iam:List*"),
    }.items()
}
