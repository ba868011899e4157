"""Keeps what is internal inside: headers of our own servers come neither in nor out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from objstore.headers import Backend, is_internal
from objstore.http.errors import HttpError
from objstore.http.messages import Response, title_of, variable_of
from objstore.proxy.swift.features.base import Feature, Handler
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

HARMLESS_MAX: Final = 4096
REMOVE_PREFIX: Final = "X-Remove-"
INBOUND_TIMESTAMP: Final = variable_of(Backend.INBOUND_TIMESTAMP)
# What these methods bring is stored, and comes out again as headers of later responses.
_STORING: Final = frozenset({"PUT", "POST", "COPY"})


def is_internal_variable(variable: str) -> bool:
    """Whether a header may come from our own servers only; by its environ key."""
    if not variable.startswith("HTTP_"):
        return False
    name = title_of(variable)
    # Metadata is removed by such a header too.
    return is_internal("X-" + name.removeprefix(REMOVE_PREFIX) if name.startswith(REMOVE_PREFIX) else name)


def holds_control_character(value: str) -> bool:
    """Whether a header's value would end the header, or more."""
    return "\n" in value or "\r" in value or "\0" in value


class Gatekeeper(Feature):
    """The outermost feature that sees headers."""

    __slots__ = ("_harmless_names", "_harmless_variables")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        # Names that were looked at and found harmless: nearly always that is all of a message's.
        self._harmless_variables: set[str] = set()
        self._harmless_names: set[str] = set()

    def __call__(self, request: SwiftRequest) -> Response:
        """See Feature."""
        environ = request.environ
        if not environ.keys() <= self._harmless_variables:
            self._strip_request(request)
        timestamp = environ.pop("HTTP_X_TIMESTAMP", None)
        if timestamp is not None:
            environ[INBOUND_TIMESTAMP] = timestamp
        if request.method in _STORING:
            self._refuse_injection(request)
        response = self._next(request)
        if not response.headers.keys() <= self._harmless_names:
            self._strip_response(response)
        return response

    def _strip_request(self, request: SwiftRequest) -> None:
        environ, harmless = request.environ, self._harmless_variables
        for variable in [variable for variable in environ if variable not in harmless]:
            if is_internal_variable(variable):
                del environ[variable]
            else:
                _remember(harmless, variable)

    def _strip_response(self, response: Response) -> None:
        headers, harmless = response.headers, self._harmless_names
        for name in [name for name in headers if name not in harmless]:
            if is_internal(name.title()):
                del headers[name]
            else:
                _remember(harmless, name)

    def _refuse_injection(self, request: SwiftRequest) -> None:
        for variable, value in request.environ.items():
            if variable.startswith("HTTP_") and holds_control_character(value):
                raise HttpError(400, f"Control character in header {title_of(variable)}")


def _remember(harmless: set[str], name: str) -> None:
    # Clients choose names, so the memory is bounded.
    if len(harmless) >= HARMLESS_MAX:
        harmless.clear()
    harmless.add(name)
