"""Websites of buckets: what a configuration says, where requests are sent on to, and pages that tell of errors.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_WebsiteConfiguration.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from objstore.http.errors import REASONS
from objstore.http.messages import Response
from objstore.proxy.s3.errors import S3Error, refusal_of
from objstore.proxy.s3.xml import ReceivedElement, parse

RULES_MAX: Final = 50
ROOT: Final = "WebsiteConfiguration"
PERMANENT: Final = 301
REDIRECTS: Final = frozenset({"301", "302", "303", "304", "305", "307", "308"})
_ERROR_STATUS: Final = re.compile("[45][0-9][0-9]", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?", re.ASCII)


class Redirect(Struct, frozen=True):
    """Where to send a request on to; what is None stays as the request has it."""

    protocol: str | None = None
    host: str | None = None
    status: int = PERMANENT
    key: str | None = None
    prefix: str | None = None

    def location(self, scheme: str, host: str, key: str, matched: str = "", query: str = "") -> str:
        """The URL, for a request of this scheme, host, key and query; `prefix` takes the place of `matched`."""
        if self.key is not None:
            key = self.key
        elif self.prefix is not None:
            key = self.prefix + key[len(matched) :]
        return f"{self.protocol or scheme}://{self.host or host}/{quote(key, safe='/~!$&*()+,;=:@')}{query}"


class RoutingRule(Struct, frozen=True):
    """Requests for keys that begin with `prefix`, or those of them whose answer would have this status."""

    redirect: Redirect
    prefix: str = ""
    status: int | None = None


class Website(Struct, frozen=True):
    """A configuration, read. redirect_all: then nothing else is set."""

    redirect_all: Redirect | None = None
    index: str = ""
    error_key: str = ""
    rules: tuple[RoutingRule, ...] = ()

    def document_of(self, key: str) -> str:
        """The object that a request for a key reads."""
        return key + self.index if not key or key.endswith("/") else key

    def rule_for(self, key: str, status: int | None) -> RoutingRule | None:
        """The first rule for a key: before it is read those without a status, then those with the answer's."""
        return next((rule for rule in self.rules if rule.status == status and key.startswith(rule.prefix)), None)


@lru_cache(maxsize=256)
def website_of(stored: bytes) -> Website:
    """What a stored document says."""
    return parse_website(parse(stored, ROOT))


def parse_website(root: ReceivedElement) -> Website:
    """A configuration. Raises S3Error InvalidArgument, InvalidRequest, MalformedXML; MalformedDocument."""
    _only(root, {"RedirectAllRequestsTo", "IndexDocument", "ErrorDocument", "RoutingRules"})
    everything, index = root.find("RedirectAllRequestsTo"), root.find("IndexDocument")
    error, rules = root.find("ErrorDocument"), root.find("RoutingRules")
    if everything is not None:
        if index is not None or error is not None or rules is not None:
            reason = "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
            raise S3Error("InvalidRequest", reason)
        _only(everything, {"HostName", "Protocol"})
        everything.needed("HostName")
        return Website(redirect_all=_redirect(everything))
    if index is None:
        reason = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        raise S3Error("InvalidArgument", reason, ArgumentName="IndexDocument", ArgumentValue="null")
    suffix, key = index.needed("Suffix"), "" if error is None else error.needed("Key")
    if not suffix or "/" in suffix:
        reason = "The IndexDocument Suffix is not well formed"
        raise S3Error("InvalidArgument", reason, ArgumentName="IndexDocument", ArgumentValue=suffix)
    if error is not None and not key:
        raise S3Error("InvalidArgument", "The ErrorDocument Key is not well formed", ArgumentName="ErrorDocument")
    return Website(index=suffix, error_key=key, rules=() if rules is None else _rules(rules))


def _rules(element: ReceivedElement) -> tuple[RoutingRule, ...]:
    _only(element, {"RoutingRule"})
    rules = tuple(_rule(each) for each in element)
    if not rules:
        raise S3Error("MalformedXML")
    if len(rules) > RULES_MAX:
        raise S3Error("InvalidRequest", f"{len(rules)} routing rules provided, the number of rules is at most 50.")
    return rules


def _rule(element: ReceivedElement) -> RoutingRule:
    _only(element, {"Condition", "Redirect"})
    condition, wanted = element.find("Condition"), element.find("Redirect")
    if wanted is None:
        raise S3Error("MalformedXML")
    _only(wanted, {"Protocol", "HostName", "HttpRedirectCode", "ReplaceKeyWith", "ReplaceKeyPrefixWith"})
    if not list(wanted):
        raise S3Error("InvalidRequest", "Redirect cannot be empty")
    redirect = _redirect(wanted)
    if condition is None:
        return RoutingRule(redirect)
    _only(condition, {"KeyPrefixEquals", "HttpErrorCodeReturnedEquals"})
    prefix, status = condition.value("KeyPrefixEquals"), condition.value("HttpErrorCodeReturnedEquals")
    if prefix is None and status is None:
        reason = (
            "Condition cannot be empty. To redirect all requests without a condition, the condition element "
            "shouldn't be present."
        )
        raise S3Error("InvalidRequest", reason)
    if status is not None and not _ERROR_STATUS.fullmatch(status):
        reason = f"The provided HTTP error code ({status}) is not valid. Valid codes are 4XX or 5XX."
        raise S3Error("InvalidRequest", reason)
    return RoutingRule(redirect, prefix or "", None if status is None else int(status))


def _redirect(element: ReceivedElement) -> Redirect:
    protocol, host, code = (element.value(name) for name in ("Protocol", "HostName", "HttpRedirectCode"))
    key, prefix = element.value("ReplaceKeyWith"), element.value("ReplaceKeyPrefixWith")
    if protocol is not None and protocol not in ("http", "https"):
        reason = (
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected "
            "automatically."
        )
        raise S3Error("InvalidRequest", reason)
    if host is not None and not _HOST.fullmatch(host):
        raise S3Error("InvalidRequest", f"The provided host name ({host}) is not valid.")
    if code is not None and code not in REDIRECTS:
        reason = f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300."
        raise S3Error("InvalidRequest", reason)
    if key is not None and prefix is not None:
        raise S3Error("InvalidRequest", "You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    return Redirect(protocol, host, PERMANENT if code is None else int(code), key, prefix)


def _only(element: ReceivedElement, known: set[str]) -> None:
    """Raises S3Error MalformedXML if there are others."""
    if any(child.name not in known for child in element):
        raise S3Error("MalformedXML")


def redirection(status: int, location: str) -> Response:
    """The answer that sends a request on to a URL."""
    return Response(status, {"Location": location})


def error_page(error: BaseException, _resource: str, request_id: str) -> Response:
    """The response to an error, for people."""
    refusal = refusal_of(error)
    title = f"{refusal.status} {REASONS.get(refusal.status, 'Error')}"
    told = {"Code": refusal.code, "Message": refusal.reason, **refusal.elements, "RequestId": request_id}
    items = "".join(f"<li>{name}: {escape(value)}</li>\n" for name, value in told.items())
    page = (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{items}</ul>\n<hr/>\n"
        "</body>\n</html>\n"
    )
    return Response(refusal.status, {"Content-Type": "text/html; charset=utf-8", **refusal.headers}, page.encode())
