"""Clients of the S3 API as people use them: boto3 with its defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.functional.conftest import installed, run
from tests.functional.servers import Store

REGION = "us-east-1"


def s3_client(store: Store, user: str = "test:tester", secret: str = "testing") -> Any:
    """boto3 for a user; for nobody if the name is empty."""
    signing = {} if user else {"signature_version": UNSIGNED}
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name=REGION,
        aws_access_key_id=user or None,
        aws_secret_access_key=secret or None,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **signing),
    )


def settings_of(store: Store, home: Path) -> dict[str, str]:
    """What clients find in their environment; of the user's own settings they see none."""
    return {
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "test:tester",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": store.url,
    }


def run_script(store: Store, home: Path, name: str, *arguments: str, **variables: str) -> str:
    """Run a script of the folder beside this file with the clients' Python; what it printed. Fails with its errors."""
    script = Path(__file__).with_name("scripts") / name
    return run(installed("python"), str(script), *arguments, cwd=home, **settings_of(store, home), **variables)


def new_name() -> str:
    """The name of a bucket that is not there yet."""
    return f"b-{uuid4().hex[:12]}"


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """The status and the code with which the store refuses."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def body_of(answer: dict[str, Any]) -> bytes:
    content: bytes = answer["Body"].read()
    return content


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return found
