"""The settings of buckets that are documents: which operations read and write each, and what a good one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from objstore.proxy.s3.access import ENFORCED, OWNERSHIP, PUBLIC_ACCESS, REQUEST_PAYMENT
from objstore.proxy.s3.cors import parse_cors
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.lifecycle import rules as lifecycle
from objstore.proxy.s3.notification import ROOT as NOTIFICATION_ROOT
from objstore.proxy.s3.notification import checked_notification
from objstore.proxy.s3.operations import Operation as _O
from objstore.proxy.s3.server_log import ROOT as LOGGING_ROOT
from objstore.proxy.s3.server_log import logging_element, parse_logging
from objstore.proxy.s3.tags import BUCKET_TAGS_MAX, received_tags, tagging_element
from objstore.proxy.s3.website import ROOT as WEBSITE_ROOT
from objstore.proxy.s3.website import parse_website
from objstore.proxy.s3.xml import NAMESPACE, Element, ReceivedElement, document

CORS: Final = "Cors"
LIFECYCLE: Final = "Lifecycle"
TAGGING: Final = "Tagging"
WEBSITE: Final = "Website"
NOTIFICATION: Final = "Notification"
LOGGING: Final = "Logging"
OWNERSHIPS: Final = ("BucketOwnerPreferred", "ObjectWriter", ENFORCED)
PUBLIC_ACCESS_NAMES: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


# The name under which the value of an echoed header is kept, behind that of its setting.
ECHOED: Final = "-Header"


class EchoedHeader(Struct, frozen=True):
    """A header that goes with a document, with the values it may have, the default first: no more than kept here."""

    header: str
    values: tuple[str, ...]

    def given(self, value: str | None) -> str:
        """Raises S3Error InvalidArgument."""
        if value is not None and value not in self.values:
            raise S3Error("InvalidArgument", ArgumentName=self.header, ArgumentValue=value)
        return value or self.values[0]


class Setting(Struct, frozen=True):
    """A setting: its operations, the root of its document, and what is stored of a good one.

    put, delete: None where the API has no such operation, or this store does not act on the setting: then a PUT is not
    implemented, and a DELETE of what is never there succeeds. absent: the error, or the document, where nothing is set.
    check: takes the document apart and makes the one that is stored; raises S3Error, MalformedDocument.
    """

    get: _O
    absent: str | Element
    put: _O | None = None
    delete: _O | None = None
    name: str = ""
    root: str = ""
    check: Callable[[ReceivedElement], Element] | None = None
    put_status: int = 200
    shared: bool = False  # for others than the owner's users
    echoed: EchoedHeader | None = None


def copied(received: ReceivedElement) -> Element:
    """The same document, without attributes and what stands between elements."""
    children = list(received)
    element = Element(received.name, "" if children else received.text)
    for child in children:
        element.append(copied(child))
    return element


def _cors(received: ReceivedElement) -> Element:
    parse_cors(received)
    return copied(received)


def _website(received: ReceivedElement) -> Element:
    parse_website(received)
    return copied(received)


def _tagging(received: ReceivedElement) -> Element:
    return tagging_element(received_tags(received, BUCKET_TAGS_MAX))


def _ownership(received: ReceivedElement) -> Element:
    rules = list(received)
    if len(rules) != 1 or rules[0].name != "Rule" or rules[0].needed("ObjectOwnership") not in OWNERSHIPS:
        raise S3Error("MalformedXML")
    return _ownership_element(rules[0].needed("ObjectOwnership"))


def _ownership_element(ownership: str) -> Element:
    root = Element("OwnershipControls")
    root.add("Rule").add("ObjectOwnership", ownership)
    return root


def ownership_document(ownership: str) -> bytes:
    """The document that sets this, as it is stored."""
    return document(_ownership_element(ownership), NAMESPACE)


def _public_access(received: ReceivedElement) -> Element:
    root = Element("PublicAccessBlockConfiguration")
    if any(child.name not in PUBLIC_ACCESS_NAMES for child in received):
        raise S3Error("MalformedXML")
    for name in PUBLIC_ACCESS_NAMES:
        value = (received.value(name) or "false").strip().lower()
        if value not in ("true", "false"):
            raise S3Error("MalformedXML")
        root.add(name, value)
    return root


def _request_payment(received: ReceivedElement) -> Element:
    if received.needed("Payer") not in ("BucketOwner", "Requester"):
        raise S3Error("MalformedXML")
    return copied(received)


def _with(root: str, child: str, text: str) -> Element:
    element = Element(root)
    element.add(child, text)
    return element


def _empty_list(name: str) -> Element:
    return _with(name, "IsTruncated", "false")


SETTINGS: Final = (
    Setting(
        _O.GET_BUCKET_CORS,
        "NoSuchCORSConfiguration",
        _O.PUT_BUCKET_CORS,
        _O.DELETE_BUCKET_CORS,
        CORS,
        "CORSConfiguration",
        _cors,
        shared=True,
    ),
    Setting(
        _O.GET_BUCKET_TAGGING,
        "NoSuchTagSet",
        _O.PUT_BUCKET_TAGGING,
        _O.DELETE_BUCKET_TAGGING,
        TAGGING,
        "Tagging",
        _tagging,
        put_status=204,
    ),
    Setting(
        _O.GET_BUCKET_OWNERSHIP_CONTROLS,
        "OwnershipControlsNotFoundError",
        _O.PUT_BUCKET_OWNERSHIP_CONTROLS,
        _O.DELETE_BUCKET_OWNERSHIP_CONTROLS,
        OWNERSHIP,
        "OwnershipControls",
        _ownership,
    ),
    Setting(
        _O.GET_PUBLIC_ACCESS_BLOCK,
        "NoSuchPublicAccessBlockConfiguration",
        _O.PUT_PUBLIC_ACCESS_BLOCK,
        _O.DELETE_PUBLIC_ACCESS_BLOCK,
        PUBLIC_ACCESS,
        "PublicAccessBlockConfiguration",
        _public_access,
    ),
    Setting(
        _O.GET_BUCKET_REQUEST_PAYMENT,
        _with("RequestPaymentConfiguration", "Payer", "BucketOwner"),
        _O.PUT_BUCKET_REQUEST_PAYMENT,
        None,
        REQUEST_PAYMENT,
        "RequestPaymentConfiguration",
        _request_payment,
    ),
    Setting(
        _O.GET_BUCKET_LIFECYCLE_CONFIGURATION,
        "NoSuchLifecycleConfiguration",
        _O.PUT_BUCKET_LIFECYCLE_CONFIGURATION,
        _O.DELETE_BUCKET_LIFECYCLE,
        LIFECYCLE,
        lifecycle.ROOT,
        lifecycle.checked,
        # Of transitions, which rules cannot have; clients look whether it is what they have sent.
        echoed=EchoedHeader(
            "x-amz-transition-default-minimum-object-size", ("all_storage_classes_128K", "varies_by_storage_class")
        ),
    ),
    Setting(
        _O.GET_BUCKET_WEBSITE,
        "NoSuchWebsiteConfiguration",
        _O.PUT_BUCKET_WEBSITE,
        _O.DELETE_BUCKET_WEBSITE,
        WEBSITE,
        WEBSITE_ROOT,
        _website,
        shared=True,
    ),
    Setting(_O.GET_BUCKET_REPLICATION, "ReplicationConfigurationNotFoundError", delete=_O.DELETE_BUCKET_REPLICATION),
    Setting(
        _O.GET_BUCKET_LOGGING,
        Element(LOGGING_ROOT),
        _O.PUT_BUCKET_LOGGING,
        None,
        LOGGING,
        LOGGING_ROOT,
        lambda received: logging_element(parse_logging(received)),
    ),
    Setting(
        _O.GET_BUCKET_NOTIFICATION_CONFIGURATION,
        Element(NOTIFICATION_ROOT),
        _O.PUT_BUCKET_NOTIFICATION_CONFIGURATION,
        None,
        NOTIFICATION,
        NOTIFICATION_ROOT,
        checked_notification,
    ),
    Setting(_O.GET_BUCKET_ACCELERATE_CONFIGURATION, Element("AccelerateConfiguration")),
    Setting(_O.GET_BUCKET_ABAC, _with("AbacStatus", "Status", "Disabled")),
    Setting(_O.GET_BUCKET_ANALYTICS_CONFIGURATION, "NoSuchConfiguration"),
    Setting(_O.GET_BUCKET_INVENTORY_CONFIGURATION, "NoSuchConfiguration"),
    Setting(_O.GET_BUCKET_METRICS_CONFIGURATION, "NoSuchConfiguration"),
    Setting(_O.GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION, "NoSuchConfiguration"),
    Setting(_O.LIST_BUCKET_ANALYTICS_CONFIGURATIONS, _empty_list("ListBucketAnalyticsConfigurationResult")),
    Setting(_O.LIST_BUCKET_INVENTORY_CONFIGURATIONS, _empty_list("ListInventoryConfigurationsResult")),
    Setting(_O.LIST_BUCKET_METRICS_CONFIGURATIONS, _empty_list("ListMetricsConfigurationsResult")),
    Setting(
        _O.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS,
        _empty_list("ListBucketIntelligentTieringConfigurationsOutput"),
    ),
)


def by_operation(field: str) -> Mapping[_O, Setting]:
    """The settings that have an operation of this kind: "get", "put" or "delete"."""
    return {operation: each for each in SETTINGS if (operation := getattr(each, field)) is not None}
