"""Refusals of what belongs to features that are not there."""

from __future__ import annotations

import msgspec
import pytest

from objstore.proxy.core.info import PRESENT, ContainerInfo
from objstore.proxy.swift.features.unsupported import MISSING_FEATURES
from tests.unit.proxy.swift.harness import Proxy

PATHS = ("/v1/AUTH_test", "/v1/AUTH_test/c", "/v1/AUTH_test/c/o")
HEADERS = [header for feature in MISSING_FEATURES for header in feature.headers]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["PUT", "POST", "COPY"])
@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_missing_features_are_refused(proxy: Proxy, header: str, method: str, path: str) -> None:
    answer = proxy.send(method, path, {header: "true", "Destination": "c/o"})
    assert answer.status == 501
    assert b"not supported" in answer.read_all()
    assert not proxy.handlers.requests


@pytest.mark.parametrize("value", ["", "false", "No", " 0 "])
@pytest.mark.parametrize("header", HEADERS)
def test_what_switches_a_missing_feature_off_is_fine(proxy: Proxy, header: str, value: str) -> None:
    token = proxy.token("test:tester", "testing")
    assert proxy.send("POST", "/v1/AUTH_test/c", {header: value, "X-Auth-Token": token}).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "COPY"])
@pytest.mark.parametrize("query", ["multipart-manifest=get"])
def test_an_object_may_be_read_as_what_it_is(proxy: Proxy, method: str, query: str) -> None:
    token = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    assert proxy.send(method, "/v1/AUTH_test/c/o", token, query=query).status == 200


def test_reads_do_not_mind_the_headers(proxy: Proxy) -> None:
    token = proxy.token("test:tester", "testing")
    sent = {"X-Auth-Token": token, **dict.fromkeys(HEADERS, "true")}
    assert proxy.send("GET", "/v1/AUTH_test/c", sent).status == 200


def test_info_has_no_section_of_a_missing_feature(proxy: Proxy) -> None:
    sections = msgspec.json.decode(proxy.send("GET", "/info").read_all())
    missing = {name for feature in MISSING_FEATURES for name in feature.sections}
    assert "swift" in sections
    assert missing.isdisjoint(sections)


def test_scripts_of_other_origins_can_read_the_refusal(proxy: Proxy) -> None:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, metadata={"Access-Control-Allow-Origin": "*"})
    sent = {"Origin": "http://a.example", "X-Container-Sync-Key": "key"}
    answer = proxy.send("PUT", "/v1/AUTH_test/c", sent)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (501, "*")
