"""Containers shown as web sites."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import msgspec
import pytest

from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.proxy.core.info import PRESENT, AccountInfo, ContainerInfo
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.swift.harness import NOW, Proxy

SITE = "/v1/AUTH_test/c"
OBJECTS = {
    "index.html": b"the index",
    "404error.html": b"not here",
    "401error.html": b"not you",
    "a.txt": b"text",
    "dir/index.html": b"of dir",
    "bare/x<y": b"1",
    "bare/deep/z": b"22",
    "marked": b"",
}


class Site:
    """A container that holds OBJECTS, and everybody may read."""

    def __init__(self, proxy: Proxy, read_acl: str = ".r:*,.rlistings", **metadata: str) -> None:
        self.proxy = proxy
        web = {"Web-" + name.replace("_", "-").title(): value for name, value in metadata.items()}
        keys = {"Temp-Url-Key": "key"}
        proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, read_acl=read_acl, metadata=web | keys)
        proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT)
        proxy.handlers.follow = self.handle

    def handle(self, request: SwiftRequest) -> Response:
        name = request.storage_resource.object
        if not name:
            return self.list(request)
        if name not in OBJECTS:
            raise HttpError(404)
        kind = "application/directory" if name == "marked" else "text/html"
        content = OBJECTS[name] if request.method == "GET" else b""
        return Response(200, {"Content-Type": kind, "Content-Length": str(len(OBJECTS[name]))}, content)

    def list(self, request: SwiftRequest) -> Response:
        if ".rlistings" not in (self.proxy.info.containers["/AUTH_test/c"].read_acl or ""):
            raise HttpError(401)
        prefix, rows = request.params.get("prefix", ""), dict[str, dict[str, object]]()
        for name in sorted(OBJECTS):
            if name.startswith(prefix):
                first, slash, _ = name.removeprefix(prefix).partition("/")
                shown = prefix + first + slash
                date = "2023-11-14T22:13:20.000000"
                row = {"name": name, "bytes": len(OBJECTS[name]), "content_type": "text/html", "last_modified": date}
                rows[shown] = {"subdir": shown} if slash else row
        return Response(200, {}, msgspec.json.encode(list(rows.values())[: int(request.params.get("limit", "99"))]))

    def get(self, path: str, headers: Mapping[str, str] | None = None, query: str = "") -> tuple[int, str]:
        answer = self.proxy.send("GET", f"{SITE}{path}", headers, query=query)
        body = answer.read_all().decode()
        return answer.status, answer.headers.get("Location", body)


def test_an_index_stands_for_its_folder(proxy: Proxy) -> None:
    site = Site(proxy, index="index.html")
    assert site.get("/") == (200, "the index")
    assert site.get("/dir/") == (200, "of dir")
    assert site.get("/a.txt") == (200, "text")
    assert site.get("") == (301, f"http://store.example:8080{SITE}/")
    assert site.get("/dir") == (301, f"http://store.example:8080{SITE}/dir/")
    assert site.get("/bare/")[0] == 404
    assert site.get("/none")[0] == 404


def test_error_pages(proxy: Proxy) -> None:
    site = Site(proxy, index="index.html", error="error.html")
    assert site.get("/none") == (404, "not here")
    assert site.get("/bare/") == (404, "not here")
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT)
    assert site.get("/none")[1] != "not here"


def test_an_error_page_is_whole_whatever_part_was_asked_for(proxy: Proxy) -> None:
    Site(proxy, index="index.html", error="error.html")
    conditions = {"Range": "bytes=0-1", "If-None-Match": "*", "If-Match": "x"}
    assert proxy.send("GET", f"{SITE}/none", conditions).status == 404
    asked = proxy.handlers.requests[-1]
    assert asked.path.endswith("404error.html")
    assert not {"HTTP_RANGE", "HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"} & asked.environ.keys()


def test_a_refusal_has_its_page(proxy: Proxy) -> None:
    site = Site(proxy, read_acl=".r:*", index="none.html", listings="true", error="error.html")
    answer = proxy.send("GET", f"{SITE}/bare/")
    assert (answer.status, answer.read_all()) == (401, b"not you")
    assert site.get("/a.txt") == (200, "text")


def test_listings(proxy: Proxy) -> None:
    site = Site(proxy, listings="true")
    status, page = site.get("/bare/")
    assert status == 200
    assert "Listing of /v1/AUTH_test/c/bare/" in page
    assert '<a href="./x%3Cy">x&lt;y</a>' in page
    assert '<a href="./deep/">deep/</a>' in page
    assert 'href="../"' in page
    assert "2023-11-14 22:13:20" in page
    assert '<a href="./dir/">dir/</a>' in site.get("/")[1]
    assert 'href="../"' not in site.get("/")[1]
    assert site.get("/none/")[0] == 404
    assert site.get("/bare") == (301, f"http://store.example:8080{SITE}/bare/")


def test_a_listing_has_the_owners_style_and_label(proxy: Proxy) -> None:
    page = Site(proxy, listings="true", listings_css="s.css", listings_label="my <files>").get("/bare/")[1]
    assert '<link rel="stylesheet" type="text/css" href="../s.css" />' in page
    assert "Listing of my &lt;files&gt;" in page


def test_objects_that_stand_for_folders(proxy: Proxy) -> None:
    assert Site(proxy, listings="true").get("/marked")[0] == 404
    assert Site(proxy, listings="true", directory_type="text/none").get("/marked") == (200, "")


def test_who_has_a_token_gets_the_stores_own_answers(proxy: Proxy) -> None:
    site = Site(proxy, index="index.html", listings="true")
    token = {"X-Auth-Token": proxy.token("test:tester", "testing")}
    assert site.get("/", token)[1].startswith("[")
    assert site.get("/none", token)[0] == 404
    assert site.get("/", token | {"X-Web-Mode": "true"}) == (200, "the index")
    assert site.get("/", token | {"X-Web-Mode": "false"})[1].startswith("[")


def test_a_container_that_is_no_site(proxy: Proxy) -> None:
    site = Site(proxy)
    assert site.get("/")[1].startswith("[")
    assert site.get("/", {"X-Web-Mode": "true"})[0] == 404


def test_temporary_urls_list_what_they_open(proxy: Proxy) -> None:
    site = Site(proxy, read_acl=".rlistings", listings="true")
    message = f"GET\n{int(NOW) + 60}\nprefix:{SITE}/bare/".encode()
    signature = hmac.new(b"key", message, "sha256").hexdigest()
    query = f"temp_url_prefix=bare/&temp_url_expires={int(NOW) + 60}&temp_url_sig={signature}"
    status, page = site.get("/bare/", query=query)
    assert status == 200
    assert f'<a href="./deep/?{query.replace("&", "&amp;")}">deep/</a>' in page
    assert 'href="../"' not in page
    assert site.get("/dir/", query=query)[0] == 401
    assert site.get("/", query=query)[0] == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_head_is_as_a_get(proxy: Proxy, method: str) -> None:
    Site(proxy, listings="true")
    answer = proxy.send(method, f"{SITE}/bare/")
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) > 100
    assert bool(answer.read_all()) is (method == "GET")
