"""Gives every request its transaction id, and turns whatever goes wrong into an answer."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from objstore.headers import Client
from objstore.http.messages import Response
from objstore.proxy.swift import errors
from objstore.proxy.swift.features.base import Feature, Handler
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

EXTRA_MAX: Final = 32


def make_transaction_id(random: Random, now: float, suffix: str = "") -> str:
    """A new id: "tx", 21 random hex digits, "-", the time in 10 hex digits of seconds, and the suffix."""
    return f"tx{random.getrandbits(84):021x}-{int(now):010x}{suffix}"


class CatchErrors(Feature):
    """Every response carries the id under which the log speaks of the request."""

    __slots__ = ("_log", "_now", "_random", "_suffix")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        self._log = context.runtime.log
        self._now: Callable[[], float] = context.runtime.clock.now
        self._random = context.runtime.random
        self._suffix = quote(context.config.transaction_suffix)

    def __call__(self, request: SwiftRequest) -> Response:
        """See Feature."""
        suffix = self._suffix
        extra = request.environ.get("HTTP_X_TRANS_ID_EXTRA")
        if extra:
            suffix += "-" + quote(extra[:EXTRA_MAX], encoding="latin-1")
        identifier = make_transaction_id(self._random, self._now(), suffix)
        request.transaction_id = request.environ["HTTP_X_TRANS_ID"] = identifier
        try:
            response = self._next(request)
        except Exception as error:
            if not errors.is_foreseen(error):
                self._log.exception("unforeseen error", trans_id=identifier, method=request.method, path=request.path)
            response = errors.answer_to(error)
        headers = response.headers
        headers.setdefault(Client.CONTENT_TYPE, errors.PAGE_TYPE)
        headers[Client.TRANS_ID] = headers[Client.REQUEST_ID] = identifier
        return response
