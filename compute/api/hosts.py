"""/host/v1: what the agents of hosts call; see objstore.compute.protocol."""

from __future__ import annotations

from typing import Final

import webob

from objstore.cloud.web import Call, Fault, WebRoute, json_answer
from objstore.compute.api.calls import status_for
from objstore.compute.core import hosts
from objstore.compute.core.context import ComputeContext
from objstore.compute.errors import ComputeError
from objstore.compute.protocol import HostRegistration, HostReport

REPORT_MAX: Final = 8 << 20  # bytes


def _checked(call: Call) -> None:
    """Only services may speak for a host. Raises Fault 403."""
    if not call.caller.is_service:
        raise Fault(403, "Only a user with the role service may act for a host.")


def host_routes(context: ComputeContext, polls_max: int) -> list[WebRoute]:
    """At most `polls_max` hosts wait at the same time."""

    def register(call: Call) -> webob.Response:
        _checked(call)
        try:
            return json_answer(200, hosts.register(context, call.json_as(HostRegistration)))
        except ComputeError as error:
            raise Fault(status_for(error), str(error)) from error

    def report(call: Call) -> webob.Response:
        _checked(call)
        given = call.json_as(HostReport, REPORT_MAX)
        try:
            return json_answer(200, hosts.report(context, call.arguments["host"], given, polls_max))
        except ComputeError as error:
            raise Fault(status_for(error), str(error)) from error

    return [
        WebRoute("POST", "/host/v1/hosts", register),
        # Its body is larger than others may be; REPORT_MAX bounds it.
        WebRoute("POST", "/host/v1/hosts/{host}/report", report, streams=True),
    ]
