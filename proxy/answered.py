"""A request that one API has answered, as the other one is told of it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from objstore.http.messages import Environ, Response
from objstore.paths import ResourcePath
from objstore.proxy.auth.identity import Identity
from objstore.proxy.core.info import ContainerInfo


class AnsweredRequest(Struct, frozen=True):
    """What was asked of a container, or of an object in it; begun: by the monotonic clock."""

    environ: Environ
    method: str
    path: ResourcePath
    container: ContainerInfo
    identity: Identity | None
    transaction_id: str
    response: Response
    begun: float


Observe = Callable[[AnsweredRequest], None]
