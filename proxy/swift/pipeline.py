"""The pipeline of the Swift API: every stage, in order, and why it stands where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from objstore.headers import Backend, Client, is_internal
from objstore.http.errors import HttpError
from objstore.http.messages import Environ, Response, StartResponse, title_of, variable_of
from objstore.proxy.access_log import AccessLog
from objstore.proxy.answered import AnsweredRequest, Observe
from objstore.proxy.swift import errors
from objstore.proxy.swift.features.base import Feature
from objstore.proxy.swift.features.cors import ORIGIN, Cors
from objstore.proxy.swift.features.documents import CrossDomain, ListEndpoints
from objstore.proxy.swift.features.etag_quoter import EtagQuoter
from objstore.proxy.swift.features.form_post import FormPost
from objstore.proxy.swift.features.healthcheck import Healthcheck
from objstore.proxy.swift.features.info import InfoEndpoint, handler_sections, store_section
from objstore.proxy.swift.features.name_check import NameCheck
from objstore.proxy.swift.features.quotas import Quotas
from objstore.proxy.swift.features.rate_limit import RateLimit
from objstore.proxy.swift.features.read_only import ReadOnly
from objstore.proxy.swift.features.static_web import StaticWeb
from objstore.proxy.swift.features.temp_url import TempUrl
from objstore.proxy.swift.features.tempauth import TempAuth
from objstore.proxy.swift.features.unsupported import Unsupported
from objstore.proxy.swift.handlers.application import StorageApplication
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

Handler = Callable[[SwiftRequest], Response]
EXTRA_MAX: Final = 32
HARMLESS_MAX: Final = 4096
REMOVE_PREFIX: Final = "X-Remove-"
INBOUND_TIMESTAMP: Final = variable_of(Backend.INBOUND_TIMESTAMP)
# What these methods bring is stored, and comes out again as headers of later responses.
_STORING: Final = frozenset({"PUT", "POST", "COPY"})


@dataclass(frozen=True, slots=True)
class Stage:
    feature: type[Feature]
    why: str


# Around all of them, in `ProxyApplication`: the access log, which sees what clients see, errors too; then transaction
# ids, so that every answer has one and no error goes further; then the gatekeeper, so that nothing further in sees
# internal headers of clients, and no client sees ours.
PIPELINE: Final = (
    Stage(Healthcheck, "load balancers ask often and without a token"),
    Stage(InfoEndpoint, "public too"),
    Stage(CrossDomain, "public too"),
    Stage(ListEndpoints, "public too, where the operator wants it"),
    Stage(Cors, "before authentication: preflights carry no token, and refusals have to be readable by scripts"),
    Stage(Unsupported, "after CORS, so that scripts can read the refusal; before anything is looked up or stored"),
    Stage(NameCheck, "before anything that spends disk or network"),
    Stage(TempUrl, "before TempAuth: a signature takes the place of a token"),
    Stage(FormPost, "likewise; each file goes through the pipeline from its beginning"),
    Stage(TempAuth, "before anything that spends disk or network"),
    Stage(RateLimit, "after TempAuth: what is refused there takes nobody's turn"),
    Stage(ReadOnly, "after TempAuth: the reseller may switch it"),
    Stage(EtagQuoter, "before StaticWeb, so that ETags of pages have their marks too"),
    Stage(StaticWeb, "after TempAuth: those with a token get the store's own answers"),
    Stage(Quotas, "last before the handlers, which have it weigh uploads once they know the container"),
)


class Route:
    """What the requests of one method and one kind of path pass through. The headers in `triggers` call for more."""

    __slots__ = ("always", "handler", "stages", "triggers")

    def __init__(self, method: str, kind: str, features: Iterable[Feature], handler: Handler) -> None:
        concerned = [
            feature
            for feature in features
            if (feature.methods is None or method in feature.methods)
            and (feature.kinds is None or kind in feature.kinds)
        ]
        self.stages = tuple(feature.handler_for(kind) for feature in concerned)
        self.always = tuple(feature.handler_for(kind) for feature in concerned if feature.variables is None)
        self.triggers = frozenset().union(*(feature.variables or () for feature in concerned))
        self.handler = handler


class Application(Protocol):
    """The far end of the pipeline."""

    def handler(self, method: str, kind: str) -> Handler:
        """The function that answers the requests of one method and one kind of path."""


class ProxyApplication:
    def __init__(
        self, context: ProxyContext, application: Application | None = None, observe: Observe | None = None
    ) -> None:
        """`observe` is told of requests about containers that have settings, once they are answered.

        Raises ConfigError.
        """
        config, runtime = context.config, context.runtime
        self._limits = context.cluster.limits
        self._features = [stage.feature(context) for stage in PIPELINE if stage.feature.wanted(config)]
        self._application = StorageApplication(context) if application is None else application
        self._routes: dict[tuple[str, str], Route] = {}
        self._cors = next((feature for feature in self._features if isinstance(feature, Cors)), None)
        self._access_log = AccessLog(context) if config.metrics.wanted or config.log.has_access_lines else None
        self._observe, self._monotonic = observe, runtime.clock.monotonic
        self._gatekeeper = Gatekeeper()
        self._log, self._now, self._random = runtime.log, runtime.clock.now, runtime.random
        self._suffix = quote(config.transaction_suffix)
        for feature in self._features:
            feature.send = self._served
        for info in self._features:
            if isinstance(info, InfoEndpoint):
                info.publish({"swift": store_section(context), **handler_sections(config)})
                for feature in self._features:
                    info.publish(feature.sections())

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = SwiftRequest(environ, self._limits)
        return self.answer(request)(environ, start_response)

    def answer(self, request: SwiftRequest) -> Response:
        """The response to a request, whatever happens; it is logged once it has been sent."""
        log, observe = self._access_log, self._observe
        if log is None and observe is None:
            return self._guarded(request)
        # What stages do to the request must not be what the log says of it.
        begun, method, path = self._monotonic(), request.method, request.environ.get("objstore.raw_path")
        response = self._guarded(request)
        if log is not None:
            log.expect(request, response, method, path, begun)
        container = request.container
        if observe is not None and container is not None and container.sysmeta:
            resource, identity = request.storage_resource, request.identity
            identifier = request.transaction_id
            told = AnsweredRequest(request.environ, method, resource, container, identity, identifier, response, begun)
            observe(told)
        return response

    def _guarded(self, request: SwiftRequest) -> Response:
        """Every response carries the id under which the log speaks of the request, and nothing internal."""
        suffix = self._suffix
        extra = request.environ.get("HTTP_X_TRANS_ID_EXTRA")
        if extra:
            suffix += "-" + quote(extra[:EXTRA_MAX], encoding="latin-1")
        # "tx", 21 random hex digits, "-", the time in 10 hex digits of seconds, and the suffix.
        identifier = f"tx{self._random.getrandbits(84):021x}-{int(self._now()):010x}{suffix}"
        request.transaction_id = request.environ["HTTP_X_TRANS_ID"] = identifier
        try:
            self._gatekeeper.admit(request)
            response = self._served(request)
        except Exception as error:
            if not errors.is_foreseen(error):
                self._log.exception("unforeseen error", trans_id=identifier, method=request.method, path=request.path)
            response = errors.answer_to(error)
        self._gatekeeper.strip(response)
        headers = response.headers
        headers.setdefault(Client.CONTENT_TYPE, errors.PAGE_TYPE)
        headers[Client.TRANS_ID] = headers[Client.REQUEST_ID] = identifier
        return response

    def _served(self, request: SwiftRequest) -> Response:
        """The answer of the stages or the handler; scripts of other sites may read refusals too."""
        environ, kind = request.environ, request.kind
        route = self._routes.get((request.method, kind)) or self._make_route(request.method, kind)
        cors = self._cors if ORIGIN in environ else None
        is_plain = "HTTP_X_AUTH_TOKEN" in environ and not environ["QUERY_STRING"] and cors is None
        stages = route.always if is_plain and environ.keys().isdisjoint(route.triggers) else route.stages
        try:
            response = self._passed(request, stages, route.handler)
        except Exception as error:
            if not (request.amendments or cors is not None) or not errors.is_foreseen(error):
                raise
            response = errors.answer_to(error)
        for amend in reversed(request.amendments):
            response = amend(response)
        if cors is not None and cors.marks(request):
            cors.mark(request, response)
        return response

    def _passed(
        self, request: SwiftRequest, stages: tuple[Callable[[SwiftRequest], Response | None], ...], handler: Handler
    ) -> Response:
        for stage in stages:
            response = stage(request)
            if response is not None:
                return response
        return handler(request)

    def _make_route(self, method: str, kind: str) -> Route:
        route = Route(method, kind, self._features, self._application.handler(method, kind))
        if len(self._routes) < HARMLESS_MAX:  # clients choose methods
            self._routes[method, kind] = route
        return route


class Gatekeeper:
    """Keeps what is internal inside: headers of our own servers come neither in nor out."""

    __slots__ = ("_harmless_names", "_harmless_variables")

    def __init__(self) -> None:
        # Names that were looked at and found harmless: nearly always that is all of a message's.
        self._harmless_variables: set[str] = set()
        self._harmless_names: set[str] = set()

    def admit(self, request: SwiftRequest) -> None:
        """Take internal headers away. Raises HttpError 400 for headers that would inject others when they come out."""
        environ = request.environ
        if not environ.keys() <= self._harmless_variables:
            harmless = self._harmless_variables
            for variable in [variable for variable in environ if variable not in harmless]:
                if is_internal_variable(variable):
                    del environ[variable]
                else:
                    _remember(harmless, variable)
        timestamp = environ.pop("HTTP_X_TIMESTAMP", None)
        if timestamp is not None:
            environ[INBOUND_TIMESTAMP] = timestamp
        if request.method in _STORING:
            for variable, value in environ.items():
                if variable.startswith("HTTP_") and ("\n" in value or "\r" in value or "\0" in value):
                    raise HttpError(400, f"Control character in header {title_of(variable)}")

    def strip(self, response: Response) -> None:
        headers, harmless = response.headers, self._harmless_names
        if headers.keys() <= harmless:
            return
        for name in [name for name in headers if name not in harmless]:
            if is_internal(name.title()):
                del headers[name]
            else:
                _remember(harmless, name)


def is_internal_variable(variable: str) -> bool:
    """Whether a header may come from our own servers only; by its environ key."""
    if not variable.startswith("HTTP_"):
        return False
    name = title_of(variable)
    # Metadata is removed by such a header too.
    return is_internal("X-" + name.removeprefix(REMOVE_PREFIX) if name.startswith(REMOVE_PREFIX) else name)


def _remember(harmless: set[str], name: str) -> None:
    # Clients choose names, so the memory is bounded.
    if len(harmless) >= HARMLESS_MAX:
        harmless.clear()
    harmless.add(name)
