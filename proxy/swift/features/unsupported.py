"""Refuses what belongs to features of the Swift API that this store does not have.

A header of such a feature must never be ignored: a client that wants a container to be kept in two places
would believe that it is. The answer is 501, and nothing is stored or changed.
`/info` has no section for any of these features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.http.errors import HttpError
from objstore.http.messages import variable_of
from objstore.proxy.swift.features.base import Feature
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext


class MissingFeature(Struct, frozen=True):
    """One feature of the Swift API.

    sections: what /info calls it where it exists.
    headers: those that mean it in a PUT, POST or COPY, unless they are empty or say "false" (nothing to switch off).
    """

    name: str
    sections: tuple[str, ...]
    headers: tuple[str, ...]


# Missing unless the operator switches them on.
QUOTED_ETAGS: Final = MissingFeature(
    "Quoted ETags", ("etag_quoter",), ("X-Account-Rfc-Compliant-Etags", "X-Container-Rfc-Compliant-Etags")
)
MISSING_FEATURES: Final = (
    MissingFeature(
        "Synchronised containers",
        ("container_sync",),
        ("X-Container-Sync-To", "X-Container-Sync-Key", "X-Container-Sync-Auth"),
    ),
    QUOTED_ETAGS,
)

_BY_VARIABLE: Final = {variable_of(header): feature for feature in MISSING_FEATURES for header in feature.headers}
_VARIABLES: Final = frozenset(_BY_VARIABLE)
_STORING: Final = frozenset({"PUT", "POST", "COPY"})
_SWITCHED_OFF: Final = frozenset({"", "false", "0", "no", "off", "f", "n"})


class Unsupported(Feature):
    """Looks at headers only. Requests without these do not concern it."""

    kinds = frozenset({"account", "container", "object"})
    variables = _VARIABLES

    def __init__(self, context: ProxyContext) -> None:
        self._quotes_etags = context.config.etag_quoter.enabled

    def __call__(self, request: SwiftRequest) -> None:
        """Raises HttpError 501 for a request that asks for a missing feature."""
        feature = missing_feature(request)
        if feature is not None and not (feature is QUOTED_ETAGS and self._quotes_etags):
            raise HttpError(501, f"{feature.name} are not supported by this store")


def missing_feature(request: SwiftRequest) -> MissingFeature | None:
    """The missing feature that a request to the storage API asks for, None if it asks for none."""
    environ = request.environ
    if request.method not in _STORING:
        return None
    for variable in _VARIABLES.intersection(environ):
        if environ[variable].strip().lower() not in _SWITCHED_OFF:
            return _BY_VARIABLE[variable]
    return None
