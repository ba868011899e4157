"""The compute API as WSGI sees it."""

from __future__ import annotations

from typing import Any, Final

import webob

from objstore.cloud.web import Call, CallerLookup, WebApplication, WebRoute, json_answer
from objstore.compute.api import (
    flavors,
    keypairs,
    networks,
    operators,
    projects,
    server_actions,
    server_parts,
    servers,
)
from objstore.compute.api.calls import VERSION_MAX, VERSION_MIN, render_fault, routes, with_version
from objstore.compute.api.hosts import host_routes
from objstore.compute.core.context import ComputeContext
from objstore.metrics import Metrics

UPDATED: Final = "2013-07-23T11:33:21Z"
MEDIA_TYPE: Final = "application/vnd.openstack.compute+json;version=2.1"
PARTS: Final = (servers, server_actions, server_parts, flavors, keypairs, projects, operators, networks)


def _version(call: Call) -> dict[str, Any]:
    low, high = (f"{each[0]}.{each[1]}" for each in (VERSION_MIN, VERSION_MAX))
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": high,
        "min_version": low,
        "updated": UPDATED,
        "links": [{"rel": "self", "href": f"{call.request.host_url}/v2.1/"}],
    }


def _versions(call: Call) -> webob.Response:
    return json_answer(200, {"versions": [_version(call)]})


def _one_version(call: Call) -> webob.Response:
    media = [{"base": "application/json", "type": MEDIA_TYPE}]
    return with_version(json_answer(200, {"version": _version(call) | {"media-types": media}}), VERSION_MIN)


def compute_application(
    context: ComputeContext, callers: CallerLookup, metrics: Metrics | None = None, polls_max: int = 8
) -> WebApplication:
    """Every route of the compute API and of hosts."""
    table = [
        WebRoute("GET", "/", _versions, public=True),
        WebRoute("GET", "/v2.1", _one_version, public=True),
        *host_routes(context, polls_max),
        *routes(context, {"GET /extensions": lambda call: call.answer({"extensions": []})}),
    ]
    for part in PARTS:
        table += routes(context, part.ROUTES)
    return WebApplication("compute", table, callers, render_fault, metrics)
