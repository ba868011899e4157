"""The query API, in which STS and IAM speak: an action and its parameters in a form at the root, signed for a service.

https://docs.aws.amazon.com/IAM/latest/UserGuide/programming.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from msgspec import Struct

from objstore.http.messages import Environ, Response
from objstore.proxy.auth.access_keys import AccessKey
from objstore.proxy.auth.policy import Decision, PolicyRequest, user_policy
from objstore.proxy.s3 import errors
from objstore.proxy.s3.callers import caller_of
from objstore.proxy.s3.claims import QUERY_SERVICES
from objstore.proxy.s3.policy_keys import policy_keys
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.xml import Element, document, readable

if TYPE_CHECKING:
    from objstore.proxy.s3.authentication import RequestAuthentication

BODY_BYTES_MAX: Final = 256 << 10
FIELDS_MAX: Final = 1000
VERSIONS: Final = {"sts": "2011-06-15", "iam": "2010-05-08"}
_SCOPE: Final = re.compile(rf"(?:/|%2F)({'|'.join(QUERY_SERVICES)})(?:/|%2F)aws4_request", re.IGNORECASE)
# What errors of signatures are called here.
_CODES: Final = {
    "AuthorizationHeaderMalformed": "IncompleteSignature",
    "AuthorizationQueryParametersError": "IncompleteSignature",
    "ExpiredToken": "ExpiredTokenException",
    "InternalError": "InternalFailure",
    "InvalidAccessKeyId": "InvalidClientTokenId",
    "InvalidToken": "InvalidClientTokenId",
    "RequestTimeTooSkewed": "RequestExpired",
}


class QueryError(Exception):
    """An answer of the query API, which only it gives: a code, and what is wrong."""

    def __init__(self, code: str, reason: str, status: int = 400) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason, self.status = code, reason, status


class QueryRequest(Struct, frozen=True):
    """What somebody asks of a service. key: the access key that has signed it. source: for conditions of policies."""

    action: str
    parameters: Mapping[str, str]
    key: AccessKey
    source: S3Request

    def text(self, name: str, pattern: str = "", *, default: str = "") -> str:
        """A parameter that may be missing. Raises QueryError ValidationError if the pattern does not match it all."""
        value = self.parameters.get(name, default)
        if name in self.parameters and pattern and not re.fullmatch(pattern, value, re.ASCII):
            raise QueryError("ValidationError", f"{name} is not as it must be: {pattern}")
        return value

    def needed(self, name: str, pattern: str = "") -> str:
        """A parameter that must be there. Raises QueryError ValidationError."""
        if not self.parameters.get(name):
            raise QueryError("ValidationError", f"{name} is missing")
        return self.text(name, pattern)

    def number(self, name: str, smallest: int, largest: int, default: int) -> int:
        """Raises QueryError ValidationError."""
        text = self.text(name, r"[0-9]{1,9}", default=str(default))
        if not smallest <= int(text) <= largest:
            raise QueryError("ValidationError", f"{name} must be from {smallest} to {largest}")
        return int(text)

    def members(self, name: str) -> list[dict[str, str]]:
        """A list of structures, `name.member.N.field`, by number; of a list of texts the field is ""."""
        found: dict[int, dict[str, str]] = {}
        for parameter, value in self.parameters.items():
            matched = re.fullmatch(rf"{re.escape(name)}\.member\.([0-9]{{1,4}})(?:\.(\w+))?", parameter, re.ASCII)
            if matched:
                found.setdefault(int(matched[1]), {})[matched[2] or ""] = value
        return [found[number] for number in sorted(found)]

    def decision(self, action: str, resource: str, now: float) -> Decision:
        """What the caller's policies say of an action; one of a session denies what it does not allow."""
        key = self.key
        asked = PolicyRequest(
            caller_of(key.identity, key.session_name), action, resource, policy_keys(self.source, now)
        )
        own = {user_policy(each).evaluate(asked) for each in key.policies}
        limits = {user_policy(each).evaluate(asked) for each in (() if key.session is None else key.session.policies)}
        if Decision.DENY in own or limits - {Decision.ALLOW}:
            return Decision.DENY
        return Decision.ALLOW if Decision.ALLOW in own else Decision.NONE


# Fills in the result of an action, and raises QueryError, S3Error, CoreError.
Action = Callable[[QueryRequest, Element], None]


def service_of(environ: Environ) -> str:
    """The service of the query API that a signed request is for, "" for one of the S3 API."""
    if environ["PATH_INFO"] != "/":
        return ""
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION") or environ.get("QUERY_STRING", ""))
    return found[1].lower() if found else ""


class QueryApplication:
    """Serves requests to the services; `actions` by service and name."""

    def __init__(self, authentication: RequestAuthentication, actions: Mapping[str, Mapping[str, Action]]) -> None:
        self._authentication: Final = authentication
        self._actions: Final = actions

    def answer(self, request: S3Request, service: str) -> Response:
        """200, or what is wrong. Raises what is not foreseen."""
        version = VERSIONS[service]
        namespace = f"https://{service}.amazonaws.com/doc/{version}/"
        try:
            asked = self._read(request, service)
            action = self._actions[service].get(asked.action)
            if action is None:
                raise QueryError("InvalidAction", f"Could not find operation {asked.action} for version {version}")
            root = Element(f"{asked.action}Response")
            action(asked, root.add(f"{asked.action}Result"))
            root.add("ResponseMetadata").add("RequestId", request.transaction_id)
            return Response(200, {"Content-Type": "text/xml"}, document(root, namespace))
        except Exception as error:
            if not isinstance(error, QueryError) and not errors.is_foreseen(error):
                raise
            return _refusal(error, request.transaction_id, namespace)

    def _read(self, request: S3Request, service: str) -> QueryRequest:
        """Raises QueryError, S3Error."""
        body = request.content(BODY_BYTES_MAX)
        key = self._authentication.of_query(request, service, sha256(body).hexdigest())
        try:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"))
        except ValueError:
            raise QueryError("MalformedInput", "The body is no form") from None
        parameters = {**request.params, **fields}
        action = parameters.get("Action", "")
        if not re.fullmatch("[A-Za-z]{1,64}", action):
            raise QueryError("MissingAction", "The request has no action")
        if parameters.get("Version", VERSIONS[service]) != VERSIONS[service]:
            raise QueryError("InvalidAction", f"Could not find version {parameters['Version']}")
        return QueryRequest(action, parameters, key, request)


def _refusal(error: Exception, request_id: str, namespace: str) -> Response:
    if isinstance(error, QueryError):
        status, code, reason = error.status, error.code, error.reason
    else:
        told = errors.refusal_of(error)
        status, code, reason = told.status, _CODES.get(told.code, told.code), told.reason
    root = Element("ErrorResponse")
    inner = root.add("Error")
    inner.add("Type", "Sender" if status < 500 else "Receiver")
    inner.add("Code", code)
    inner.add("Message", readable(reason))
    root.add("RequestId", request_id)
    return Response(status, {"Content-Type": "text/xml"}, document(root, namespace))
