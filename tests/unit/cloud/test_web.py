"""Routing, bodies and refusals of the cloud services' web layer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import webob

from objstore.cloud.callers import AccessRule, CloudCaller, IdentityUnavailable
from objstore.cloud.web import BODY_MAX, Call, Fault, Routes, WebApplication, WebRoute, empty_answer, json_answer

CALLER = CloudCaller(
    "u", "user", "default", "p", "project", "default", frozenset({"member"}), "good", datetime(2100, 1, 1, tzinfo=UTC)
)


class Known:
    """Knows three tokens."""

    challenge = 'Keystone uri="http://identity/v3"'

    def of(self, token: str) -> CloudCaller | None:
        if token == "away":
            raise IdentityUnavailable("http://identity")
        rules = (AccessRule("image", "GET", "/things/*"),)
        return {"good": CALLER, "ruled": replace(CALLER, access_rules=rules)}.get(token)


class Thing(msgspec.Struct):
    name: str


def broken(_call: Call) -> webob.Response:
    raise ZeroDivisionError("the secret of the house")


ROUTES = (
    WebRoute("GET", "/open", lambda call: json_answer(200, {"id": call.id}), public=True),
    WebRoute("GET", "/things/{name}", lambda call: json_answer(200, call.arguments)),
    WebRoute("DELETE", "/things/{name}", lambda _call: empty_answer()),
    WebRoute("GET", "/things/detail", lambda _call: json_answer(200, "written out")),
    WebRoute("GET", "/tree/{rest:path}", lambda call: json_answer(200, call.arguments)),
    WebRoute("POST", "/things", lambda call: json_answer(201, call.json_as(Thing))),
    WebRoute("PUT", "/stream", lambda call: json_answer(200, sum(map(len, call.pieces()))), streams=True),
    WebRoute("GET", "/broken", broken),
    WebRoute("GET", "/self", lambda call: json_answer(200, call.caller.user_name), public=True),
)


def render(fault: Fault, call: Call) -> webob.Response:
    return json_answer(fault.status, {"text": fault.text, "id": call.id}, dict(fault.headers))


APPLICATION = WebApplication("image", ROUTES, Known(), render)


def ask(method: str, path: str, token: str | None = "good", **options: Any) -> webob.Response:
    headers = {"X-Auth-Token": token} if token else {}
    request = webob.Request.blank(path, method=method, headers=headers | options.pop("headers", {}), **options)
    request.environ["REQUEST_URI"] = path  # as the server gives it
    return request.get_response(APPLICATION)


def test_a_path_names_its_parts() -> None:
    assert ask("GET", "/things/a%20b%2Fc").json == {"name": "a b/c"}
    assert ask("GET", "/tree/a/b/c").json == {"rest": "a/b/c"}
    assert ask("GET", "/things/x/").json == {"name": "x"}


def test_segments_that_are_written_out_win() -> None:
    assert ask("GET", "/things/detail").json == "written out"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PATCH", "/things/x", 405), ("GET", "/things/%ff", 400), ("BREW", "/things/x", 501)],
)
def test_what_no_route_answers(method: str, path: str, status: int) -> None:
    assert ask(method, path).status_int == status


def test_a_method_that_is_refused_names_those_that_are_not() -> None:
    assert ask("PATCH", "/things/x").headers["Allow"] == "DELETE, GET"


def test_head_is_get_without_its_body() -> None:
    answer = ask("HEAD", "/things/x")
    assert (answer.status_int, answer.body) == (200, b"")


def test_two_routes_of_one_method_and_path_are_refused() -> None:
    with pytest.raises(ValueError, match="has two routes"):
        Routes([ROUTES[0], ROUTES[0]])


@pytest.mark.parametrize("token", [None, "unknown"])
def test_who_shows_no_token_that_holds_is_challenged(token: str | None) -> None:
    answer = ask("GET", "/things/x", token)
    assert (answer.status_int, answer.headers["WWW-Authenticate"]) == (401, Known.challenge)
    assert ask("GET", "/self", token).status_int == 401
    assert ask("GET", "/open", token).status_int == 200


def test_a_public_route_knows_its_caller_too() -> None:
    assert ask("GET", "/self").json == "user"


def test_without_the_identity_service_the_answer_is_503() -> None:
    assert ask("GET", "/things/x", "away").status_int == 503
    assert ask("GET", "/open", "away").status_int == 200


def test_access_rules_hold_before_the_handler() -> None:
    assert ask("GET", "/things/x", "ruled").status_int == 200
    assert ask("DELETE", "/things/x", "ruled").status_int == 401
    assert ask("GET", "/tree/x", "ruled").status_int == 401


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"name": "x"}', "application/json", 201),
        (b'{"name": "x"}', "", 201),
        (b'{"name": 1}', "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"name": "x"}', "text/plain", 415),
        (b" " * (BODY_MAX + 1), "application/json", 413),
    ],
)
def test_bodies(body: bytes, content_type: str, status: int) -> None:
    assert ask("POST", "/things", body=body, content_type=content_type).status_int == status


def test_a_wrong_body_says_where() -> None:
    assert "$.name" in ask("POST", "/things", body=b'{"name": 1}', content_type="application/json").json["text"]


def test_a_body_that_is_cut_short_is_refused() -> None:
    answer = ask("POST", "/things", body=b'{"name"', headers={"Content-Length": "100"}, content_type="application/json")
    assert answer.status_int == 400


def test_a_route_that_streams_has_no_limit() -> None:
    assert ask("PUT", "/stream", body=b"x" * (BODY_MAX + 1)).json == BODY_MAX + 1


def test_an_unexpected_error_shows_nothing_but_the_request() -> None:
    answer = ask("GET", "/broken")
    assert answer.status_int == 500
    assert "secret" not in answer.text
    assert answer.json["id"] == answer.headers["x-openstack-request-id"]
    assert answer.json["id"] in answer.json["text"]


def test_health_and_metrics_are_for_everybody() -> None:
    assert ask("GET", "/healthcheck", None).body == b"OK\n"
    exposed = ask("GET", "/metrics", None).text
    assert 'cloud_requests_total{method="GET",service="image",status="200"}' in exposed
