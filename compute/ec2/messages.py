"""Requests as parameters in a form, answers as XML, and errors by their codes."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

import webob

from objstore.cloud.callers import CloudCaller
from objstore.cloud.web import Call, Fault
from objstore.compute.core.context import ComputeContext
from objstore.compute.errors import (
    AlreadyExists,
    ComputeError,
    ImageServiceFailed,
    InvalidRequest,
    NoSuch,
    NotOffered,
    NotPermitted,
    OverQuota,
    StateConflict,
)

NAMESPACE: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"
PARAMETERS_MAX: Final = 2000
LIST_MAX: Final = 1000
NOT_FOUND: Final = {
    "instance": "InvalidInstanceID.NotFound",
    "image": "InvalidAMIID.NotFound",
    "keypair": "InvalidKeyPair.NotFound",
    "security group": "InvalidGroup.NotFound",
    "volume": "InvalidVolume.NotFound",
    "snapshot": "InvalidSnapshot.NotFound",
}
# The first class that an error is of decides: status and code.
CODES: Final[tuple[tuple[type[ComputeError], int, str], ...]] = (
    (InvalidRequest, 400, "InvalidParameterValue"),
    (NotPermitted, 403, "UnauthorizedOperation"),
    (OverQuota, 400, "InstanceLimitExceeded"),
    (NoSuch, 400, "InvalidParameterValue"),
    (AlreadyExists, 400, "InvalidKeyPair.Duplicate"),
    (StateConflict, 400, "IncorrectInstanceState"),
    (NotOffered, 400, "UnsupportedOperation"),
    (ImageServiceFailed, 503, "Unavailable"),
)


def ec2_fault(code: str, text: str, status: int = 400) -> Fault:
    """An error by its code."""
    return Fault(status, text, code=code)


def fault_for(error: ComputeError) -> Fault:
    """An operation's error in the words of this API."""
    if isinstance(error, NoSuch) and error.kind in NOT_FOUND:
        return ec2_fault(NOT_FOUND[error.kind], str(error))
    return next(ec2_fault(code, str(error), status) for kind, status, code in CODES if isinstance(error, kind))


def render_ec2_fault(fault: Fault, call: Call) -> webob.Response:
    """<Response><Errors><Error>..."""
    codes = {401: "AuthFailure", 403: "UnauthorizedOperation", 404: "InvalidAction", 503: "Unavailable"}
    code = fault.code or codes.get(fault.status, "InternalError" if fault.status >= 500 else "InvalidRequest")
    error = f"<Error><Code>{code}</Code><Message>{escape(fault.text)}</Message></Error>"
    text = f"<Response><Errors>{error}</Errors><RequestID>{call.id}</RequestID></Response>"
    return xml_response(fault.status, text)


def xml_response(status: int, text: str) -> webob.Response:
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return webob.Response(content, status=status, content_type="text/xml", charset="utf-8")


def to_xml(value: Any) -> str:
    """A dict's values are elements, a list's are <item>; None is left out."""
    if isinstance(value, dict):
        return "".join(f"<{key}>{to_xml(each)}</{key}>" for key, each in value.items() if each is not None)
    if isinstance(value, list | tuple):
        return "".join(f"<item>{to_xml(each)}</item>" for each in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    return escape("".join(each for each in str(value) if each in "\t\n\r" or each >= " "))


def nested(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Filter.1.Value.2=x as {"Filter": [{"Value": [x]}]}: numbers make lists. Raises Fault."""
    if len(parameters) > PARAMETERS_MAX:
        raise ec2_fault("InvalidRequest", f"A request has at most {PARAMETERS_MAX} parameters.")
    root: dict[str, Any] = {}
    for name, value in parameters.items():
        at, parts = root, name.split(".")
        for part in parts[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise ec2_fault("InvalidParameterCombination", f"{name[:100]} contradicts another parameter.")
        if isinstance(at.get(parts[-1]), dict):
            raise ec2_fault("InvalidParameterCombination", f"{name[:100]} contradicts another parameter.")
        at[parts[-1]] = value
    found = _lists(root)
    assert isinstance(found, dict)
    return found


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isascii() and key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(each) for key, each in value.items()}


@dataclass
class Ec2Call:
    """A request whose signature was checked."""

    web: Call
    context: ComputeContext
    caller: CloudCaller
    region: str
    parameters: dict[str, Any]

    @property
    def project_id(self) -> str:
        return self.caller.project_id or ""

    def text(self, name: str, default: str | None = None) -> str:
        """A parameter's text. Raises Fault MissingParameter."""
        value = self.parameters.get(name, default)
        if value is None:
            raise ec2_fault("MissingParameter", f"The request must contain the parameter {name}")
        if not isinstance(value, str):
            raise ec2_fault("InvalidParameterValue", f"{name} has one value.")
        return value

    def optional(self, name: str) -> str | None:
        return self.text(name) if name in self.parameters else None

    def number(self, name: str, default: int) -> int:
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise ec2_fault("InvalidParameterValue", f"Value ({text[:50]}) for parameter {name} is invalid.")
        return int(text)

    def flag(self, name: str, default: bool = False) -> bool:
        return self.text(name, str(default)).lower() == "true"

    def list_of(self, name: str) -> list[Any]:
        """Values as Name.1, Name.2. Raises Fault."""
        value = self.parameters.get(name, [])
        if not isinstance(value, list) or len(value) > LIST_MAX:
            raise ec2_fault("InvalidParameterValue", f"{name} is a list of at most {LIST_MAX} values.")
        return value

    def texts(self, name: str) -> list[str]:
        values = self.list_of(name)
        if not all(isinstance(each, str) for each in values):
            raise ec2_fault("InvalidParameterValue", f"{name} is a list of texts.")
        return values

    def filters(self) -> list[tuple[str, list[str]]]:
        """Names and the values of which one has to match."""
        found = []
        for each in self.list_of("Filter"):
            if not isinstance(each, dict) or not isinstance(each.get("Name"), str):
                raise ec2_fault("InvalidParameterValue", "A filter has a name and values.")
            values = each.get("Value", [])
            found.append((each["Name"], values if isinstance(values, list) else [values]))
        return found

    def check_dry_run(self) -> None:
        """Raises Fault: a dry run ends here."""
        if self.flag("DryRun"):
            raise ec2_fault("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def page(call: Ec2Call, items: list[Any]) -> tuple[list[Any], str | None]:
    """The items that MaxResults and NextToken ask for, and the token of the next ones."""
    start, most = call.number("NextToken", 0), call.number("MaxResults", len(items) or 1)
    rest = items[start:]
    return rest[:most], str(start + most) if len(rest) > most else None


def matches(patterns: list[str], values: list[str | None]) -> bool:
    """Whether one value fits one pattern, in which * and ? stand for other characters."""
    from fnmatch import fnmatchcase

    escaped = [pattern.replace("[", "[[]") for pattern in patterns]
    return any(value is not None and fnmatchcase(value, pattern) for value in values for pattern in escaped)
