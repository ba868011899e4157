"""Requests to a proxy and to storage servers, on threads."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from objstore.devices import Device
from objstore.errors import reason_of
from objstore.headers import Backend
from objstore.paths import ResourcePath
from objstore.tools.problems import OperatorProblem


class Session(Struct, frozen=True):
    """What a login gives."""

    host: str
    port: int
    account: str
    token: str
    timeout_seconds: float

    def put(self, path: ResourcePath, headers: Mapping[str, str], body: bytes = b"") -> str:
        """What was wrong, "" if nothing."""
        sent = {"X-Auth-Token": self.token, **headers}
        try:
            status = _request(self.host, self.port, "PUT", f"/v1{path.quoted}", sent, self.timeout_seconds, body)[0]
        except (OSError, http.client.HTTPException) as error:
            return f"{path}: {reason_of(error)}"
        return "" if status in (201, 202) else f"{path}: {status}"


def log_in(auth: str, user: str, key: str, timeout_seconds: float) -> Session:
    """Raises OperatorProblem."""
    try:
        headers = {"X-Auth-User": user, "X-Auth-Key": key}
        where = urlsplit(auth)
        host, port = where.hostname, where.port or 80
        if where.scheme != "http" or not host:
            raise ValueError("no address as http://HOST:PORT/auth/v1.0")
        status, answered = _request(host, port, "GET", where.path, headers, timeout_seconds)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise OperatorProblem(f"{auth}: {reason_of(error)}", "check --auth") from error
    if status != 200:
        raise OperatorProblem(f"{auth}: the login of {user} was answered with {status}", "check --user and --key")
    storage = urlsplit(answered["x-storage-url"])
    account = unquote(storage.path.rpartition("/")[2])
    return Session(storage.hostname or host, storage.port or port, account, answered["x-auth-token"], timeout_seconds)


def has_copy(node: Device, partition: int, path: ResourcePath, policy_index: int, timeout_seconds: float) -> bool:
    """Whether a storage server has it. Raises OSError, HTTPException, also for answers that say neither."""
    headers = {Backend.POLICY_INDEX: str(policy_index)} if path.is_object else {}
    target = f"/{node.device}/{partition}{path.quoted}"
    status, _ = _request(node.ip, node.port, "HEAD", target, headers, timeout_seconds)
    if status not in (200, 204, 404):
        raise http.client.HTTPException(f"it answered {status}")
    return status != 404


def _request(
    host: str,
    port: int,
    method: str,
    target: str,
    headers: Mapping[str, str],
    timeout_seconds: float,
    body: bytes = b"",
) -> tuple[int, dict[str, str]]:
    with closing(http.client.HTTPConnection(host, port, timeout=timeout_seconds)) as link:
        link.request(method, target, body, dict(headers))
        response = link.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
